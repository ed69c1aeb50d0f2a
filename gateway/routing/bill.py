"""What an attempt costs, to the micro-dollar: integers all the way, rounded up once, at the end. Pure.

Routing compares prices as floats (`estimate.price_of`); what is set aside, booked and reported is this.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.model import PICO_PER_MICRO, Price, Tokens, Usage
from gateway.routing.media import dearest_pico, media_pico


def micro(pico: int) -> int:
    """Whole micro-dollars, rounded up: what is spent is never booked as less."""
    return -(-pico // PICO_PER_MICRO)


def bill(price: Price, usage: Usage) -> int | None:
    """Micro-dollars of what was used; None where the price has no rate for some of it. Never 0 for want of one."""
    made = media_pico(price, usage)
    if made is None:
        return None
    return micro(token_pico(price.tokens_for(usage.input_tokens), usage) + made + price.per_request)


def token_pico(rates: Tokens, usage: Usage) -> int:
    return sum(count * pico for _, count, pico in token_parts(rates, usage))


def token_parts(rates: Tokens, usage: Usage) -> tuple[tuple[str, int, int], ...]:
    """What is charged, how many, and pico-dollars for one. Cached, sound and picture tokens are among the prompt's and
    the answer's: each is paid once."""
    sound, picture = usage.input_audio_tokens, usage.input_image_tokens
    hours = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
    plain = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens - sound - picture)
    written = max(0, usage.output_tokens - usage.output_audio_tokens - usage.output_image_tokens)
    kept = _or(rates.cache_write, rates.input)
    return (
        ("input", plain, rates.input),
        ("cached input", usage.cached_tokens, _or(rates.cached_input, rates.input)),
        ("cache write", usage.cache_write_tokens - hours, kept),
        ("cache write (1 h)", hours, _or(rates.cache_write_1h, kept)),
        ("audio input", sound, _or(rates.input_audio, rates.input)),
        ("image input", picture, _or(rates.input_image, rates.input)),
        ("output", written, rates.output),
        ("audio output", usage.output_audio_tokens, _or(rates.output_audio, rates.output)),
        ("image output", usage.output_image_tokens, _or(rates.output_image, rates.output)),
    )


class Dearest(NamedTuple):
    """What bounds every bill at a price: pico-dollars for a token of prompt and one of output, whatever they are and
    wherever they are cached, from so many prompt tokens on; and for the request."""

    rates: tuple[tuple[int, int, int], ...]
    per_request: int

    @classmethod
    def of(cls, price: Price) -> Dearest:
        return cls(
            tuple((least, *_dearest(rates)) for least, rates in ((0, price.tokens), *price.tiers)), price.per_request
        )

    def tokens(self, input_tokens: int, output_tokens: int) -> int:
        """Pico-dollars of so many."""
        most = 0
        for least, dearest_in, dearest_out in self.rates:
            if input_tokens >= least:
                most = max(most, dearest_in * input_tokens + dearest_out * output_tokens)
        return most

    def most(self, input_tokens: int, output_tokens: int) -> int:
        """Micro-dollars of a request with so many."""
        return micro(self.tokens(input_tokens, output_tokens) + self.per_request)


def most(price: Price, input_tokens: int, output_tokens: int) -> int:
    """The most that so many tokens can cost, whatever they are and wherever they are cached."""
    return Dearest.of(price).most(input_tokens, output_tokens)


def most_of(price: Price, bounds: Usage) -> int | None:
    """The most that a request can cost which uses no more than `bounds` in any meter: what `bounds` says of quality,
    size and resolution is what it asks for, and None may be any. None: the price has no rate for it."""
    made = dearest_pico(price, bounds)
    if made is None:
        return None
    return micro(Dearest.of(price).tokens(bounds.input_tokens, bounds.output_tokens) + made + price.per_request)


def _dearest(rates: Tokens) -> tuple[int, int]:
    """Of prompt and output."""
    prompt = (
        rates.cached_input,
        rates.cache_write,
        rates.cache_write_1h,
        rates.input_audio,
        rates.cached_audio,
        rates.input_image,
        rates.cached_image,
    )
    return (
        max(rates.input, *(rate or 0 for rate in prompt)),
        max(rates.output, rates.output_audio or 0, rates.output_image or 0),
    )


def _or(rate: int | None, plain: int) -> int:
    return plain if rate is None else rate
