"""Months of UTC as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.months import FIRST, LAST, month_of, name_of, parse, start_of

MONTHS = st.integers(FIRST, LAST - 1)


@given(MONTHS)
def test_a_month_is_all_between_two_starts(month: int) -> None:
    assert month_of(start_of(month)) == month_of(start_of(month + 1) - 1) == month
    assert parse(name_of(month)) == month


@pytest.mark.parametrize(
    ("micros", "name"),
    [(0, "1970_01"), (-1, "1969_12"), (1_795_353_000_000_000, "2026_11"), (2**63, "9999_12"), (-(2**63), "0001_01")],
)
def test_moments(micros: int, name: str) -> None:
    assert name_of(month_of(micros)) == name


@pytest.mark.parametrize("text", ["other", "2026_13", "2026_1", "seen", "2026_011", ""])
def test_other_tables_are_no_months(text: str) -> None:
    assert parse(text) is None
