"""Cards as entries of models.yaml that are ready to be pasted: policies/catalog/ is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.catalog.cards import LOCAL, Card, every
from gateway.prices import book, told

_OWN: Final = "own"
"""What the entries of open-weight models call the backend of our own workers."""
_HEAD: Final = """\
# yaml-language-server: $schema=../schema/models.json
# Entries for models.yaml, made by `gateway models export {provider}`: take those that you want (docs/catalog.md).
# Backends that they name:
{backends}
models:
"""


def ready_entries(provider: str) -> str:
    """The text of a models.yaml with every model of that provider that had not ended when its card was written, each
    name once. Prices are those of the card's day: the text changes with the data alone. No cards: no entries."""
    cards = [card for card in every() if card.provider == provider and not card.gone(card.as_of)]
    named: dict[str, list[Card]] = {}
    for card in cards:
        named.setdefault(card.name.lower(), []).append(card)
    lines = [line for same in named.values() for line in _entry(same)]
    backends = "\n".join(f"#   {name}: {what}" for name, what in backends_of(cards).items())
    return _HEAD.format(provider=provider, backends=backends) + "\n".join(lines) + "\n"


def backends_of(cards: Iterable[Card]) -> Mapping[str, str]:
    """Name in the entries -> what that backend is."""
    return {backend_of(card): _backend(card) for card in cards}


def backend_of(card: Card) -> str:
    """A provider that is asked in two ways has two backends: the one for texts is `PROVIDER-llm`."""
    if card.provider == LOCAL:
        return _OWN
    media = (one.dialect for one in every() if one.provider == card.provider and one.modality != "text")
    own = next(media, card.dialect)
    return card.provider if card.dialect == own else f"{card.provider}-llm"


def _backend(card: Card) -> str:
    if card.provider == LOCAL:
        return "your workers (kind: local)"
    return f"kind: managed, provider: {card.provider}, dialect: {card.dialect}"


def _entry(same: list[Card]) -> Iterator[str]:
    first = same[0]
    yield f"  - name: {first.name.lower()}"
    yield f"    modality: {first.modality}"
    if first.memory_gb is not None:
        gpus = f", gpus: {first.gpus}" if first.gpus > 1 else ""
        yield f"    needs: {{memory_gb: {first.memory_gb:g}{gpus}}}"
    yield "    served_by:"
    for card in same:
        yield from (f"      # {line}" for line in _about(card))
        yield f"      - {{backend: {backend_of(card)}, as: {card.model}}}"


def _about(card: Card) -> Iterator[str]:
    """Comments: price, engines, aliases, end, note."""
    if card.engines:
        yield f"engines: {', '.join(card.engines)}"
    if card.provider != LOCAL:
        yield _price(card)
    if card.aliases:
        yield f"also called {', '.join(card.aliases)}"
    if card.retires is not None:
        yield f"ends on {card.retires}" + (f"; then {card.use}" if card.use else "")
    if card.note:
        yield card.note


def _price(card: Card) -> str:
    known = book.find(card.provider, card.model, card.as_of)
    if known is None:
        return "no price is known: add `price`, or set `unknown_price: route` in prices.yaml"
    return f"{told.briefly(known.price)} ({known.price.origin.source}, {known.price.origin.as_of})"
