"""ElevenLabs' speech: the answer to the POST is the sound. Source: `elevenlabs` 2.78; UNVERIFIED: the header
`character-cost`, and the codes of errors."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from gateway.errors import BadAnswer, InvalidRequest
from gateway.model import Upstream, Usage
from gateway.upstreams import answers
from gateway.upstreams.dialects.figures import Figures
from gateway.upstreams.dialects.managed.offers import Offers, hold, rows_of
from gateway.upstreams.dialects.managed.parts import AtOnce, cannot, inner, number, own_fields, rooted, value
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

OFFERS: Offers = rows_of(
    "elevenlabs",
    {
        "eleven_v3*": "v3",
        "eleven_flash_v2_5": "v2.5",
        "eleven_turbo_v2_5": "v2.5",
        "eleven_multilingual_v2": "multilingual",
        "eleven_*_v2": "v2",
        "*": "other",
    },
)
"""Characters in one request: ElevenLabs' page on its models, UNVERIFIED."""
_OUTPUT = {"mp3": "mp3_44100_128", "opus": "opus_48000_64", "wav": "wav_24000", "pcm": "pcm_24000"}
"""OpenAI's `pcm` has 24 kHz too."""
_TYPES = {"mp3": "audio/mpeg", "opus": "audio/opus", "wav": "audio/wav", "pcm": "audio/pcm"}
_VOICE = re.compile(r"[A-Za-z0-9]{20}\Z")
VOICES = {"george": "JBFqnCBsd6RMkjVDRZzb", "sarah": "EXAVITQu4vr4xnSDxMaL", "rachel": "21m00Tcm4TlvDq8ikWAM"}
"""Ready-made voices by their names; all others by their ids."""
SLOWEST, FASTEST = 0.7, 1.2
_FIELDS = frozenset(
    {
        "language_code", "voice_settings", "seed", "previous_text", "next_text", "apply_text_normalization",
        "apply_language_text_normalization", "pronunciation_dictionary_locators", "enable_logging",
    }
)  # fmt: skip
_QUERY = ("enable_logging",)
_OURS = {"text": "input", "model_id": "model", "voice_id": "voice", "output_format": "response_format"}
_COST = b"character-cost"


class ElevenLabs(AtOnce):
    name = "elevenlabs"
    hosts: tuple[str, ...] = ()
    poll_seconds = 1.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        hold(OFFERS, order)
        cannot(order, "instructions")
        if value(order, "stream_format") == "sse":
            raise InvalidRequest("stream_format must be audio for this model", param="stream_format")
        own = own_fields(order, _OURS, _FIELDS)
        query = {"output_format": _OUTPUT[order.ask.format or "mp3"]}
        query = {name: _word(own.pop(name)) for name in _QUERY if name in own} | query
        body = {"text": order.prompt, "model_id": order.model, **own}
        settings = _settings(order, inner(own, "voice_settings"))
        if settings:
            body["voice_settings"] = settings
        path = f"/v1/text-to-speech/{quote(_voice(order), safe='')}?{urlencode(query)}"
        headers = ((b"content-type", b"application/json"), (b"accept", b"*/*"))
        return Call("POST", rooted(upstream, path), headers, msgspec.json.encode(body))

    def submitted(self, order: Order, answer: Answer) -> Told:
        headers = dict(answer.headers)
        if answer.status >= answers.REFUSED:
            raise answers.refusal(answer.status, list(answer.headers), answer.body)
        said = headers.get(b"content-type", b"").partition(b";")[0].strip()
        if not answer.body or said == b"application/json":
            raise BadAnswer(f"answered {answer.status} without sound")
        piece = Piece(_TYPES[order.ask.format or "mp3"], data=answer.body)
        return Told(state="succeeded", pieces=(piece,), usage=_usage(order, headers.get(_COST)))


def _voice(order: Order) -> str:
    said = order.ask.voice or ""
    voice = VOICES.get(said.lower(), said)
    if _VOICE.match(voice) is None:
        known = ", ".join(VOICES)
        raise InvalidRequest(
            f"voice must be the id of a voice (20 letters and digits) or one of {known}", param="voice"
        )
    return voice


def _settings(order: Order, own: dict[str, Any]) -> dict[str, Any]:
    speed = number(order, "speed", SLOWEST, FASTEST)
    return own if speed is None else {**own, "speed": speed}


def _usage(order: Order, cost: bytes | None) -> Usage:
    """What is charged; some models charge half a character for one."""
    if cost is None:
        return Usage(0, 0, characters=order.ask.characters or len(order.prompt), estimated=True)
    figures = Figures()
    text = cost.decode("latin-1")
    characters = figures.count(int(text) if text.isdigit() else text)
    return Usage(0, 0, characters=characters, absurd=figures.odd)


def _word(said: Any) -> str:
    return str(said).lower() if isinstance(said, bool) else str(said)
