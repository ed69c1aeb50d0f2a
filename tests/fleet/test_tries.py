"""How attempts went lately: shares that fade, and models that are warm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.tries import FEWEST, MEMORY_SECONDS, MOST_REMEMBERED, WARM_SECONDS, Tries


def tried(good: int, bad: int, at: float = 100.0) -> Tries:
    tries = Tries()
    for _ in range(good):
        tries.answered("w", "m", at)
    for _ in range(bad):
        tries.failed("w", at)
    return tries


@pytest.mark.parametrize(
    ("good", "bad", "share"), [(0, 0, None), (0, 2, None), (0, 3, 1.0), (3, 0, 0.0), (3, 1, 0.25), (5, 5, 0.5)]
)
def test_the_share_that_failed(good: int, bad: int, share: float | None) -> None:
    assert tried(good, bad).errors("w", 100.0) == (None if share is None else pytest.approx(share))


def test_what_is_long_ago_counts_less() -> None:
    tries = tried(0, 10)
    for _ in range(10):
        tries.answered("w", "m", 100.0 + MEMORY_SECONDS)
    assert tries.errors("w", 100.0 + MEMORY_SECONDS) == pytest.approx(1 / (1 + 2.718), abs=0.01)


def test_an_upstream_that_nobody_tries_is_forgiven_however_busy_it_was() -> None:
    tries = tried(5_000, 5_000)
    assert tries.errors("w", 110.0) is not None
    assert tries.errors("w", 100.0 + 4 * MEMORY_SECONDS) is None, f"{MOST_REMEMBERED} fade to {FEWEST} by then"


@given(st.lists(st.tuples(st.booleans(), st.floats(-5, 60)), max_size=50))
def test_a_share_is_a_share_whatever_the_clock_does(events: list[tuple[bool, float]]) -> None:
    tries, now = Tries(), 1000.0
    for good, later in events:
        now += later
        if good:
            tries.answered("w", "m", now)
        else:
            tries.failed("w", now)
        share = tries.errors("w", now)
        assert share is None or 0 <= share <= 1


def test_a_model_stays_warm_for_a_while() -> None:
    tries = tried(1, 0)
    tries.answered("w", "other", 100.0 + WARM_SECONDS)
    assert tries.warm("w", 100.0 + WARM_SECONDS) == {"m", "other"}
    assert tries.warm("w", 101.0 + WARM_SECONDS) == {"other"}
    assert tries.warm("never", 100.0) == frozenset()


def test_a_failure_warms_nothing() -> None:
    assert tried(0, 5).warm("w", 100.0) == frozenset()


def test_upstreams_that_the_policy_dropped_are_forgotten() -> None:
    tries = tried(5, 5)
    tries.keep(frozenset({"x"}))
    assert tries.errors("w", 100.0) is None
