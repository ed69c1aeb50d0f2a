"""What pictures, films and sounds cost: the rate that fits best, and the dearest that could. Integers; pure.

A price that charges tokens *and* pictures (OpenAI's and Google's image models do) says the same twice: pictures are
charged by the tokens where the answer tells them, by the picture where it does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal

from gateway.model import MediaRate, MediaUnit, Price, Tokens, Usage
from gateway.routing.sold import billed_seconds

PARTS = 10**6
"""Amounts are counted in millionths of their unit, so that half a second is an integer too."""
_INCLUDED: frozenset[MediaUnit] = frozenset({"input_image"})
"""What may be used without a rate of its own: pictures that are sent along, unless the price names them."""


def media_pico(price: Price, usage: Usage) -> int | None:
    """Pico-dollars of all but tokens, rounded up; None where something was used that the price does not cover."""
    if not price.media and not _used(usage):
        return 0
    parts = media_parts(price, usage)
    return None if parts is None else -(-sum(amount * rate.pico for rate, amount in parts) // PARTS)


def media_parts(price: Price, usage: Usage) -> list[tuple[MediaRate, int]] | None:
    """Each rate that is charged, and how many millionths of its unit; None as above."""
    parts: list[tuple[MediaRate, int]] = []
    told = _by_tokens(price, usage)
    for unit, amount in _amounts(price, usage):
        rates = [rate for rate in price.media if rate.unit == unit]
        if not rates and not _covered(price, usage, unit):
            return None
        if not rates or (unit == "image" and told):
            continue
        fitting = [rate for rate in rates if _fits(rate, usage) and _lasts(rate, price, usage)]
        if not fitting:
            return None
        parts.append((max(fitting, key=lambda rate: (_named(rate), rate.pico)), amount))
    return parts


def dearest_pico(price: Price, bounds: Usage) -> int | None:
    """The most that `media_pico` gives for any usage within `bounds`; None where some of it has no rate."""
    if not price.media and not _used(bounds):
        return 0
    total = 0
    for unit, amount in _amounts(price, bounds):
        rates = [rate for rate in price.media if rate.unit == unit]
        if not rates and not _covered(price, bounds, unit):
            return None
        if rates:
            likely = [rate.pico for rate in rates if _may_fit(rate, bounds)]
            if not likely:
                return None
            total += amount * max(likely)
    return -(-total // PARTS)


def _amounts(price: Price, usage: Usage) -> Iterator[tuple[MediaUnit, int]]:
    """What was used, in millionths of a unit."""
    used: tuple[tuple[MediaUnit, int], ...] = (
        ("image", usage.images * PARTS),
        ("input_image", usage.input_images * PARTS),
        ("second", _parts(billed_seconds(price, usage.seconds))),
        ("audio_second", _parts(usage.audio_seconds)),
        ("character", usage.characters * PARTS),
    )
    yield from (one for one in used if one[1])
    if any(rate.unit == "generation" for rate in price.media):
        yield "generation", PARTS


def _used(usage: Usage) -> bool:
    return bool(usage.images or usage.input_images or usage.seconds or usage.audio_seconds or usage.characters)


def _parts(seconds: float) -> int:
    return int((Decimal(repr(seconds)) * PARTS).to_integral_value(ROUND_CEILING))


def _covered(price: Price, usage: Usage, unit: MediaUnit) -> bool:
    """Whether what has no rate of its own is paid with something else: the job, the request, tokens; or is free."""
    by_job = price.per_request > 0 or any(rate.unit == "generation" for rate in price.media)
    counted = usage.input_tokens > 0 or usage.output_tokens > 0
    return unit in _INCLUDED or by_job or (counted and _sells_tokens(price)) or is_free(price)


def _sells_tokens(price: Price) -> bool:
    return price.tokens != _NO_TOKENS or bool(price.tiers)


def is_free(price: Price) -> bool:
    """Nothing of it costs anything: somebody wrote 0."""
    return not _sells_tokens(price) and not price.per_request and not any(rate.pico for rate in price.media)


def _by_tokens(price: Price, usage: Usage) -> bool:
    return usage.output_tokens > 0 and bool(price.tokens.output or price.tokens.output_image)


_NO_TOKENS = Tokens()


def _pairs(rate: MediaRate, usage: Usage) -> tuple[tuple[str | None, str | None], ...]:
    return ((rate.quality, usage.quality), (rate.size, usage.size), (rate.resolution, usage.resolution))


def _fits(rate: MediaRate, usage: Usage) -> bool:
    return all(
        ours is None or (rate.default if theirs is None else _same(ours, theirs))
        for ours, theirs in _pairs(rate, usage)
    )


def _may_fit(rate: MediaRate, bounds: Usage) -> bool:
    return all(ours is None or theirs is None or _same(ours, theirs) for ours, theirs in _pairs(rate, bounds))


def _lasts(rate: MediaRate, price: Price, usage: Usage) -> bool:
    return rate.seconds is None or billed_seconds(price, usage.seconds) == rate.seconds


def _named(rate: MediaRate) -> int:
    return sum(one is not None for one in (rate.quality, rate.size, rate.resolution, rate.seconds))


def _same(ours: str, theirs: str) -> bool:
    """`720P` is 720p, and `1024*1024` is 1024x1024: APIs write both."""
    return ours.lower() == theirs.lower().replace("*", "x")
