"""An order out of a request, and what was made out of an order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.model import GenRequest, MediaAsk, Offer, Served, Usage
from gateway.routing.units import usage_of_ask
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


def used(order: Order, told: Told, offer: Offer | None = None) -> Usage:
    """What the upstream told, else what the order was for; of pictures those that came."""
    if told.usage is not None:
        return told.usage
    usage = usage_of_ask(order.endpoint, order.ask, offer)
    return replace(usage, images=len(told.pieces)) if usage.images else usage
