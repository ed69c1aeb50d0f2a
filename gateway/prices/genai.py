"""Token prices of well-known LLMs, from the package genai-prices as it is installed: nothing is fetched, ever.

Its data (3.4 MB, loaded in 14 ms) comes with the first look-up: a policy that states all its prices never pays for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import Final, Literal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, StartDateConstraint, TieredPrices

from gateway.model import Price, Tokens, per_million, pico
from gateway.prices.rates import Rate, media_rate

SOURCE: Final = "genai-prices"
RELEASE: Final = ("0.2.3", date(2026, 11, 22))
"""The release that requirements/ has, and the day on which it was taken up: it cannot have been kept later."""
Tier = Literal["standard", "batch", "flex", "priority"]
"""How a provider was asked to serve: what it charges differs."""
_CONTEXT: Final[Mapping[Tier, Mapping[str, str]]] = {
    "standard": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
_TOKENS: Final[Mapping[str, str]] = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cached_audio",
    "output_audio_mtok": "output_audio",
    "input_image_mtok": "input_image",
    "cache_image_read_mtok": "cached_image",
    "output_image_mtok": "output_image",
}
"""The package's name of a price -> our field of Tokens."""
_MILLION_CHARACTERS, _AUDIO_HOURS = "input_mchars", ("input_audio_hours", "audio_hours")
_THOUSAND_REQUESTS = "requests_kcount"


@dataclass(frozen=True, slots=True)
class Listed:
    """What the package says of one model. `unbilled` names what it prices and we do not meter, such as web searches."""

    id: str
    price: Price
    seen: str = ""
    note: str = ""
    unbilled: tuple[str, ...] = ()


def providers() -> tuple[str, ...]:
    return tuple(one.id for one in get_snapshot().providers)


def models(provider: str) -> tuple[str, ...]:
    """Of a provider that is one of `providers`."""
    return next(tuple(model.id for model in one.models) for one in get_snapshot().providers if one.id == provider)


def provider_at(url: str) -> str | None:
    """Whose API the address is, as far as the package knows."""
    try:
        return get_snapshot().find_provider(None, None, url).id
    except LookupError:
        return None


def find(provider: str, model: str, today: date, tier: Tier = "standard") -> Listed | None:
    """The price of that day; None where the package does not know the model, or has no such tier of it."""
    try:
        owner, info = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    context = _CONTEXT[tier]
    if context and not any(context.items() <= variant.when.items() for variant in info.price_variants or ()):
        return None
    found = [_price(one) for one in _of_the_day(info, today, context)]
    dearest = max(found, key=lambda one: (one.tokens.input + one.tokens.output, one.per_request))
    note = "by the time of day; this is the dearest of the day" if any(one != dearest for one in found) else ""
    keys = {key for one in _of_the_day(info, today, context) for key, value in _written(one)}
    unbilled = tuple(sorted(keys - {*_TOKENS, *_AUDIO_HOURS, _MILLION_CHARACTERS, _THOUSAND_REQUESTS}))
    return Listed(info.id, dearest, (owner.pricing_urls or [""])[0], note, unbilled)


@cache
def as_of(today: date) -> str:
    """The day of the newest price in the data that held already when this release was taken up (of another release:
    that holds today): its keepers were at it then, at the latest. What is only scheduled proves nothing."""
    release, taken_up = RELEASE
    last = min(today, taken_up) if version(SOURCE) == release else today
    starts = [
        one.constraint.start_date
        for owner in get_snapshot().providers
        for model in owner.models
        for one in (model.prices if isinstance(model.prices, list) else ())
        if isinstance(one.constraint, StartDateConstraint)
    ]
    return max((day for day in starts if day <= last), default=last).isoformat()


def _of_the_day(info: ModelInfo, today: date, context: Mapping[str, str]) -> list[ModelPrice]:
    """All that the model costs at some time of that day."""
    moments = {time(0), time(12)}
    for one in info.prices if isinstance(info.prices, list) else ():
        moments |= _changes(one)
    found: list[ModelPrice] = []
    for moment in sorted(moments):
        price = info.get_prices(datetime.combine(today, moment, UTC), context)
        if price not in found:
            found.append(price)
    return found


def _changes(one: ConditionalPrice) -> set[time]:
    if one.constraint is None or isinstance(one.constraint, StartDateConstraint):
        return set()
    return {moment.replace(tzinfo=None) for moment in (one.constraint.start_time, one.constraint.end_time)}


def _price(written: ModelPrice) -> Price:
    prices = dict(_written(written))
    thresholds = sorted({tier.start for one in prices.values() if isinstance(one, TieredPrices) for tier in one.tiers})
    media = [
        Rate("thousand_characters", _at(prices[_MILLION_CHARACTERS], 0) / 1000)
        if _MILLION_CHARACTERS in prices
        else None,
        next((Rate("audio_hour", _at(prices[key], 0)) for key in _AUDIO_HOURS if key in prices), None),
    ]
    requests = prices.get(_THOUSAND_REQUESTS)
    return Price(
        _tokens(prices, 0),
        0 if requests is None else pico(_at(requests, 0) / 1000),
        # A tier of the package holds for prompts longer than its start, one of ours from so many tokens on.
        tuple((start + 1, _tokens(prices, start + 1)) for start in thresholds),
        tuple(media_rate(rate) for rate in media if rate is not None),
    )


def _tokens(prices: Mapping[str, Decimal | TieredPrices], prompt: int) -> Tokens:
    fields = {ours: per_million(_at(prices[key], prompt)) for key, ours in _TOKENS.items() if key in prices}
    return replace(Tokens(), **fields)


def _at(price: Decimal | TieredPrices, prompt: int) -> Decimal:
    if not isinstance(price, TieredPrices):
        return price
    return next((tier.price for tier in reversed(price.tiers) if prompt > tier.start), price.base)


def _written(price: ModelPrice) -> Iterator[tuple[str, Decimal | TieredPrices]]:
    yield from ((key, value) for key, value in vars(price).items() if isinstance(value, Decimal | TieredPrices))
