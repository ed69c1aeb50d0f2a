"""A mean that no single worker moves at will."""

from __future__ import annotations

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Snapshot
from gateway.routing.board import MOST_QUEUED, Board
from gateway.routing.robust import fair_mean
from tests.worlds import policy, reading, state, upstream

FINITE = st.floats(-1e9, 1e9)


@given(st.lists(FINITE, min_size=2, max_size=30), st.floats(-1e18, 1e18), st.integers(0, 29))
def test_one_liar_cannot_lead_it_out_of_what_the_honest_say(honest: list[float], lie: float, place: int) -> None:
    said = [*honest[:place], lie, *honest[place:]]
    mean = fair_mean(said)
    within = min(max(honest), max(min(honest), mean))
    assert mean in (pytest.approx(within), pytest.approx(fmean(honest))), "but for rounding"


@given(st.lists(FINITE, min_size=1, max_size=2))
def test_of_one_or_two_it_is_the_mean(values: list[float]) -> None:
    assert fair_mean(values) == fmean(values)


def test_honest_workers_under_even_load_have_their_mean() -> None:
    assert fair_mean([3, 4, 5, 6]) == 4.5
    assert fair_mean([float(n) for n in range(40)]) == pytest.approx(19.5)


@pytest.mark.parametrize(("lie", "depth"), [(10**9, 2.0), (-5, 2.0), (0, 2.0)])
def test_a_workers_queue_of_a_billion_says_no_more_than_its_neighbours(lie: int, depth: float) -> None:
    made = policy(tuple(upstream(f"w{n}", "gpu") for n in range(4)))
    said = [2, 2, 2, lie]
    states = {
        one.name: state(one, reading=reading(waiting=waiting))
        for one, waiting in zip(made.upstreams.values(), said, strict=True)
    }
    assert Board(made, Snapshot(100.0, states)).signals(("gpu",))["queue_depth"] == depth


def test_of_two_workers_a_lie_counts_as_a_long_queue() -> None:
    made = policy(tuple(upstream(f"w{n}", "gpu", seats=10) for n in range(2)))
    states = {
        one.name: state(one, reading=reading(waiting=waiting))
        for one, waiting in zip(made.upstreams.values(), (0, 10**9), strict=True)
    }
    assert Board(made, Snapshot(100.0, states)).signals(("gpu",))["queue_depth"] == MOST_QUEUED * 10 / 2
