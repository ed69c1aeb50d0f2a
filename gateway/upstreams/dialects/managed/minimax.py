"""MiniMax's speech (`t2a_v2`), and what its films share with it. MiniMax has no SDK here; sources: its own pages as of
November 2026 and public clients. Errors come inside HTTP 200, as `base_resp.status_code`.
"""

from __future__ import annotations

from typing import Any

from gateway.errors import BadAnswer, InvalidRequest
from gateway.model import Upstream, Usage
from gateway.upstreams.dialects.figures import Figures
from gateway.upstreams.dialects.managed.offers import Offers, hold, rows_of
from gateway.upstreams.dialects.managed.parts import (
    AtOnce,
    cannot,
    inner,
    number,
    own_fields,
    post,
    read,
    refused,
    rooted,
    value,
    whole,
)
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm", "flac": "audio/flac"}
OFFERS: Offers = rows_of(
    "minimax",
    {
        "speech-*": "speech",
    },
)
SLOWEST, FASTEST = 0.5, 2.0
_HERTZ, _BITS = 24_000, 128_000
"""OpenAI's `pcm` has 24 kHz; the bits per second are MiniMax's own usual ones, of mp3 alone."""
_VOICE = frozenset({"vol", "pitch", "emotion", "text_normalization"})
_SOUND = frozenset({"sample_rate", "bitrate", "channel"})
_FIELDS = _VOICE | _SOUND | {"language_boost", "pronunciation_dict", "timbre_weights", "voice_modify"}
_OURS = {"text": "input", "output_format": "response_format", "voice_setting": "voice and speed",
         "audio_setting": "response_format", "stream_options": "stream_format"}  # fmt: skip
_STATUS = {
    1000: 500, 1001: 504, 1002: 429, 1004: 401, 1008: 402, 1013: 500, 1024: 500, 1026: 400, 1027: 400, 1033: 500,
    1039: 429, 1041: 429, 1042: 400, 2013: 400, 2049: 401, 2056: 429,
}  # fmt: skip
"""MiniMax's codes -> the HTTP status that says the same."""
_UNKNOWN_CODE = 500
_MADE, _FINISHED = 1, 2


class MiniMaxSpeech(AtOnce):
    name = "minimax"
    hosts: tuple[str, ...] = ()
    poll_seconds = 1.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        hold(OFFERS, order)
        cannot(order, "instructions")
        if value(order, "stream_format") == "sse":
            raise InvalidRequest("stream_format must be audio for this model", param="stream_format")
        if order.ask.voice is None:
            raise InvalidRequest("voice must be the id of a MiniMax voice", param="voice")
        own = own_fields(order, _OURS, _FIELDS)
        form = order.ask.format or "mp3"
        voice: dict[str, Any] = {"voice_id": order.ask.voice}
        voice |= {"speed": whole(number(order, "speed", SLOWEST, FASTEST) or 1.0)}
        sound: dict[str, Any] = {"sample_rate": _HERTZ, "format": form, "channel": 1}
        if form == "mp3":
            sound["bitrate"] = _BITS
        body = {"model": order.model, "text": order.prompt, "stream": False, "output_format": "hex"}
        body |= {"voice_setting": voice | {name: own.pop(name) for name in _VOICE & own.keys()}}
        body |= {"audio_setting": sound | {name: own.pop(name) for name in _SOUND & own.keys()}}
        return post(rooted(upstream, "/v1/t2a_v2"), body | own)

    def submitted(self, order: Order, answer: Answer) -> Told:
        found = told(answer)
        data = inner(found, "data")
        digits = data.get("audio")
        if not isinstance(digits, str) or not digits or data.get("status", _FINISHED) not in (_MADE, _FINISHED):
            raise BadAnswer("answered without sound")
        try:
            sound = bytes.fromhex(digits)
        except ValueError:
            raise BadAnswer("answered with sound that is not hexadecimal") from None
        piece = Piece(_TYPES[order.ask.format or "mp3"], data=sound)
        return Told(state="succeeded", pieces=(piece,), usage=_usage(order, inner(found, "extra_info")))


def told(answer: Answer) -> dict[str, Any]:
    """The object of an answer. Raises Refused for the error that it may hold whatever its status."""
    found = read(answer)
    code = inner(found, "base_resp").get("status_code", 0)
    if code:
        number = code if type(code) is int else 0
        raise refused(_STATUS.get(number, _UNKNOWN_CODE), f"base_resp_{number}", answer.headers)
    return found


def _usage(order: Order, extra: dict[str, Any]) -> Usage:
    """The characters that are charged: it counts a Chinese one as two."""
    if "usage_characters" not in extra:
        return Usage(0, 0, characters=order.ask.characters or len(order.prompt), estimated=True)
    figures = Figures()
    characters = figures.count(extra["usage_characters"])
    return Usage(0, 0, characters=characters, absurd=figures.odd or not characters)
