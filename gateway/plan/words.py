"""Numbers as a plan writes them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

_CENTS_BELOW: Final = 100
_WORDS_FROM: Final = 10**9


def money(usd: Fraction) -> str:
    """Rounded up: to cents below $100, else to whole dollars; from a billion on four digits."""
    if usd >= _WORDS_FROM:
        return f"${about(usd)}"
    return f"${math.ceil(usd):,}" if usd >= _CENTS_BELOW else f"${cents(usd):.2f}"


def cents(usd: Fraction) -> float:
    """USD with two decimals, rounded up."""
    return math.ceil(usd * 100) / 100


def number(value: Fraction) -> str:
    """With thousands and as many decimals as it has, at most four."""
    return f"{float(value):,.4f}".rstrip("0").rstrip(".")


def rate(usd: Fraction) -> str:
    """USD per hour, with cents."""
    return f"${float(usd):,.2f}"


def percent(share: Fraction) -> str:
    """Whole, rounded up: what must be passed is not made smaller."""
    return f"{math.ceil(share * 100):,} %"


def count(value: Fraction | int) -> str:
    return f"{math.ceil(value):,}"


def about(value: Fraction) -> str:
    """Four digits and a word, such as `10.95 billion`; what is below a million in full."""
    for size, word in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if value >= size:
            return f"{float(value / size):,.4g} {word}"
    return count(value)


def title(words: str) -> str:
    """With a capital letter, the others as they are."""
    return words[:1].upper() + words[1:]


def pays(least: Fraction, most: Fraction) -> str:
    """From which utilisation on, at the least and at the most overhead; no GPU is more than wholly busy."""
    if least > 1:
        return "never pays"
    if most > 1:
        return f"pays above {percent(least)} to never"
    return f"pays above {span(percent(least), percent(most))}"


def span(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"
