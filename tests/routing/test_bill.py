"""Bills: equal to an independent computation in fractions, rounded up once; never more than what was set aside."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.model import MediaRate, Price, Tokens, Usage, pico
from gateway.routing.bill import bill, most, most_of, token_parts
from gateway.routing.sold import SLACK, billed_seconds, sold_as

RATE = st.integers(0, 200_000_000)
MAYBE = st.none() | RATE
TOKENS = st.builds(Tokens, RATE, RATE, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE)
TIERS = st.lists(st.tuples(st.integers(1, 5000), TOKENS), max_size=2, unique_by=lambda tier: tier[0]).map(
    lambda tiers: tuple(sorted(tiers, key=lambda tier: tier[0]))
)
PRICES = st.builds(Price, TOKENS, RATE, TIERS)


@st.composite
def used_tokens(draw: st.DrawFn) -> Usage:
    prompt, output = draw(st.integers(0, 10_000)), draw(st.integers(0, 10_000))
    cached, sound = draw(st.integers(0, prompt)), draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    pictures = draw(st.integers(0, prompt - sound))
    both = draw(st.integers(0, min(cached, sound)))
    spoken = draw(st.integers(0, output))
    drawn = draw(st.integers(0, output - spoken))
    return Usage(
        prompt,
        output,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=draw(st.integers(0, written)),
        input_audio_tokens=sound,
        input_image_tokens=pictures,
        cached_audio_tokens=both,
        cached_image_tokens=draw(st.integers(0, min(cached - both, pictures))),
        output_audio_tokens=spoken,
        output_image_tokens=drawn,
    )


def usd(rate: int | None, plain: int) -> Fraction:
    return Fraction(plain if rate is None else rate, 10**12)


def by_hand(price: Price, use: Usage) -> Fraction:
    rates = price.tokens
    for least, tier in price.tiers:
        if use.input_tokens >= least:
            rates = tier
    heard, seen = use.cached_audio_tokens, use.cached_image_tokens
    text = use.input_tokens - use.input_audio_tokens - use.input_image_tokens
    cached = min(text, use.cached_tokens - heard - seen)
    text -= cached
    written = min(text, use.cache_write_tokens)
    text -= written
    longer = min(written, use.cache_write_1h_tokens)
    kept = rates.input if rates.cache_write is None else rates.cache_write
    saved = rates.input if rates.cached_input is None else rates.cached_input
    total = text * usd(rates.input, 0) + cached * usd(saved, 0)
    total += (written - longer) * usd(kept, 0) + longer * usd(rates.cache_write_1h, kept)
    total += (use.input_audio_tokens - heard) * usd(rates.input_audio, rates.input)
    total += (use.input_image_tokens - seen) * usd(rates.input_image, rates.input)
    total += heard * usd(rates.cached_audio, saved if rates.input_audio is None else rates.input_audio)
    total += seen * usd(rates.cached_image, saved if rates.input_image is None else rates.input_image)
    plain = use.output_tokens - use.output_audio_tokens - use.output_image_tokens
    total += plain * usd(rates.output, 0) + use.output_audio_tokens * usd(rates.output_audio, rates.output)
    total += use.output_image_tokens * usd(rates.output_image, rates.output)
    return total + Fraction(price.per_request, 10**12)


@given(PRICES, used_tokens())
def test_tokens_are_billed_as_fractions_say(price: Price, used: Usage) -> None:
    assert bill(price, used) == math.ceil(by_hand(price, used) * 10**6)


@given(used_tokens())
def test_each_token_is_paid_once(used: Usage) -> None:
    parts = token_parts(Tokens(), used)
    assert min(count for _, count, _ in parts) >= 0
    assert sum(count for _, count, _ in parts) == used.input_tokens + used.output_tokens


@given(PRICES, used_tokens(), st.integers(0, 500), st.integers(0, 500))
def test_the_most_is_never_less_than_the_bill(price: Price, used: Usage, more: int, longer: int) -> None:
    billed = bill(price, used)
    assert billed is not None
    assert billed <= most(price, used.input_tokens + more, used.output_tokens + longer)


KINDS = st.sampled_from([None, "low", "high"]), st.sampled_from([None, "1024x1024"]), st.sampled_from([None, "720p"])
MEDIA = st.builds(
    MediaRate,
    st.sampled_from(["image", "input_image", "second", "generation", "character", "audio_second"]),
    st.integers(0, 10**12),
    *KINDS,
    st.none() | st.sampled_from([4, 8]),
    st.booleans(),
)
SOLD = st.sampled_from([(), (4, 6, 8)])
MEDIA_PRICES = st.builds(
    Price, TOKENS | st.just(Tokens()), RATE, TIERS, st.lists(MEDIA, max_size=6).map(tuple), SOLD, st.booleans()
)
METERS = ("images", "input_images", "characters", "seconds", "audio_seconds")
MADE = st.fixed_dictionaries(
    {
        "images": st.integers(0, 4),
        "input_images": st.integers(0, 2),
        "characters": st.integers(0, 5000),
        "seconds": st.floats(0, 20),
        "audio_seconds": st.floats(0, 4000),
    }
)


@given(
    MEDIA_PRICES, used_tokens(), MADE, MADE, st.tuples(*KINDS), st.tuples(st.booleans(), st.booleans(), st.booleans())
)
def test_the_most_of_media_is_never_less_than_the_bill(
    price: Price,
    tokens: Usage,
    made: dict[str, Any],
    more: dict[str, Any],
    kind: tuple[str | None, ...],
    told: tuple[bool, ...],
) -> None:
    """Whatever of its kind the request told beforehand."""
    names = ("quality", "size", "resolution")
    used = replace(tokens, **made, **dict(zip(names, kind, strict=True)))
    bounds = replace(
        used,
        **{name: made[name] + more[name] for name in METERS},
        **{name: one if known else None for name, one, known in zip(names, kind, told, strict=True)},
    )
    billed, highest = bill(price, used), most_of(price, bounds)
    if billed is not None and highest is not None:
        assert billed <= highest


@given(MEDIA_PRICES, used_tokens(), MADE)
def test_nothing_is_free_for_want_of_a_rate(price: Price, tokens: Usage, made: dict[str, Any]) -> None:
    """Where the bill is 0, the price says 0 for all that was used, or nothing was."""
    used = replace(tokens, **made)
    if bill(price, used) != 0:
        return
    rates = [rate.pico for rate in price.media]
    charged = [used.seconds, used.audio_seconds, used.images, used.characters]
    unsold = [n for n, unit in zip(charged, ("second", "audio_second", "image", "character"), strict=True) if n]
    counted = used.input_tokens or used.output_tokens
    assert not unsold or counted or 0 in rates or not (price.tokens != Tokens() or any(rates) or price.tiers)


PICTURES = Price(
    media=(
        MediaRate("image", pico("0.01")),
        MediaRate("image", pico("0.02"), quality="hd"),
        MediaRate("image", pico("0.04"), quality="hd", size="2048x2048"),
        MediaRate("input_image", pico("0.001")),
    )
)
BOTH = Price(Tokens(5_000_000, 40_000_000), media=(MediaRate("image", pico("0.042"), quality="medium"),))
SPEECH = Price(media=(MediaRate("character", 100_000_000),))


@pytest.mark.parametrize(
    ("price", "used", "micro_usd"),
    [
        (PICTURES, Usage(0, 0, images=1), 10_000),
        (PICTURES, Usage(0, 0, images=1, quality="low"), 10_000),
        (PICTURES, Usage(0, 0, images=2, quality="HD", size="1024x1024"), 40_000),
        (PICTURES, Usage(0, 0, images=1, quality="hd", size="2048*2048"), 40_000),
        (PICTURES, Usage(0, 0, images=1, input_images=3), 13_000),
        (PICTURES, Usage(0, 0, seconds=4.0), None),
        (PICTURES, Usage(10, 10), 0),  # a price of pictures charges no tokens
        (BOTH, Usage(10, 1000, images=1, quality="medium"), 40_050),
        (BOTH, Usage(0, 0, images=1, quality="medium"), 42_000),
        (BOTH, Usage(0, 0, images=1, quality="high"), None),
        (SPEECH, Usage(0, 0, characters=1), 100),
        (SPEECH, Usage(0, 0, characters=5, audio_seconds=1.0), None),
        (Price(per_request=pico("0.1")), Usage(0, 0, characters=9000), 100_000),
        (Price(), Usage(0, 0, images=9), 0),  # somebody wrote 0
        (Price(media=(MediaRate("second", 1),)), Usage(0, 0, seconds=0.5), 1),  # rounded up, once
    ],
)
def test_which_rate_wins(price: Price, used: Usage, micro_usd: int | None) -> None:
    assert bill(price, used) == micro_usd


FILM = Price(media=(MediaRate("second", pico("0.05")),), sold_seconds=(4, 6, 8))


@pytest.mark.parametrize(
    ("asked", "made"),
    [(1.0, 4.0), (4, 4.0), (4.04, 4.0), (4.0 + SLACK + 0.01, 6.0), (5.0, 6.0), (8.0, 8.0), (9.5, 9.5), (0.0, 0.0)],
)
def test_a_film_is_billed_as_it_is_sold(asked: float, made: float) -> None:
    assert billed_seconds(FILM, asked) == made
    assert bill(FILM, Usage(0, 0, seconds=asked)) == round(made * 50_000)


def test_lengths_that_can_be_ordered() -> None:
    up = replace(FILM, round_up=True)
    assert [sold_as(FILM, one) for one in (4, 6, 8)] == [4, 6, 8]
    assert [sold_as(up, one) for one in (1, 5.5, 8)] == [4, 6, 8]
    assert sold_as(Price(), 5.5) == 5.5
    for price, length in ((FILM, 5), (FILM, 9), (up, 9)):
        with pytest.raises(InvalidRequest, match="ask for 4, 6 or 8 s"):
            sold_as(price, length)
