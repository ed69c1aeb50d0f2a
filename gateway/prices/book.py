"""Look-ups in the price book: what a model costs at a provider, what a GPU costs an hour, whose address this is.

Our own catalogue goes first; token prices come from genai-prices. Where both know a model, its media rates are ours and
its token rates the package's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from gateway.model import Price
from gateway.prices import genai
from gateway.prices.catalogue import Entry, GpuHour, Said, catalogue
from gateway.prices.marks import MAX_AGE_DAYS, origin
from gateway.prices.rates import price_of
from gateway.routing.globs import fits

_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True)
class Known:
    """What the book says of one model at one provider. `price.origin` is where it is from, with today's marks."""

    provider: str
    model: str
    """As the book writes it: sources spell a name differently."""
    modality: str
    price: Price
    note: str = ""
    seen: str = ""
    ends: str | None = None
    conflicts: tuple[Said, ...] = ()
    unbilled: tuple[str, ...] = ()
    """What it charges beside, that we do not meter."""


@lru_cache(_REMEMBERED)
def find(
    provider: str, model: str, today: date, max_age_days: int = MAX_AGE_DAYS, tier: genai.Tier = "standard"
) -> Known | None:
    """None: the book does not know that model there, or no such tier of it."""
    entry = _entry(provider, model) if tier == "standard" else None
    listed = _listed(provider, model, today, tier)
    if entry is None:
        return None if listed is None else _of_package(provider, listed, today, max_age_days)
    known = of_entry(entry, today, max_age_days)
    if listed is None or any(rate.per.endswith("tokens") for rate in entry.rates):
        return known
    tokens = replace(known.price, tokens=listed.price.tokens, tiers=listed.price.tiers)
    return replace(known, price=tokens, unbilled=listed.unbilled)


def of_entry(entry: Entry, today: date, max_age_days: int = MAX_AGE_DAYS) -> Known:
    where = origin(entry.source, entry.as_of, entry.confidence, today, max_age_days)
    price = price_of(entry.rates, entry.sold_seconds, where)
    return Known(
        entry.provider, entry.model, entry.modality, price, entry.note, entry.seen, entry.ends, entry.conflicts
    )


def listed_at(provider: str, today: date, max_age_days: int = MAX_AGE_DAYS) -> Iterator[Known]:
    """All that is known of one provider, by name."""
    for model in names(provider):
        known = find(provider, model, today, max_age_days)
        if known is not None:
            yield replace(known, model=model)


def names(provider: str) -> list[str]:
    """Of all models that are known there; none of a provider that nobody knows."""
    ours = [entry.model for entry in catalogue().entries if entry.provider == provider]
    theirs = genai.models(name) if (name := _tokens_of(provider)) is not None else ()
    return sorted({*ours, *theirs}, key=str.lower)


def providers() -> frozenset[str]:
    """All that the book knows something of."""
    return frozenset(catalogue().providers) | frozenset(genai.providers())


def provider_at(url: str) -> str | None:
    """Whose API an address is; None: nobody's that the book knows."""
    host = urlsplit(url).hostname or ""
    for provider in catalogue().providers.values():
        if provider.hosts and fits(host, provider.hosts):
            return provider.name
    return genai.provider_at(url)


def sells(provider: str, model: str) -> bool:
    """Whether our own catalogue has it there, or the package lists it by this very name."""
    name = _tokens_of(provider)
    return _entry(provider, model) is not None or (name is not None and model in genai.models(name))


def gpu(kind: str) -> GpuHour | None:
    return catalogue().gpus.get(kind)


def _entry(provider: str, model: str) -> Entry | None:
    known, name = catalogue(), model.lower()
    exact = known.by_name.get((provider, name))
    family = (one for one in known.families if one.provider == provider and fits(name, (one.model.lower(),)))
    return exact or next(family, None)


def _tokens_of(provider: str) -> str | None:
    """What genai-prices calls it."""
    ours = catalogue().providers.get(provider)
    if ours is not None:
        return ours.tokens
    return provider if provider in genai.providers() else None


def _listed(provider: str, model: str, today: date, tier: genai.Tier) -> genai.Listed | None:
    name = _tokens_of(provider)
    return None if name is None else genai.find(name, model, today, tier)


def _of_package(provider: str, listed: genai.Listed, today: date, max_age_days: int) -> Known:
    where = origin(genai.SOURCE, genai.as_of(today), "aggregator", today, max_age_days)
    price = replace(listed.price, origin=where)
    return Known(provider, listed.id, _modality(price), price, listed.note, listed.seen, unbilled=listed.unbilled)


def modalities() -> frozenset[str]:
    """All that a model of the book can be for."""
    return frozenset(entry.modality for entry in catalogue().entries) | _OF_PACKAGE


_OF_PACKAGE: Final = frozenset({"text", "asr", "tts"})
"""What `_modality` makes of what is charged for."""


def _modality(price: Price) -> str:
    """The package does not say it: by what is charged for."""
    units = {rate.unit for rate in price.media}
    if price.tokens.input or price.tokens.output or not units:
        return "text"
    return "asr" if "audio_second" in units else "tts"
