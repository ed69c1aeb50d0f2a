"""What an API's models can do, as data, and the refusal of what they cannot: before anything is sent or paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Generic, NamedTuple, TypeVar

from gateway.catalog.cards import offers
from gateway.errors import InvalidRequest
from gateway.model import EndpointName, MediaAsk, Offer
from gateway.upstreams.dialects.ordering import Order

T = TypeVar("T")
FILMS: frozenset[EndpointName] = frozenset({"videos"})
PICTURES: frozenset[EndpointName] = frozenset({"images/generations", "images/edits"})
SPEECH: frozenset[EndpointName] = frozenset({"audio/speech"})


class Row(NamedTuple, Generic[T]):
    """The first row whose glob matches a model's name at its API is the one that counts."""

    models: str
    says: T


Offers = tuple[Row[Offer], ...]


def rows_of(file: str, families: Mapping[str, str]) -> Offers:
    """Glob of models -> family on the catalogue's cards of that file, which say what it can do."""
    known = offers(file)
    return tuple(Row(models, known[family]) for models, family in families.items())


_ANYTHING = Offer()


def row_of(table: Iterable[Row[T]], model: str, otherwise: T) -> T:
    return next((row.says for row in table if fnmatchcase(model, row.models)), otherwise)


def hold(table: Offers, order: Order) -> Offer:
    """The offer of the order's model. Raises InvalidRequest, naming the caller's field and what is supported."""
    offer = row_of(table, order.model, _ANYTHING)
    found = replace(offer, streams=False).complaint(order.endpoint, _as_it_goes_up(order))
    if found is not None:
        raise InvalidRequest(f"{found.param}: {found.message}", param=found.param)
    return offer


def _as_it_goes_up(order: Order) -> MediaAsk:
    """What the order holds, whatever was counted as it came. An order has nothing to show before it is done."""
    masks = sum(picture.role == "mask" for picture in order.pictures)
    return replace(
        order.ask,
        characters=len(order.prompt),
        prompt_characters=len(order.prompt),
        inputs=len(order.pictures) - masks,
        mask=masks > 0,
        streams=order.ask.streams or bytes(order.fields.get("stream", b"")) == b"true",
    )
