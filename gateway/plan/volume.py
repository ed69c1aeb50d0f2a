"""Volumes of unlike media as one number: tokens-equivalents, and the guide's bands of it."""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

from gateway.plan.answers import Answers, Medium
from gateway.plan.prices import image_usd, video_second_usd

Band = Literal["low", "medium", "high"]
IMAGE_TOKEN_USD: Final = Fraction(30, 1_000_000)
"""gpt-image-2, output image tokens; genai-prices and litellm, 2026-11-21."""
VIDEO_TOKEN_USD: Final = Fraction("17.5") / 1_000_000
"""gemini-omni-1.1-flash, output video tokens; genai-prices, 2026-11-21."""
AUDIO_TOKENS_PER_SECOND: Final = Fraction(20)
"""One token for 50 ms of speech that is made, as OpenAI counts them."""
LOW_BELOW: Final = 50_000_000
HIGH_ABOVE: Final = 500_000_000
"""Tokens-equivalents a month; vendor guide, 2026-05-28."""


def tokens_each(answers: Answers, medium: Medium) -> Fraction:
    """Tokens that one unit counts for: by price, what it is sold for over what a token of that medium is sold for."""
    if medium == "text":
        return Fraction(1)
    if medium == "image":
        return answers.tokens_per_image or Fraction(round(image_usd(answers) / IMAGE_TOKEN_USD))
    if medium == "video":
        return answers.tokens_per_video_second or Fraction(round(video_second_usd(answers.today) / VIDEO_TOKEN_USD))
    return answers.tokens_per_audio_second or AUDIO_TOKENS_PER_SECOND


def tokens_equivalent(answers: Answers) -> int:
    """All volumes of a month in tokens."""
    return round(sum(answers.volume(medium) * tokens_each(answers, medium) for medium in answers.media))


def band(tokens: int) -> Band:
    if tokens < LOW_BELOW:
        return "low"
    return "high" if tokens > HIGH_ABOVE else "medium"
