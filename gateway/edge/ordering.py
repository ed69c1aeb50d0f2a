"""An order out of a request, and what was made out of an order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.model import GenRequest, MediaAsk, Offer, Served, Usage
from gateway.routing.offers import as_sold
from gateway.routing.units import usage_of_ask
from gateway.upstreams.dialects.ordering import Order, Picture, Told

PROMPTS = ("prompt", "input")
"""Where the endpoints have what is drawn, filmed or spoken: the latter is /audio/speech."""
MOST_SECONDS = 1_800.0
"""That anything takes which is charged by the second: Replicate stops a prediction then, and no film is as long."""
MOST_TIMES = 4
"""As much as was ordered is not believed. MiniMax counts a Chinese character as two."""


def order_of(
    request: GenRequest, fields: Mapping[str, Raw], pictures: Sequence[Picture], served: Served, mark: str
) -> Order:
    """`fields`: those of the caller's body that may go to this upstream. A length that is sold there as a longer one is
    ordered as that. Raises InvalidRequest."""
    return Order(
        endpoint=request.endpoint,
        model=served.name,
        ask=as_sold(request.media or MediaAsk(n=request.n), served),
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
    """What the upstream told, with what it leaves to be known from the order; else what the order was for. Said to be
    `absurd` where it cannot be true: then that is booked which came."""
    made = _made(order, told, offer)
    return made if told.usage is None else _believed(told.usage, order, made)


def _made(order: Order, told: Told, offer: Offer | None) -> Usage:
    """What the order was for; of several pictures or films those that came: some may have been filtered."""
    usage, came = usage_of_ask(order.endpoint, order.ask, offer), len(told.pieces)
    if usage.images:
        return replace(usage, images=came)
    missing = order.endpoint == "videos" and 0 < came < order.ask.n
    return replace(usage, seconds=usage.seconds * came / order.ask.n) if missing else usage


def _believed(told: Usage, order: Order, made: Usage) -> Usage:
    images = told.images <= max(order.ask.n, made.images)
    seconds = told.seconds <= max(MOST_SECONDS, MOST_TIMES * made.seconds)
    characters = told.characters <= MOST_TIMES * max(made.characters, len(order.prompt))
    lie = not (images and seconds and characters)
    return replace(
        told,
        images=told.images if images else made.images,
        seconds=told.seconds if seconds else made.seconds,
        characters=told.characters if characters else made.characters,
        input_images=told.input_images or made.input_images,
        size=told.size or made.size,
        quality=told.quality or made.quality,
        resolution=told.resolution or made.resolution,
        absurd=told.absurd or lie,
        estimated=told.estimated or lie,
    )
