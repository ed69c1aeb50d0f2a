"""When the next place is likely to come free."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.edge.seats import LONGEST_SECONDS, MOST_QUOTAS, Seats
from gateway.model import Quota

QUOTA = Quota("q", "concurrent", 1, "total")


@pytest.mark.parametrize(
    ("lasted", "cap", "said"), [(7.0, 1, 7), (7.0, 4, 2), (0.1, 1, 1), (1e6, 1, LONGEST_SECONDS), (1e6, 10**6, 1)]
)
def test_it_follows_how_long_requests_last(lasted: float, cap: int, said: int) -> None:
    seats, quota = Seats(), replace(QUOTA, cap=cap)
    assert seats.seconds(quota) == 1, "nothing is known yet"
    for _ in range(5):
        seats.left(quota, lasted)
    assert seats.seconds(quota) == said
    assert seats.seconds(replace(quota, name="other")) == 1


def test_the_newest_count_most() -> None:
    seats = Seats()
    for lasted in (*[30.0] * 20, *[2.0] * 40):
        seats.left(QUOTA, lasted)
    assert 2 <= seats.seconds(QUOTA) <= 3


def test_it_remembers_so_many() -> None:
    seats = Seats()
    for number in range(3 * MOST_QUOTAS):
        seats.left(replace(QUOTA, name=str(number)), 1.0)
    assert len(seats._seen) <= MOST_QUOTAS
