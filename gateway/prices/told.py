"""Prices in words and as JSON, and how the price of an order comes about. The arithmetic is `routing.bill`'s."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from gateway.model import MICRO_PER_USD, PICO_PER_USD, MediaRate, Origin, Price, Tokens, Usage
from gateway.prices.book import Known
from gateway.prices.catalogue import Said
from gateway.prices.rates import Rate, media_rate
from gateway.routing.bill import bill, token_parts
from gateway.routing.media import PARTS, media_parts

_MILLION: Final = 10**6
_UNITS: Final = {
    "image": ("image", 1),
    "input_image": ("image sent", 1),
    "second": ("second", 1),
    "generation": ("generation", 1),
    "character": ("1,000 characters", 1000),
    "audio_second": ("hour of audio", 3600),
}
"""How a unit is told, and how many of it that is."""
_MARKS: Final = {"old": "old", "low_confidence": "low confidence"}


def dollars(pico: int) -> str:
    """Exact, with two decimals at least: 5 * 10^10 pico-dollars are $0.05."""
    usd = Decimal(pico) / PICO_PER_USD
    whole = format(usd.normalize(), "f")
    return f"${max(whole, format(usd, '.2f'), key=len) if usd == round(usd, 2) else whole}"


def in_words(price: Price) -> list[str]:
    """One line for each way in which it charges."""
    lines = list(_tokens(price.tokens))
    for least, rates in price.tiers:
        lines += [f"{line}, from {least:,} prompt tokens on" for line in _tokens(rates)]
    lines += [f"{dollars(price.per_request)} a request"] if price.per_request else []
    lines += [rate_in_words(rate) for rate in price.media]
    if price.sold_seconds:
        others = "rounded up" if price.round_up else "refused"
        lines.append(f"sold as {', '.join(map(str, price.sold_seconds))} s; other lengths are {others}")
    return lines or ["nothing"]


def briefly(price: Price) -> str:
    """In one short line, for a table."""
    parts = []
    if price.tokens != Tokens():
        parts.append(f"{dollars(price.tokens.input * _MILLION)} in, {dollars(price.tokens.output * _MILLION)} out /1M")
    parts += [f"{dollars(price.per_request)} /request"] if price.per_request else []
    for unit in dict.fromkeys(rate.unit for rate in price.media):
        name, count = _UNITS[unit]
        found = [rate.pico * count for rate in price.media if rate.unit == unit]
        span = dollars(min(found)) if min(found) == max(found) else f"{dollars(min(found))} .. {dollars(max(found))}"
        parts.append(f"{span} /{name}")
    return "; ".join(parts) or "nothing"


def rate_in_words(rate: MediaRate) -> str:
    name, count = _UNITS[rate.unit]
    length = f"{rate.seconds} s" if rate.seconds else None
    kind = ", ".join(one for one in (rate.quality, rate.size, rate.resolution, length) if one)
    usual = ", and where nothing is said" if rate.default else ""
    return f"{dollars(rate.pico * count)} a{'n' if name[0] in 'aeiouh' else ''} {name}" + (
        f" ({kind}{usual})" if kind else ""
    )


def where(origin: Origin) -> str:
    marks = ", ".join(_MARKS[mark] for mark in origin.marks)
    return f"{origin.source}, {origin.as_of or 'no date'}, {origin.confidence}" + (f" [{marks}]" if marks else "")


def conflict(said: Said) -> str:
    what = f"${said.usd} an hour" if said.rate is None else _said_rate(said.rate)
    return f"{said.source} ({said.as_of}) says {what}" + (f": {said.note}" if said.note else "")


def working(price: Price, usage: Usage) -> list[str]:
    """How the bill comes about, and it at the end; says so where there is no rate for what is used, and nothing where
    nothing is charged for."""
    cost, parts = bill(price, usage), media_parts(price, usage)
    if cost is None or parts is None:
        return ["no rate for this: name quality, size, resolution or length as the rates above do"]
    lines = [
        f"{count:,} {name} tokens x {dollars(pico * _MILLION)} / 1M = {dollars(count * pico)}"
        for name, count, pico in token_parts(price.tokens_for(usage.input_tokens), usage)
        if count
    ]
    lines += [f"1 request x {dollars(price.per_request)}"] if price.per_request else []
    for rate, amount in parts:
        count = Decimal(amount) / PARTS / _UNITS[rate.unit][1]
        lines.append(f"{_number(count)} x {rate_in_words(rate)} = {dollars(-(-amount * rate.pico // PARTS))}")
    return [*lines, f"costs ${Decimal(cost) / MICRO_PER_USD:.6f}"] if lines else []


def _number(count: Decimal) -> str:
    """With six decimals at most."""
    return f"{round(count, 6).normalize():f}"


def as_data(known: Known) -> dict[str, Any]:
    """For --json. Amounts are texts: USD as they are written."""
    origin = known.price.origin
    return {
        "provider": known.provider,
        "model": known.model,
        "modality": known.modality,
        "price": in_words(known.price),
        "source": origin.source,
        "as_of": origin.as_of,
        "confidence": origin.confidence,
        "marks": list(origin.marks),
        "conflicts": [conflict(one) for one in known.conflicts],
        "unbilled": list(known.unbilled),
        "ends": known.ends,
        "note": known.note,
        "seen": known.seen,
    }


def _tokens(rates: Tokens) -> Iterator[str]:
    for name in Tokens.__dataclass_fields__:
        pico = getattr(rates, name)
        if pico:
            yield f"{dollars(pico * _MILLION)} a million {name.replace('_', ' ')} tokens"


def _said_rate(rate: Rate) -> str:
    if rate.per.endswith("tokens"):
        return f"${rate.usd} a {rate.per.replace('_', ' ')}"
    return f"${rate.usd} a request" if rate.per == "request" else rate_in_words(media_rate(rate))
