"""Whether a served model can do what is asked of it, and what of it is sold. Pure."""

from __future__ import annotations

from dataclasses import replace

from gateway.errors import InvalidRequest
from gateway.model import Complaint, EndpointName, MediaAsk, Price, Served
from gateway.routing.sold import sold_as


def complaint(endpoint: EndpointName, ask: MediaAsk, served: Served) -> Complaint | None:
    """The first thing that `served` cannot do of it; None: all of it can be done, as far as anybody knows. A length
    that is sold as a longer one is judged as that."""
    found = None if served.offer is None else served.offer.complaint(endpoint, as_sold(ask, served))
    return found or _unsold(ask, served.price)


def as_sold(ask: MediaAsk, served: Served) -> MediaAsk:
    """The same with what is ordered there for it: a length that is not sold is the next longer one where the price
    says so. Where it does not, it stays what it is: who serves that is `complaint`'s affair."""
    if ask.seconds is None or served.price is None:
        return ask
    try:
        return replace(ask, seconds=sold_as(served.price, ask.seconds))
    except InvalidRequest:
        return ask


def _unsold(ask: MediaAsk, price: Price | None) -> Complaint | None:
    if ask.seconds is None or price is None:
        return None
    try:
        sold_as(price, ask.seconds)
    except InvalidRequest as refusal:
        return Complaint("seconds", refusal.message.removeprefix("seconds: "))
    return None
