"""Since when a worker takes traffic: what makes it cold, and what does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.warmups import FIRST_SHARE, Warmups, ramp
from gateway.model import ASKED_TO_WAIT
from tests.worlds import reading, state, upstream

SLOW = 10.0
WORKER = upstream("w", "gpu", slow_start=SLOW)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.01, 100))
def test_it_rises_in_a_straight_line_to_the_whole(one: float, other: float, slow_start: float) -> None:
    early, late = sorted((one, other))
    assert FIRST_SHARE <= ramp(early, slow_start) <= ramp(late, slow_start) <= 1
    assert ramp(0, slow_start) == FIRST_SHARE
    assert ramp(slow_start / 2, slow_start) == pytest.approx((1 + FIRST_SHARE) / 2)
    assert ramp(slow_start, slow_start) == ramp(0, 0) == 1


def look(warmups: Warmups, now: float, **changes: Any) -> float:
    return warmups.ramp(state(WORKER, **changes), now)


def started(warmups: Warmups) -> Warmups:
    """A gateway that has been running for a while, and has never met the worker."""
    warmups.begun()
    return warmups


def test_a_gateway_that_starts_finds_its_fleet_as_warm_as_it_is() -> None:
    warmups = Warmups()
    assert look(warmups, 1000.0) == 1, "nobody has read its page yet"
    assert look(warmups, 1000.2, reading=reading(1000.1, started=10.0)) == 1
    young = Warmups()
    look(young, 1000.0)
    assert look(young, 1000.0, reading=reading(1000.0, started=995.0)) == pytest.approx(ramp(5, SLOW))
    assert look(Warmups(), 1000.0, reading=reading(1000.0, started=None)) == 1, "an engine that does not tell"


def test_a_worker_that_comes_starts_slowly_unless_its_process_is_old() -> None:
    warmups = started(Warmups())
    assert look(warmups, 1000.0) == FIRST_SHARE
    assert look(warmups, 1005.0, reading=reading(1005.0, started=1000.0)) == pytest.approx(ramp(5, SLOW))
    assert look(warmups, 1010.0, reading=reading(1010.0, started=1000.0)) == 1
    moved = started(Warmups())
    look(moved, 1000.0)
    assert look(moved, 1000.5, reading=reading(1000.5, started=10.0)) == 1, "it moved here from another backend"


def test_a_start_in_the_future_is_now() -> None:
    warmups = started(Warmups())
    assert look(warmups, 1000.0, reading=reading(1000.0, started=99_999.0)) == FIRST_SHARE
    assert look(warmups, 1010.0, reading=reading(1010.0, started=99_999.0)) == 1


@pytest.mark.parametrize("why", ["failing", "unreachable", "not_ready", "draining"])
def test_a_worker_that_comes_back_starts_slowly_however_old_its_process_is(why: str) -> None:
    warmups = Warmups()
    look(warmups, 1000.0, out=why)
    assert look(warmups, 1100.0, reading=reading(1100.0, started=900.0)) == FIRST_SHARE, "it loaded its model till now"
    assert look(warmups, 1200.0, reading=reading(1200.0, started=900.0)) == 1
    look(warmups, 1300.0, out=why)
    assert look(warmups, 1301.0, reading=reading(1301.0, started=900.0)) == FIRST_SHARE


def test_a_new_life_is_a_new_start_and_a_busy_spell_is_none() -> None:
    warmups = Warmups()
    look(warmups, 1000.0)
    look(warmups, 1001.0, out=ASKED_TO_WAIT)
    assert look(warmups, 1002.0) == 1
    assert look(warmups, 1003.0, life=1, reading=reading(1003.0, started=1002.5)) == FIRST_SHARE
    assert look(warmups, 1008.0, life=1) == pytest.approx(ramp(5, SLOW))


def test_who_has_no_slow_start_has_none() -> None:
    warmups = started(Warmups())
    assert warmups.ramp(state(upstream("w", "gpu")), 0.0) == 1
    assert warmups.ramp(state(upstream("a", "api", slow_start=SLOW)), 0.0) == 1


def test_who_leaves_the_policy_is_met_anew() -> None:
    warmups = started(Warmups())
    look(warmups, 1000.0)
    warmups.keep(frozenset({"w"}))
    assert look(warmups, 1100.0) == 1
    warmups.keep(frozenset())
    assert look(warmups, 1200.0) == FIRST_SHARE
