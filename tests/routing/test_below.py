"""`below`: a class that begins at home only while the workers there are, on average, less full."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway.model import CLASSES, Decision, PriorityClass
from gateway.routing.below import fullness, held_back
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
