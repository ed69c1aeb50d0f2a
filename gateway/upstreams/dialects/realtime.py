"""OpenAI's /realtime: a conversation over one WebSocket. What the gateway reads of it is what each answer used.

Source: OpenAI's API reference, "Realtime" (server events `response.done` and `error`; the browser's subprotocols).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from gateway.errors import GatewayError
from gateway.model import Upstream, Usage
from gateway.upstreams.dialects.endpoint import words
from gateway.upstreams.dialects.figures import ODD_JSON, Figures, nested, prompt_parts
from gateway.upstreams.dialects.openai import CHAT, target

DONE = b"response.done"
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


def usage_of_event(message: bytes) -> Usage | None:
    """Of a `response.done`; None of all else, and where it tells none."""
    if DONE not in message:
        return None
    try:
        event = _object.decode(message)
    except ODD_JSON:
        return None
    usage = nested(nested(event, "response"), "usage")
    if event.get("type") != DONE.decode() or not usage:
        return None
    figures = Figures()
    prompt, output = figures.count(usage.get("input_tokens")), figures.count(usage.get("output_tokens"))
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
    keys = [word.removeprefix(KEY_PROTOCOL) for word in named if word.startswith(KEY_PROTOCOL)]
    return Offer(
        next((value for name, value in said if name == MODEL), None),
        tuple((name, value) for name, value in said if name != MODEL),
        tuple(word for word in named if not word.startswith(_SECRET_PROTOCOLS)),
        keys[0] if keys else None,
    )


def path_of(upstream: Upstream, model: str, query: Sequence[tuple[str, str]]) -> str:
    return f"{target(upstream, REALTIME.name)}?{urlencode([(MODEL, model), *query])}"
