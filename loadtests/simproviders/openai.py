"""OpenAI's own account, for pictures and sound: `/v1`. Its chats are simfleet's managed API.

Pictures are charged by tokens, which the answer tells; speech by the characters that it reads, which it does not; what
is heard by the second, which it tells.
Source of shapes: openai 3.54, `types/images_response.py` and `types/image_gen_*_event.py`; of tokens: OpenAI's guide to
image generation (squares of gpt-image models).
"""

from __future__ import annotations

import base64
import email
import io
import math
import wave
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from loadtests.simfleet.costs import DEFAULT_SIZE, pixels
from loadtests.simfleet.files import png

from .base import Ask, Job, Made, Provider, Rate, Reply, Route, Wrong
from .samples import mp3, wav

ROOT = "/v1"
PICTURES = "gpt-image-2"
VOICE, EAR = "tts-1", "whisper-1"
HEARD = "a lighthouse in the fog"
TOKENS = {"low": 272, "medium": 1056, "high": 4160}
"""Of a square picture; others have as many for each of their pixels."""
READ_TOKENS = 323
"""Of a picture that is sent along."""
LETTERS = 4
"""For a token of a prompt."""
TEXT_USD, PICTURE_USD = Decimal("0.000005"), Decimal("0.000008")
"""For a token that is read."""
_SOUNDS = {"mp3": ("audio/mpeg", mp3), "wav": ("audio/wav", wav)}
_SHARED = ("background", "quality", "size", "output_format")


class OpenAi(Provider):
    name = "openai"
    root = ROOT
    rates = (
        Rate(PICTURES, "token", Decimal("0.00003")),
        Rate(VOICE, "character", Decimal("0.000015")),
        Rate(EAR, "second", Decimal("0.0001")),
    )

    def routes(self) -> list[Route]:
        return [
            Route("POST", f"{ROOT}/images/generations", self.generate, submits=True),
            Route("POST", f"{ROOT}/images/edits", self.edit, submits=True),
            Route("POST", f"{ROOT}/audio/speech", self.speak, submits=True),
            Route("POST", f"{ROOT}/audio/transcriptions", self.hear, submits=True),
        ]

    def wrong(self, fault: Wrong) -> object:
        kind = "invalid_request_error" if fault.status < 500 else "server_error"
        return {"error": {"message": fault.message, "type": kind, "param": None, "code": fault.code or None}}

    def generate(self, ask: Ask) -> Reply:
        body = ask.json
        return self._drawn("image_generation", body, 0)

    def edit(self, ask: Ask) -> Reply:
        body, files = _form(ask)
        if not files:
            raise Wrong(400, "", "image: missing")
        return self._drawn("image_edit", body, len(files))

    def speak(self, ask: Ask) -> Reply:
        body = ask.json
        _known(body, VOICE)
        text, sound = str(body.get("input") or ""), str(body.get("response_format", "mp3"))
        if not text or not body.get("voice") or sound not in _SOUNDS:
            raise Wrong(400, "", f"want input, voice and a format of {', '.join(_SOUNDS)}")
        kind, made = _SOUNDS[sound]
        job = self.take(VOICE, body, [Made(kind, made())], "character", len(text), takes_s=0.0)
        return Reply(job.made[0].data if job.made else b"", content_type=kind.encode())

    def hear(self, ask: Ask) -> Reply:
        """Of a WAV, whose length tells itself."""
        body, files = _form(ask)
        _known(body, EAR)
        try:
            with wave.open(io.BytesIO(files[0])) as sound:
                heard = math.ceil(sound.getnframes() / sound.getframerate())
        except (IndexError, EOFError, wave.Error):
            raise Wrong(400, "", "file: want a WAV") from None
        self.take(EAR, body, [Made("text/plain", HEARD.encode())], "second", heard, takes_s=0.0)
        return Reply({"text": HEARD, "usage": {"type": "duration", "seconds": heard}})

    def _drawn(self, event: str, body: dict[str, Any], sent: int) -> Reply:
        _known(body, PICTURES)
        prompt = str(body.get("prompt") or "")
        if not prompt:
            raise Wrong(400, "", "prompt: missing")
        told = _told(body)
        made = [Made("image/png", png(*pixels(told)))] * int(body.get("n") or 1)
        text, seen, written = math.ceil(len(prompt) / LETTERS), sent * READ_TOKENS, len(made) * _tokens(told)
        read = text * TEXT_USD + seen * PICTURE_USD
        job = self.take(PICTURES, body, made, "token", written, beside=read, takes_s=0.0)
        usage = {
            "input_tokens": text + seen,
            "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
            "output_tokens": written,
            "total_tokens": text + seen + written,
        }
        if body.get("stream") in (True, "true"):
            return Reply(_events(event, job, told, usage), content_type=b"text/event-stream")
        return Reply({"created": int(job.created), "data": _rows(job), **told, "usage": usage})


def _known(body: dict[str, Any], model: str) -> None:
    if body.get("model") != model:
        raise Wrong(404, "model_not_found", f"The model `{body.get('model')}` does not exist")


def _told(body: dict[str, Any]) -> dict[str, Any]:
    """What the answer says of how its pictures are, `auto` decided."""
    given = {name: body[name] for name in _SHARED if body.get(name) not in (None, "auto")}
    square = f"{DEFAULT_SIZE[0]}x{DEFAULT_SIZE[1]}"
    told = {"background": "opaque", "quality": "medium", "size": square, "output_format": "png", **given}
    if told["quality"] not in TOKENS or told["output_format"] != "png":
        raise Wrong(400, "invalid_value", f"quality: one of {', '.join(TOKENS)}; output_format: png")
    return told


def _tokens(told: dict[str, Any]) -> int:
    width, height = pixels(told)
    return math.ceil(TOKENS[told["quality"]] * width * height / (DEFAULT_SIZE[0] * DEFAULT_SIZE[1]))


def _rows(job: Job) -> Sequence[dict[str, str]]:
    return [{"b64_json": base64.b64encode(made.data).decode()} for made in job.made]


def _events(kind: str, job: Job, told: dict[str, Any], usage: dict[str, Any]) -> bytes:
    """Of a stream: the pictures on the way, each as it will be, and the last one."""
    shared = {**told, "created_at": int(job.created)}
    rows: Iterable[dict[str, str]] = _rows(job)
    partial = range(int(job.asked.get("partial_images") or 0))
    events: list[dict[str, Any]] = []
    for row in rows:
        events += [{"type": f"{kind}.partial_image", "partial_image_index": i, **row, **shared} for i in partial]
        events.append({"type": f"{kind}.completed", **row, **shared, "usage": usage})
    return b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), msgspec.json.encode(one)) for one in events)


def _form(ask: Ask) -> tuple[dict[str, Any], list[bytes]]:
    """The fields of a form, and the files that came with it."""
    form = email.message_from_bytes(b"content-type: %b\r\n\r\n" % ask.headers["content-type"].encode() + ask.raw)
    fields: dict[str, Any] = {}
    files = []
    for part in form.walk():
        name, value = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(value, bytes):
            continue
        if part.get_filename():
            files.append(value)
        else:
            fields[name] = value.decode()
    return fields, files
