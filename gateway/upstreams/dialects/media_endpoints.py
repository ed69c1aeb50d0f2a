"""OpenAI's /v1/images/generations, /v1/images/edits and /v1/audio/speech: their rows, their streams, their forms."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import GatewayError
from gateway.model import Timeouts, Usage
from gateway.upstreams.dialects import asked, openai
from gateway.upstreams.dialects.endpoint import Endpoint, words
from gateway.upstreams.dialects.figures import ODD_JSON, Figures
from gateway.upstreams.dialects.forms import File
from gateway.upstreams.dialects.media_usage import of_image_event, of_images
from gateway.upstreams.dialects.ordering import Picture, PictureRole
from gateway.upstreams.sse import Events, Note, Reader

MOST_PICTURES = 16
"""Of one request at OpenAI's image models, the most of those we know."""
PICTURE_FIELDS = frozenset(
    {
        *("image", "image[]", "images", "image_url", "image_urls", "url", "input_image", "input_images"),
        *("reference_image", "reference_images", "mask", "mask_image", "mask_url"),
        *("input_reference", "first_frame", "first_frame_image", "last_frame", "last_frame_image"),
    }
)
"""Body fields that hold pictures, or addresses of some. `url` is vLLM-Omni's."""
ROLES: Mapping[str, PictureRole] = {
    **dict.fromkeys(("mask", "mask_image", "mask_url"), "mask"),
    **dict.fromkeys(("first_frame", "first_frame_image"), "first_frame"),
    **dict.fromkeys(("last_frame", "last_frame_image"), "last_frame"),
}
"""What a picture is by the field that it comes in, where it is not just a picture."""
_SUFFIX = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}
_DONE = b"[DONE]"

_object = msgspec.json.Decoder(dict[str, Any])


def images_used(answer: bytes) -> Usage | None:
    """Of a whole answer (its long texts may be cut out of it); None where it holds no picture and no word of one."""
    try:
        found = _object.decode(answer)
    except ODD_JSON:
        return None
    return of_images(found) if isinstance(found.get("data"), list) and found["data"] else None


def read_image_event(data: bytes) -> Note:
    """What one event of a stream of pictures says. `end`: one of its pictures is complete."""
    if data == _DONE:
        return Note(end=True)
    try:
        event = _object.decode(data)
    except ODD_JSON:
        return Note()
    if event.get("type") == "error" or event.get("error"):
        return Note(failed=True)
    usage = of_image_event(event)
    return Note(usage, end=usage is not None)


def read_speech_event(data: bytes) -> Note:
    """The same of a stream of sound."""
    if data == _DONE:
        return Note(end=True)
    try:
        event = _object.decode(data)
    except ODD_JSON:
        return Note()
    if event.get("type") == "error" or event.get("error"):
        return Note(failed=True)
    if event.get("type") != "speech.audio.done":
        return Note()
    figures, told = Figures(), event.get("usage")
    usage = told if isinstance(told, dict) else {}
    prompt, output = figures.count(usage.get("input_tokens")), figures.count(usage.get("output_tokens"))
    return Note(Usage(prompt, output, output_audio_tokens=output, absurd=figures.odd), end=True)


def image_reader() -> Reader:
    return read_image_event


def speech_reader() -> Reader:
    return read_speech_event


def error_event(error: GatewayError, request_id: str, _: bytes) -> bytes:
    """The SDK raises for an event called `error`, whatever its data."""
    return b"event: error\n" + openai.error_event(error, request_id, b"")


def defaults(endpoint: str, engine: str | None) -> Mapping[str, Raw]:
    """What goes up to such a worker where the caller leaves it out. SGLang's own default is an address at the worker,
    or a refusal where no cloud storage is set up (multimodal_gen, openai/protocol.py)."""
    return _IN_THE_ANSWER if engine == "sglang-diffusion" and endpoint in ("images/generations", "images/edits") else {}


_IN_THE_ANSWER: Mapping[str, Raw] = {"response_format": Raw(b'"b64_json"')}


def parts(
    fields: Mapping[str, Raw], pictures: Iterable[Picture], name: str, removed: Collection[str]
) -> tuple[list[tuple[str, str]], list[File]]:
    """The form that goes up: the caller's own fields, the served model's `name`, and the pictures under names of ours,
    their bytes untouched."""
    texts = [("model", name)]
    for field, value in fields.items():
        if field != "model" and field not in removed and field not in PICTURE_FIELDS:
            texts += _texts(field, value)
    given = list(pictures)
    images = [one for one in given if one.role != "mask"]
    several = "image[]" if len(images) > 1 else "image"
    files = [_file(several, f"image-{number}", one) for number, one in enumerate(images)]
    return texts, files + [_file("mask", "mask", one) for one in given if one.role == "mask"]


def _file(field: str, name: str, picture: Picture) -> File:
    suffix = _SUFFIX.get(picture.media_type, "bin")
    return File(field, f"{name}.{suffix}", picture.media_type, picture.data)


def _texts(field: str, value: Raw) -> list[tuple[str, str]]:
    """A list is the field many times; null is no field."""
    raw = bytes(value)
    if raw == b"null":
        return []
    if raw[:1] == b"[":
        return [pair for one in msgspec.json.decode(raw, type=list[Raw]) for pair in _texts(field, one)]
    return [(field, msgspec.json.decode(raw, type=str) if raw[:1] == b'"' else raw.decode())]


IMAGES = Endpoint(
    name="images/generations",
    prompt=("prompt", "negative_prompt"),
    media=words(*sorted(PICTURE_FIELDS - {"image[]"})),
    needs=("prompt",),
    usage_of=images_used,
    events=Events(image_reader, marks=(), token=b'"b64_json"'),
    error_body=openai.error_body,
    error_event=error_event,
    asks=asked.images,
    plain=frozenset({"background"}),  # of the picture: transparent, opaque
    pictures=(0, MOST_PICTURES),
    # A picture of the best quality takes minutes, and so may each step of a stream of it.
    timeouts=Timeouts(first_byte=600.0, idle=300.0, total=900.0),
    jobs="on_request",
)
EDITS = replace(IMAGES, name="images/edits", forms=True, pictures=(1, MOST_PICTURES))
VIDEOS = replace(
    IMAGES,
    name="videos",
    asks=asked.videos,
    usage_of=lambda _: None,
    streams=False,
    forms=True,
    pictures=(0, MOST_PICTURES),
    picture="input_reference",
    jobs="always",
)
SPEECH = Endpoint(
    name="audio/speech",
    prompt=("input", "instructions"),
    media=words("input_audio"),
    needs=("input",),
    usage_of=lambda _: None,
    events=Events(speech_reader, marks=(), token=b"speech.audio.delta"),
    error_body=openai.error_body,
    error_event=error_event,
    asks=asked.speech,
    asks_stream=asked.streams_speech,
    plain=frozenset({"speed"}),  # of the voice
    accepts=b"*/*",
    sound=True,
)
