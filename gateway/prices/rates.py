"""Rates as they are written, such as USD for an image or a million tokens, and as they are billed: pico-dollars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from gateway.model import PICO_PER_USD, STATED, MediaRate, MediaUnit, Origin, Price, Tokens, per_million, pico

MEDIA: Final[Mapping[str, tuple[MediaUnit, int]]] = {
    "image": ("image", 1),
    "input_image": ("input_image", 1),
    "second": ("second", 1),
    "generation": ("generation", 1),
    "thousand_characters": ("character", 1000),
    "audio_hour": ("audio_second", 3600),
}
"""What a rate is for -> its unit, and how many of them that is."""
TOKENS: Final[Mapping[str, str]] = {
    "million_input_tokens": "input",
    "million_output_tokens": "output",
    "million_cached_input_tokens": "cached_input",
    "million_cache_write_tokens": "cache_write",
    "million_cache_write_1h_tokens": "cache_write_1h",
    "million_input_audio_tokens": "input_audio",
    "million_output_audio_tokens": "output_audio",
    "million_input_image_tokens": "input_image",
    "million_output_image_tokens": "output_image",
}
"""What a rate is for -> its field of Tokens."""
REQUEST: Final = "request"


@dataclass(frozen=True, slots=True)
class Rate:
    """`usd` for one `per`, a word of MEDIA or TOKENS or REQUEST; of such a kind (model.MediaRate)."""

    per: str
    usd: Decimal
    quality: str | None = None
    size: str | None = None
    resolution: str | None = None
    seconds: int | None = None
    default: bool = False

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Rate:
        """Decimals as they are written: the float of a YAML number prints as the number that stands there."""
        return cls(**{**written, "usd": Decimal(str(written["usd"]))})


def price_of(
    rates: Sequence[Rate], sold_seconds: Iterable[int] = (), origin: Origin = STATED, *, round_up: bool = False
) -> Price:
    """Raises KeyError for a `per` that is no unit."""
    tokens = {TOKENS[rate.per]: per_million(rate.usd) for rate in rates if rate.per in TOKENS}
    return Price(
        tokens=Tokens(**tokens),
        per_request=sum(pico(rate.usd) for rate in rates if rate.per == REQUEST),
        media=tuple(media_rate(rate) for rate in rates if rate.per not in TOKENS and rate.per != REQUEST),
        sold_seconds=tuple(sorted(sold_seconds)),
        round_up=round_up,
        origin=origin,
    )


def media_rate(rate: Rate) -> MediaRate:
    """Rounded up to the pico-dollar: what is sold by the hour may not come out even by the second."""
    unit, count = MEDIA[rate.per]
    each = int((rate.usd * PICO_PER_USD / count).to_integral_value(ROUND_CEILING))
    return MediaRate(unit, each, rate.quality, rate.size, rate.resolution, rate.seconds, rate.default)
