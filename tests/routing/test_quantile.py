"""The learned time of nearly all answers, against the sorted list of them."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.quantile import LONGEST_SECONDS, MEMORY, SHORTEST_SECONDS, STEPS_PER_DOUBLING, Spread

STEP = 2 ** (1 / STEPS_PER_DOUBLING)
seconds = st.floats(SHORTEST_SECONDS, LONGEST_SECONDS)


def spread_of(times: list[float]) -> Spread:
    made = Spread()
    for each in times:
        made.add(each)
    return made


@given(st.lists(seconds, min_size=1, max_size=300), st.floats(0.01, 1.0))
def test_it_is_that_of_the_samples_rounded_up(times: list[float], share: float) -> None:
    told = spread_of(times).quantile(share)
    exact = sorted(times)[max(0, math.ceil(share * len(times) - 1e-9) - 1)]
    assert told is not None
    assert exact * (1 - 1e-9) <= told <= exact * STEP * (1 + 1e-9)


def test_nothing_is_told_of_nothing() -> None:
    assert Spread().quantile(0.95) is None


@given(st.sampled_from([0.0, -1.0, 1e-9, 1e9, math.inf]))
def test_what_is_out_of_range_counts_as_its_end(odd: float) -> None:
    told = spread_of([odd]).quantile(0.5)
    assert told is not None
    assert SHORTEST_SECONDS <= told <= LONGEST_SECONDS * STEP


def test_what_was_true_once_is_outvoted() -> None:
    made = spread_of([10.0] * MEMORY * 2)
    for _ in range(MEMORY * 5):
        made.add(0.1)
    told = made.quantile(0.95)
    assert told is not None
    assert told < 0.11
    assert made.seen <= MEMORY
