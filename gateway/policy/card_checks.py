"""What the catalogue says of the bought models of a folder: deprecated, dead, called by another name, not known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from gateway.catalog.cards import Card, every, find
from gateway.policy.pricing import Pricing, Quote
from gateway.policy.schema import ManagedBackend, ServedIn
from gateway.policy.source import Fault, Path
from gateway.policy.sources import Sources
from gateway.policy.validate import nearest

NOTICE: Final = timedelta(days=90)
"""How long before its end a model counts as deprecated: OpenAI and Anthropic announce ends 60 to 180 days ahead."""
Standing = Literal["known", "alias", "priced", "custom", "deprecated", "dead", "unknown"]
FINDINGS: Final[frozenset[Standing]] = frozenset({"deprecated", "dead", "unknown"})
"""What somebody should look at; the others are told and no more."""
WARNED: Final[frozenset[Standing]] = frozenset({"deprecated", "dead"})
"""What `gateway check` warns of too: an unknown id may be newer than the catalogue, an end is certain."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One bought way to serve a model. `says` is empty where there is nothing to add to its standing."""

    at: Path
    model: str
    backend: str
    provider: str
    id: str
    standing: Standing
    says: str = ""


def looked_up(sources: Sources, pricing: Pricing) -> Iterator[Looked]:
    """Each bought way to serve a model at a provider that is known, in the order of models.yaml."""
    for index, model in sources.models.sound.items():
        for j, served in enumerate(model.served_by):
            backend = sources.backend(served.backend)
            provider = pricing.provider(backend) if isinstance(backend, ManagedBackend) else None
            if not isinstance(backend, ManagedBackend) or provider is None:
                continue
            for at, id in _ids(("models", index, "served_by", j), served):
                quote = pricing.quote(backend, id, served.price, model.modality)
                standing, says = _standing(provider, id, served, quote, pricing.today)
                yield Looked(at, model.name, backend.name, provider, id, standing, says)


def card_warnings(sources: Sources, pricing: Pricing) -> Iterator[Fault]:
    """Models that end soon, and those that ended."""
    for one in looked_up(sources, pricing):
        if one.standing in WARNED:
            yield sources.models.document.fault(one.at, f"`{one.id}` at {one.provider} {one.says}")


def ending(card: Card, today: date) -> str:
    """`ends on 2027-01-14, in 53 days: use gpt-5.5`; empty where no end is known."""
    if card.retires is None:
        return ""
    left = (card.retires - today).days
    ends = f"ended on {card.retires}" if left <= 0 else f"ends on {card.retires}, in {left} day{'s' * (left != 1)}"
    use = f"use `{card.use}`" if card.use else "nothing of this provider takes its place"
    return f"{ends}: {use}"


def _ids(at: Path, served: ServedIn) -> Iterator[tuple[Path, str]]:
    if served.as_ is not None:
        yield (*at, "as"), served.as_
    for k, version in enumerate(served.versions or ()):
        yield (*at, "versions", k, "as"), version.as_


def _standing(provider: str, id: str, served: ServedIn, quote: Quote, today: date) -> tuple[Standing, str]:
    card = find(provider, id)
    if card is None:
        return _without_card(provider, id, served, quote)
    says = ending(card, today)
    if card.gone(today):
        return "dead", says
    if card.retires is not None and card.retires - today <= NOTICE:
        return "deprecated", says
    if id.lower() != card.model.lower():
        return "alias", f"is another id of `{card.model}`" + (f"; {says}" if says else "")
    return "known", says


def _without_card(provider: str, id: str, served: ServedIn, quote: Quote) -> tuple[Standing, str]:
    if served.price is not None or served.can is not None:
        return "custom", "has no card; the folder says what it costs or what it can do"
    if quote.known is not None:
        return "priced", "has no card; the price book knows it"
    likely = nearest(id, [card.model for card in every() if card.provider == provider])
    hint = (
        likely
        if likely.startswith("did you mean")
        else f"`gateway models list --provider {provider}` has those it knows"
    )
    return "unknown", f"has no card and no price; {hint}"
