"""What an order made, as callers of OpenAI's endpoints read it: whole, or as the stream that they asked for. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.model import MediaAsk, Usage
from gateway.upstreams.dialects.ordering import Order

JSON_TYPE, EVENTS = b"application/json", b"text/event-stream"
PICTURES = ("images/generations", "images/edits")
_COMPLETED = {"images/generations": "image_generation.completed", "images/edits": "image_edit.completed"}
_AUTO = "auto"

Made = tuple[str, bytes]
"""Media type, and all of it."""


def answer(order: Order, made: Sequence[Made], usage: Usage, *, stream: bool, now: int) -> Made:
    """Its content type and its body; anything but pictures and a stream is given as it is, and has one result. `now`:
    seconds since the epoch."""
    if order.endpoint in PICTURES:
        if stream:
            return EVENTS.decode(), _image_events(order, made, usage, now)
        data = [{"b64_json": _text(picture)} for _, picture in made]
        whole: dict[str, Any] = {"created": now, "data": data} | _usage(usage)
        return JSON_TYPE.decode(), msgspec.json.encode(whole)
    kind, sound = made[0]
    return (EVENTS.decode(), _speech_events(sound, usage)) if stream else (kind, sound)


def _image_events(order: Order, made: Sequence[Made], usage: Usage, now: int) -> bytes:
    """No partial ones: an order has nothing to show before it is done. The last one tells the usage of all."""
    ask: MediaAsk = order.ask
    events = [
        {
            "type": _COMPLETED[order.endpoint],
            "b64_json": _text(picture),
            "created_at": now,
            "size": ask.size or _AUTO,
            "quality": ask.quality or _AUTO,
            "background": _AUTO,
            "output_format": kind.rpartition("/")[2],
        }
        for kind, picture in made
    ]
    events[-1] |= _usage(usage)
    return b"".join(map(_event, events))


def _speech_events(sound: bytes, usage: Usage) -> bytes:
    delta = {"type": "speech.audio.delta", "audio": _text(sound)}
    read, written = usage.input_tokens, usage.output_tokens
    told = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    return _event(delta) + _event({"type": "speech.audio.done", "usage": told})


def _usage(usage: Usage) -> dict[str, Any]:
    """Of what is sold by tokens."""
    read, written, pixels = usage.input_tokens, usage.output_tokens, usage.input_image_tokens
    if not read + written:
        return {}
    details = {"text_tokens": read - pixels, "image_tokens": pixels}
    whole = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    return {"usage": whole | {"input_tokens_details": details}}


def _event(data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), msgspec.json.encode(data))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
