"""What a request for pictures or speech asks for, read from its body fields. Pure.

Of a form the fields are JSON text too (`edge/picture_form.py`). What is malformed is refused here, naming the
parameter; what is only beyond one model is its `Offer`'s affair, and fields that nobody here knows pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.model import MediaAsk

MAX_PROMPT = 32_000
"""Characters: of a prompt at OpenAI's image models, the longest of those we know; so too for what is to be spoken."""
MAX_N = 128
MAX_STEPS = 1_000
MAX_FRAMES = 100_000
MAX_PARTIAL = 3
MAX_SECONDS, MAX_FPS = 3_600.0, 240.0
_DECIMAL = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")
SPEEDS = (0.25, 4.0)
_SIZE = re.compile(r"[1-9][0-9]{0,4}[xX*][1-9][0-9]{0,4}")
_WORD_SIZE = re.compile(r"[1-9][0-9]?[kK]")
_RATIO = re.compile(r"[1-9][0-9]{0,3}:[1-9][0-9]{0,3}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_AUTO = "auto"
_NULL, _TRUE = b"null", b"true"
T = TypeVar("T")

_text = msgspec.json.Decoder(str)
_quantity = msgspec.json.Decoder(float | str)
_whole = msgspec.json.Decoder(int)
_number = msgspec.json.Decoder(float)
_voice = msgspec.json.Decoder(str | dict[str, Raw])


def images(fields: Mapping[str, Raw]) -> MediaAsk:
    """Of /images/generations and /images/edits, but for the pictures that are sent along. Raises InvalidRequest."""
    prompt = spoken(fields, "prompt")
    return MediaAsk(
        n=_number_of(fields),
        size=_size(fields),
        ratio=_ratio(fields),
        quality=_word(fields, "quality"),
        steps=_count(fields, "num_inference_steps", 1, MAX_STEPS),
        format=_word(fields, "output_format"),
        prompt_characters=len(prompt),
        partial_images=_count(fields, "partial_images", 0, MAX_PARTIAL) or 0,
        streams=bytes(fields.get("stream", b"")) == _TRUE,
    )


def speech(fields: Mapping[str, Raw]) -> MediaAsk:
    """Of /audio/speech. Raises InvalidRequest."""
    said = spoken(fields, "input")
    speed = _get(fields, "speed", _number, "a number")
    if speed is not None and not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise InvalidRequest(f"`speed` must be {SPEEDS[0]} to {SPEEDS[1]:g}", param="speed")
    return MediaAsk(
        format=_word(fields, "response_format"),
        voice=_spoken_by(fields),
        characters=len(said),
        prompt_characters=len(said),
        streams=streams_speech(fields),
    )


def videos(fields: Mapping[str, Raw]) -> MediaAsk:
    """Of /videos, but for the pictures that are sent along. Raises InvalidRequest."""
    prompt = spoken(fields, "prompt")
    return MediaAsk(
        n=_number_of(fields),
        size=_size(fields),
        resolution=_word(fields, "resolution"),
        ratio=_ratio(fields),
        quality=_word(fields, "quality"),
        seconds=_amount(fields, "seconds", MAX_SECONDS),
        fps=_amount(fields, "fps", MAX_FPS),
        frames=_count(fields, "num_frames", 1, MAX_FRAMES),
        steps=_count(fields, "num_inference_steps", 1, MAX_STEPS),
        prompt_characters=len(prompt),
    )


def streams_speech(fields: Mapping[str, Raw]) -> bool:
    """Whether its answer is to be a stream of events; else it is sound."""
    return _choice(fields, "stream_format", ("sse", "audio")) == "sse"


def spoken(fields: Mapping[str, Raw], name: str) -> str:
    """What is drawn or said: there, not empty, not too long. Raises InvalidRequest."""
    said = _get(fields, name, _text, "text")
    if said is None:
        raise InvalidRequest(f"`{name}` is missing", param=name)
    if not said.strip():
        raise InvalidRequest(f"`{name}` is empty", param=name)
    if len(said) > MAX_PROMPT:
        raise InvalidRequest(f"`{name}` has {len(said)} characters; at most {MAX_PROMPT} are taken", param=name)
    return said


def _number_of(fields: Mapping[str, Raw]) -> int:
    """In OpenAI's word, or in that of the diffusion servers: whichever they heed, so much is made."""
    return max(_count(fields, name, 1, MAX_N) or 1 for name in ("n", "num_outputs_per_prompt"))


def _size(fields: Mapping[str, Raw]) -> str | None:
    """As `1024x1024` or `2K`; of `width` and `height` where the body says those."""
    said = _get(fields, "size", _text, "text")
    if said is None:
        wide, high = (_count(fields, name, 1, 99_999) for name in ("width", "height"))
        return f"{wide}x{high}" if wide and high else None
    if said.lower() == _AUTO:
        return None
    if _SIZE.fullmatch(said):
        return said.lower().replace("*", "x")
    if _WORD_SIZE.fullmatch(said):
        return said.upper()
    raise InvalidRequest("`size` must be WIDTHxHEIGHT in pixels, such as 1024x1024, or auto", param="size")


def _ratio(fields: Mapping[str, Raw]) -> str | None:
    said = _get(fields, "aspect_ratio", _text, "text")
    if said is None or said.lower() == _AUTO:
        return None
    if not _RATIO.fullmatch(said):
        raise InvalidRequest("`aspect_ratio` must be WIDTH:HEIGHT, such as 16:9", param="aspect_ratio")
    return said


def _word(fields: Mapping[str, Raw], name: str) -> str | None:
    said = _get(fields, name, _text, "a word")
    if said is None or said.lower() == _AUTO:
        return None
    if not _WORD.fullmatch(said):
        raise InvalidRequest(f"`{name}` must be a word of at most 32 letters, digits, `.`, `_` and `-`", param=name)
    return said.lower()


def _choice(fields: Mapping[str, Raw], name: str, words: tuple[str, ...]) -> str | None:
    said = _get(fields, name, _text, "a word")
    if said is not None and said not in words:
        raise InvalidRequest(f"`{name}` must be one of: {', '.join(words)}", param=name)
    return said


def _spoken_by(fields: Mapping[str, Raw]) -> str | None:
    """A voice's name, or the id of one's own, which OpenAI has as `{"id": ...}`."""
    voice = _get(fields, "voice", _voice, "a name")
    if isinstance(voice, dict):
        voice = _get({"voice": voice.get("id", Raw(b'""'))}, "voice", _text, "a name")
    if voice is not None and not 0 < len(voice) <= 256:
        raise InvalidRequest("`voice` must be a name of 1 to 256 characters", param="voice")
    return voice


def _count(fields: Mapping[str, Raw], name: str, least: int, most: int) -> int | None:
    said = _get(fields, name, _whole, "a whole number")
    if said is not None and not least <= said <= most:
        raise InvalidRequest(f"`{name}` must be {least} to {most}", param=name)
    return said


def _amount(fields: Mapping[str, Raw], name: str, most: float) -> float | None:
    """A number above 0, or one in quotes, as OpenAI has its seconds."""
    said = _get(fields, name, _quantity, "a number")
    if isinstance(said, str):
        said = float(said) if _DECIMAL.fullmatch(said) else 0.0
    if said is not None and not 0 < said <= most:
        raise InvalidRequest(f"`{name}` must be a number above 0, at most {most:g}", param=name)
    return said


def _get(fields: Mapping[str, Raw], name: str, decoder: msgspec.json.Decoder[T], words: str) -> T | None:
    """None where the field is null or not there."""
    value = fields.get(name)
    if value is None or bytes(value) == _NULL:
        return None
    try:
        return decoder.decode(value)
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{name}` must be {words}", param=name) from None
