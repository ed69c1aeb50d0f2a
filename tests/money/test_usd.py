"""Micro-dollars as text."""

from __future__ import annotations

from fractions import Fraction

import pytest

from gateway.model import usd


@pytest.mark.parametrize(
    ("micro", "decimals", "text"),
    [
        (0, 6, "$0.000000"),
        (-1_234_500_001, 6, "-$1,234.500001"),
        (9_007_199_254_740_993_000_000, 6, "$9,007,199,254,740,993.000000"),  # no float has this one
        (1_999_999, 2, "$2.00"),
        (Fraction(10_000, 3), 2, "$0.00"),
        (Fraction(20_000, 3), 2, "$0.01"),
    ],
)
def test_no_digit_is_lost(micro: int | Fraction, decimals: int, text: str) -> None:
    assert usd(micro, decimals) == text
