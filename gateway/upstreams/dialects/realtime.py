"""OpenAI's /realtime: a conversation over one WebSocket. What the gateway reads of it is what each answer used.

Sources: OpenAI's API reference, "Realtime" (server events `response.done`, `session.updated` and `error`; the browser's
subprotocols); vLLM's entrypoints/openai/realtime/protocol.py (`transcription.done`, whose usage is that of a chat).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from gateway.errors import GatewayError
from gateway.model import Upstream, Usage
from gateway.upstreams.dialects.endpoint import words
from gateway.upstreams.dialects.figures import ODD_JSON, Figures, nested, prompt_parts
from gateway.upstreams.dialects.openai import CHAT, target

BEGUN, DONE, TRANSCRIBED = b"response.created", b"response.done", b"transcription.done"
CREATED, UPDATED = b"session.created", b"session.updated"
_MARKS = (BEGUN, DONE, TRANSCRIBED, CREATED, UPDATED)
ANSWER_SECONDS, PROMPT_SECONDS = 0.05, 0.1
"""A token of sound (OpenAI's guide to realtime costs)."""
PCM_RATE, PCM_BYTES, PCM_RATES = 24_000, 2, (8_000, 96_000)
"""Samples of a second and bytes of a sample where a session does not say; rates that are believed."""
_G711 = frozenset({"g711_ulaw", "g711_alaw", "audio/pcmu", "audio/pcma"})
_G711_BYTES = 8_000
"""Of a second: one for each of 8 kHz."""
_BASE64 = 4 / 3
MODEL = "model"
KEY_PROTOCOL = "openai-insecure-api-key."
_SECRET_PROTOCOLS = (KEY_PROTOCOL, "openai-organization.", "openai-project.")
"""What browsers, which can set no header, say as subprotocols: the caller's own affair with us, never passed on."""
PLAIN_PROTOCOL = "realtime"
REALTIME = replace(
    CHAT,
    name="realtime",
    prompt=(),
    media=words(),
    caps=(),
    cap=None,
    asks_usage=False,
    headers=(b"openai-beta",),
)

_object = msgspec.json.Decoder(dict[str, Any])


class Tally:
    """What a session has used: what each answer told when it was done, and a guess at those that were not.

    Whoever ends a session in the middle of an answer pays for that one too: the API bills it.
    """

    def __init__(self) -> None:
        self.told = Usage(0, 0)
        """By the answers that were done."""
        self._last = Usage(0, 0)
        self._running = 0
        self._asked = 0.0
        self._sound = self._words = 0
        self._heard = self._spoken = _characters(None)

    def asked(self, size: int) -> None:
        """The client said something of so many bytes."""
        self._asked += size / (self._heard * PROMPT_SECONDS)

    def answered(self, message: bytes) -> bool:
        """Whether that told what an answer used."""
        if self._running:
            sound = int(len(message) / (self._spoken * ANSWER_SECONDS)) if b"audio.delta" in message else 0
            self._sound, self._words = self._sound + sound, self._words + (not sound)
        if not any(mark in message for mark in _MARKS):
            return False
        event = _event_of(message)
        kind = str(event.get("type")).encode()
        if kind in (CREATED, UPDATED):
            self._sounds(nested(event, "session"))
        if kind == BEGUN:
            self._running += 1
        if kind not in (DONE, TRANSCRIBED):
            return False
        self._running = max(0, self._running - 1)
        if not self._running:
            self._asked, self._sound, self._words = 0.0, 0, 0
        used = usage_of_event(event)
        if used is not None:
            self.told, self._last = added(self.told, used), used
        return used is not None

    def _sounds(self, session: Mapping[str, Any]) -> None:
        """How sound is written from now on: the older events have it at the session, the newer ones by direction."""
        audio = nested(session, "audio")
        self._heard = _characters(session.get("input_audio_format") or nested(audio, "input").get("format"))
        self._spoken = _characters(session.get("output_audio_format") or nested(audio, "output").get("format"))

    def whole(self) -> Usage:
        """With what was not told: an answer that is not done has read at least what the last one had read and said."""
        if not self._running:
            return self.told
        last, said = self._last, round(self._asked)
        guess = Usage(
            last.input_tokens + last.output_tokens + said,
            self._sound + self._words,
            input_audio_tokens=last.input_audio_tokens + last.output_audio_tokens + said,
            output_audio_tokens=self._sound,
            estimated=True,
        )
        return added(self.told, guess)


def _characters(form: Any) -> float:
    """Of base64 for a second of sound: `form` is a name, or an object with `type` and perhaps `rate`."""
    kind, rate = (form.get("type"), form.get("rate")) if isinstance(form, dict) else (form, None)
    if isinstance(kind, str) and kind in _G711:
        return _G711_BYTES * _BASE64
    known = isinstance(rate, int) and PCM_RATES[0] <= rate <= PCM_RATES[1]
    return (int(rate or 0) if known else PCM_RATE) * PCM_BYTES * _BASE64


def _event_of(message: bytes) -> dict[str, Any]:
    try:
        return _object.decode(message)
    except ODD_JSON:
        return {}


def usage_of_event(event: dict[str, Any]) -> Usage | None:
    """Of a `response.done` or a `transcription.done`; None where it tells none."""
    usage = nested(nested(event, "response"), "usage") or nested(event, "usage")
    if not usage:
        return None
    figures = Figures()
    prompt = figures.count(usage.get("input_tokens", usage.get("prompt_tokens")))
    output = figures.count(usage.get("output_tokens", usage.get("completion_tokens")))
    read, made = nested(usage, "input_token_details"), nested(usage, "output_token_details")
    parts = prompt_parts(figures, read, prompt, None)
    return Usage(
        prompt,
        output,
        parts.cached,
        input_audio_tokens=parts.sound,
        input_image_tokens=parts.pictures,
        cached_audio_tokens=parts.cached_sound,
        cached_image_tokens=parts.cached_pictures,
        output_audio_tokens=figures.part(made.get("audio_tokens"), output),
        absurd=figures.odd,
    )


_COUNTS = tuple(one.name for one in fields(Usage) if one.type == "int")


def added(one: Usage, other: Usage) -> Usage:
    """Tokens of both."""
    sums = {name: getattr(one, name) + getattr(other, name) for name in _COUNTS}
    return replace(one, **sums, estimated=one.estimated or other.estimated, absurd=one.absurd or other.absurd)


def error_event(error: GatewayError, request_id: str) -> bytes:
    """In the shape of OpenAI's `error` events."""
    said = {"type": error.type, "code": error.code, "message": error.message, "param": error.param, "event_id": None}
    return msgspec.json.encode({"type": "error", "event_id": f"event_{request_id}", "error": said})


class Offer(NamedTuple):
    """What a client asks for with its handshake."""

    model: str | None
    query: tuple[tuple[str, str], ...]
    """The rest of the query."""
    subprotocols: tuple[str, ...]
    """Without what is secret."""
    key: str | None

    def __repr__(self) -> str:
        return f"Offer({len(self.subprotocols)} subprotocols)"


def offer_of(query: bytes, subprotocols: Iterable[bytes]) -> Offer:
    said = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    named = [word.strip() for line in subprotocols for word in line.decode("latin-1").split(",") if word.strip()]
    keys = [word[len(KEY_PROTOCOL) :] for word in named if word.lower().startswith(KEY_PROTOCOL)]
    return Offer(
        next((value for name, value in said if name == MODEL), None),
        tuple((name, value) for name, value in said if name != MODEL),
        tuple(word for word in named if not word.lower().startswith(_SECRET_PROTOCOLS)),
        keys[0] if keys else None,
    )


def path_of(upstream: Upstream, model: str, query: Sequence[tuple[str, str]]) -> str:
    return f"{target(upstream, REALTIME.name)}?{urlencode([(MODEL, model), *query])}"
