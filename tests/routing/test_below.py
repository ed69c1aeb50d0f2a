"""`below`: a class that begins at home only while the workers there are, on average, less full."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import CLASSES, Decision, PriorityClass, UpstreamState
from gateway.routing.below import fullness, held_back, seconds_until
from gateway.routing.decide import decide
from tests.worlds import LIMIT, board, policy, request, rule, upstream

BATCH = PriorityClass(0.9, below=0.5)


def decided(w1: int, w2: int, *, priority: Any = "batch", **changes: Any) -> Decision:
    made = policy(rules=(rule(classes={**CLASSES, "batch": BATCH}, **changes),))
    seen = board(made, w1={"leased": w1}, w2={"leased": w2})
    return decide(request(priority=priority), seen, Random(1))


@pytest.mark.parametrize(
    ("w1", "w2", "begins"),
    [
        (0, 0, True),
        (LIMIT // 2 - 2, LIMIT // 2, True),
        (LIMIT // 2, LIMIT // 2, False),
        (LIMIT, 0, False),
        (LIMIT, -2, True),
    ],
)
def test_it_is_the_mean_of_the_workers_that_counts(w1: int, w2: int, begins: bool) -> None:
    decision = decided(w1, w2)
    assert bool(decision.primary and decision.primary[0].candidates) is begins
    assert decision.drops == ({} if begins else {"below": 2})


def test_who_is_held_back_may_leave_or_wait_at_home_as_if_that_were_full() -> None:
    decision = decided(LIMIT, LIMIT // 2)
    assert [group.backend for group in decision.overflow] == ["api"]
    assert decision.overflow[0].reason == "spill_when"
    stays = decided(LIMIT, LIMIT // 2, spill=None)
    assert [(group.backend, len(group.candidates)) for group in stays.primary] == [("gpu", 0)]


def test_other_classes_are_not_held_back() -> None:
    assert decided(LIMIT, LIMIT // 2, priority="standard").primary[0].candidates


def test_what_a_replica_took_since_the_snapshot_counts_too() -> None:
    decision = decided(LIMIT // 4, LIMIT // 4)
    states = board(w1={"leased": LIMIT // 4}, w2={"leased": LIMIT // 4}).snapshot.states
    (group,) = decision.primary
    assert fullness(group, states, lambda *_: 0) == pytest.approx(0.25)
    assert fullness(group, states, lambda name, _: LIMIT // 2 if name == "w1" else 0) == pytest.approx(0.5)
    assert fullness(group, {}, lambda *_: 0) == 0.0


def test_a_bought_api_has_no_such_bound() -> None:
    made = policy((upstream("a1", "api"),), (rule(backends=("api",), spill=None, classes={**CLASSES, "batch": BATCH}),))
    seen = board(made, a1={"leased": 1000, "inflight": 999})
    assert decide(request(priority="batch"), seen, Random(1)).primary[0].candidates
    (pool,) = seen.pools(made.models["m"], "api", request().residency, "chat/completions", made.rules[0])
    assert held_back(pool, 0.1) is pool


@pytest.mark.parametrize(
    ("loads", "below", "seconds"),
    [
        ((), 0.5, 0.0),
        ((0.2, 0.4), 0.5, 0.0),
        ((0.65, 0.65), 0.6, 0.05),
        ((1.0, 0.5), 0.5, 0.25),
        ((1.0, 0.1), 0.2, 0.6),
        ((2.0, 0.0), 0.5, 1.0),
    ],
)
def test_how_long_the_mean_load_takes_to_fall(loads: tuple[float, ...], below: float, seconds: float) -> None:
    """Limits of a GPU-second. One that is idle before the others does nothing for them."""
    states = [UpstreamState(upstream(f"w{i}", "gpu"), leased=round(load * LIMIT)) for i, load in enumerate(loads)]
    assert seconds_until(states, below) == pytest.approx(seconds)


@given(st.lists(st.integers(0, 5 * LIMIT), min_size=1, max_size=6), st.integers(0, LIMIT), st.floats(0.05, 0.99))
def test_then_it_has_fallen_and_not_before(leased: list[int], outside: int, below: float) -> None:
    def mean(seconds: float) -> float:
        left = [max(0.0, state.leased + state.outside - seconds * 1e6) / LIMIT for state in states]
        return sum(left) / len(left)

    states = [UpstreamState(upstream(f"w{i}", "gpu"), leased=n, outside=outside) for i, n in enumerate(leased)]
    seconds = seconds_until(states, below)
    assert mean(seconds) <= below + 1e-6
    assert seconds == 0 or mean(seconds) == pytest.approx(below, abs=1e-6)
