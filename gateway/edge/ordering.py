"""An order out of a request, and what was made out of an order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.model import GenRequest, MediaAsk, Served, Usage
from gateway.upstreams.dialects.ordering import Order, Picture, Told

PROMPTS = ("prompt", "input")
"""Where the endpoints have what is drawn, filmed or spoken: the latter is /audio/speech."""


def order_of(
    request: GenRequest, fields: Mapping[str, Raw], pictures: Sequence[Picture], served: Served, mark: str
) -> Order:
    """`fields`: those of the caller's body that may go to this upstream. Raises InvalidRequest."""
    return Order(
        endpoint=request.endpoint,
        model=served.name,
        ask=request.media or MediaAsk(n=request.n),
        prompt=prompt_of(fields),
        fields=fields,
        pictures=tuple(pictures),
        workflow=served.workflow,
        mark=mark,
    )


def prompt_of(fields: Mapping[str, Raw]) -> str:
    """Raises InvalidRequest where it is no text; a request may have none at all, such as a film of a picture."""
    for name in PROMPTS:
        if name in fields:
            try:
                return msgspec.json.decode(fields[name], type=str | None) or ""
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise InvalidRequest(f"`{name}` must be a text", param=name) from None
    return ""


def used(order: Order, told: Told) -> Usage:
    """What the upstream told, else what the order was for."""
    if told.usage is not None:
        return told.usage
    ask, made = order.ask, Usage(0, 0)
    match order.endpoint:
        case "images/generations" | "images/edits":
            made.images, made.size, made.quality = len(told.pieces), ask.size, ask.quality
        case "videos":
            made.seconds, made.size = ask.seconds or 0.0, ask.size
        case "audio/speech":
            made.characters = ask.characters or len(order.prompt)
        case _:
            made.estimated = True
    return made
