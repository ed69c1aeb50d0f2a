"""What each bought model costs under this policy, and where that is from.

The first that says something holds: `price` in models.yaml, the first entry of prices.yaml that fits, the price book.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from gateway.model import Gpus, Modality, Origin, Price, Tokens
from gateway.policy.price_schema import OverrideIn, PriceIn, RateIn, RatesIn, TokenRatesIn
from gateway.policy.schema import ManagedBackend
from gateway.policy.sources import Sources
from gateway.policy.validate import nearest
from gateway.prices import book
from gateway.prices.marks import origin
from gateway.prices.rates import REQUEST, TOKENS, Rate, price_of
from gateway.routing.globs import fits
from gateway.routing.media import is_free

_KEYS: Final[Mapping[str, str]] = {
    **{f"{field}_per_1m": per for per, field in TOKENS.items()},
    "per_request": REQUEST,
    "per_image": "image",
    "per_input_image": "input_image",
    "per_second": "second",
    "per_generation": "generation",
    "per_1k_chars": "thousand_characters",
    "per_audio_hour": "audio_hour",
}
"""Key of the policy language -> what the rate is for."""
_WHOLE = 100
_MEDIA_ALONE: Final = "the price that is written has only what its media cost"
"""Of a model that makes text: its texts would come out free."""


@dataclass(frozen=True, slots=True)
class Quote:
    """`price` None: nobody knows it, and `why` ends the sentence "is required: ..."."""

    provider: str | None
    price: Price | None
    why: str = ""
    known: book.Known | None = None
    """What the price book says of it, where it was asked."""
    by: int | None = None
    """The entry of prices.yaml that decided; None: none did."""


class Pricing:
    """The prices of one folder on one day."""

    def __init__(self, sources: Sources, today: date) -> None:
        self.today = today
        self.max_age_days = sources.max_age_days
        self._overrides = sources.prices.sound
        self._providers: dict[str, str | None] = {}

    def quote(self, backend: ManagedBackend, name: str, stated: PriceIn | None, modality: Modality = "text") -> Quote:
        """What the model called `name`, which makes `modality`, costs at `backend`, where models.yaml says `stated`."""
        text = modality == "text"
        if stated is not None:
            if text and not stated.sells_texts:
                return Quote(backend.provider, None, _MEDIA_ALONE)
            known = self._known(backend, name) if stated.contract else None
            price = self.stated(stated, "models.yaml")
            return Quote(backend.provider, _beside(price, known), known=known)
        known = self._known(backend, name)
        quote = Quote(self.provider(backend), known.price if known else None, known=known)
        override = next(self.fitting(backend, name), None)
        if override is not None:
            quote = replace(self._overridden(self._overrides[override], quote, name, text), by=override)
        quote = self._sold(quote, text)
        return quote if quote.price or quote.why else replace(quote, why=_unknown(quote.provider, name))

    def fitting(self, backend: ManagedBackend, name: str) -> Iterator[int]:
        """The entries of prices.yaml that are about it, in their order."""
        yield from (index for index, one in self._overrides.items() if self._is_about(one, backend, name))

    def stated(self, given: RatesIn, file: str) -> Price:
        where = origin(given.source or file, given.as_of, "stated", self.today, self.max_age_days)
        return rates_of(given, where)

    def provider(self, backend: ManagedBackend) -> str | None:
        """Whose API it is: as written, else by its address. Nobody's where it is simulated."""
        if backend.provider is not None or backend.simulated:
            return backend.provider
        if backend.name not in self._providers:
            self._providers[backend.name] = book.provider_at(backend.upstreams[0].url)
        return self._providers[backend.name]

    def rented(self, gpus: Gpus) -> Gpus:
        """With the book's price for an hour where the policy says none."""
        hour = None if gpus.kind is None or gpus.usd_per_hour is not None else book.gpu(gpus.kind)
        if hour is None:
            return gpus
        where = origin(hour.source, hour.as_of, hour.confidence, self.today, self.max_age_days)
        return replace(gpus, usd_per_hour=float(hour.usd_per_hour), priced=where)

    def _known(self, backend: ManagedBackend, name: str) -> book.Known | None:
        provider = self.provider(backend)
        return None if provider is None else book.find(provider, name, self.today, self.max_age_days)

    def _is_about(self, one: OverrideIn, backend: ManagedBackend, name: str) -> bool:
        return (
            fits(backend.name, one.backend or ())
            and fits(name.lower(), [glob.lower() for glob in one.model or ()])
            and (one.provider is None or fits(self.provider(backend) or "", one.provider))
        )

    def _overridden(self, one: OverrideIn, quote: Quote, name: str, text: bool) -> Quote:
        """The price by `one`; None where it changes one that nobody knows."""
        known, quote = quote.known, replace(quote, price=None)
        if text and one.price is not None and not one.price.sells_texts:
            return replace(quote, why=_MEDIA_ALONE)
        if one.price is not None:
            base: Price | None = self.stated(one.price, "prices.yaml")
        elif one.tier not in (None, "standard") and quote.provider is not None:
            found = book.find(quote.provider, name, self.today, self.max_age_days, one.tier or "standard")
            base = found.price if found else None
            quote = replace(quote, why=f"the price book knows no {one.tier} price of `{name}` at {quote.provider}")
        else:
            base = known.price if known else None
        if base is None:
            return quote
        price = base if one.discount_percent is None else discounted(base, one.discount_percent)
        if one.round is not None:
            price = replace(price, round_up=one.round == "up")
        if one.discount_percent is not None and known is None:
            return replace(quote, price=replace(price, listed=base))
        return replace(quote, price=_beside(price, known))

    def _sold(self, quote: Quote, text: bool) -> Quote:
        """Without a price of the book that is none, or says nothing of texts, as `_MEDIA_ALONE`."""
        price = quote.price
        if price is None or price.origin.confidence == "stated" or price.per_request:
            return quote
        if is_free(price):
            return replace(quote, price=None, why="the price book has it as free")
        if text and price.tokens == Tokens() and not price.tiers:
            return replace(quote, price=None, why="the price book has only what its media cost")
        return quote


def rates_of(given: RatesIn, where: Origin) -> Price:
    rates = [
        Rate(per, Decimal(str(one.usd)), **_kind(one)) if isinstance(one, RateIn) else Rate(per, Decimal(str(one)))
        for key, per in _KEYS.items()
        for one in _each(getattr(given, key))
    ]
    price = price_of(rates, given.sold_seconds, where, round_up=given.round == "up")
    return replace(price, tiers=tuple((tier.from_input_tokens, _tier(given, tier)) for tier in given.tiers))


def discounted(price: Price, percent: float) -> Price:
    """So many per cent off every rate; each is rounded up to the pico-dollar."""
    left = 1 - Decimal(str(percent)) / _WHOLE

    def less(rate: int) -> int:
        return int((rate * left).to_integral_value(ROUND_CEILING))

    def tokens(rates: Tokens) -> Tokens:
        written: dict[str, Any] = {name: getattr(rates, name) for name in Tokens.__dataclass_fields__}
        less_of: dict[str, Any] = {name: None if rate is None else less(rate) for name, rate in written.items()}
        return Tokens(**less_of)

    return replace(
        price,
        tokens=tokens(price.tokens),
        per_request=less(price.per_request),
        tiers=tuple((least, tokens(rates)) for least, rates in price.tiers),
        media=tuple(replace(rate, pico=less(rate.pico)) for rate in price.media),
    )


def _tier(given: TokenRatesIn, tier: TokenRatesIn) -> Tokens:
    merged: dict[str, float | None] = {
        name: own if (own := getattr(tier, name)) is not None else getattr(given, name)
        for name in TokenRatesIn.model_fields
    }
    return price_of([Rate(_KEYS[name], Decimal(str(usd))) for name, usd in merged.items() if usd is not None]).tokens


def _each(written: object) -> Iterable[object]:
    return () if written is None else written if isinstance(written, tuple) else (written,)


def _kind(one: RateIn) -> dict[str, Any]:
    return one.model_dump(exclude={"usd"})


def _beside(price: Price, known: book.Known | None) -> Price:
    """With the list price of the book, where it is another one."""
    if known is None or replace(price, origin=known.price.origin, round_up=known.price.round_up) == known.price:
        return price
    return replace(price, listed=known.price)


def _unknown(provider: str | None, name: str) -> str:
    if provider is None:
        return "the price book does not know whose (`provider` in backends.yaml tells)"
    names = book.names(provider)
    likely = nearest(name, names) if names else ""
    said = f"the price book does not know `{name}` at {provider}"
    return f"{said}; {likely}" if likely.startswith("did you mean") else said
