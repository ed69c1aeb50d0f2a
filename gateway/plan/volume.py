"""Volumes of unlike media as one number: tokens-equivalents, and the guide's bands of it."""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

from gateway.plan.answers import Answers, Medium
from gateway.plan.prices import (
    AUDIO_TOKENS_PER_SECOND,
    IMAGE_BY_QUALITY,
    IMAGE_TOKENS_PER_1M,
    MILLION,
    VEO_PER_SECOND,
    VIDEO_TOKENS_PER_1M,
)

Band = Literal["low", "medium", "high"]
LOW_BELOW: Final = 50_000_000
HIGH_ABOVE: Final = 500_000_000
"""Tokens-equivalents a month; vendor guide, 2026-05-28."""


def tokens_each(answers: Answers, medium: Medium) -> Fraction:
    """Tokens that one unit counts for: by price, what it is sold for over what a token of that medium is sold for."""
    if medium == "text":
        return Fraction(1)
    if medium == "image":
        by_price = IMAGE_BY_QUALITY[answers.image_quality] * MILLION / IMAGE_TOKENS_PER_1M
        return answers.tokens_per_image or Fraction(round(by_price))
    if medium == "video":
        return answers.tokens_per_video_second or Fraction(round(VEO_PER_SECOND * MILLION / VIDEO_TOKENS_PER_1M))
    return answers.tokens_per_audio_second or Fraction(AUDIO_TOKENS_PER_SECOND)


def tokens_equivalent(answers: Answers) -> int:
    """All volumes of a month in tokens."""
    return round(sum(answers.volume(medium) * tokens_each(answers, medium) for medium in answers.media))


def band(tokens: int) -> Band:
    if tokens < LOW_BELOW:
        return "low"
    return "high" if tokens > HIGH_ABOVE else "medium"
