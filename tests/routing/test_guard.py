from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import CLASSES, Match, Policy, Reading, Slo, Snapshot, UpstreamState
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.guard import base_us, guard, limit_on, scale_bounds
from gateway.routing.learn import PRIOR
from gateway.routing.limit import expected_limit_us
from gateway.routing.priors import work_us
from tests.worlds import policy, request, rule, upstream

CHAT, BATCH = Slo(1.0, 0.03), Slo(10.0, 0.2, 0.95)
WORKER = upstream("w", "gpu", seats=128)
GPU = (upstream("w1", "gpu", seats=128), upstream("w2", "gpu", seats=64), upstream("a1", "api"))


def two_rules(**chat: object) -> Policy:
    return policy(
        GPU,
        (
            rule("batch", match=Match(priority=("batch",)), slo=BATCH),
            rule("flagged", match=Match(residency="any")),
            rule("chat", **{"slo": CHAT, **chat}),
        ),
    )


def slo_of(made: Policy, lately: tuple[str, ...]) -> Slo | None:
    found = guard(made, "gpu", "m", lately, PRIOR)
    return None if found is None else found.slo


def test_the_strictest_slo_seen_lately_guards_the_pool() -> None:
    made = two_rules()
    assert slo_of(made, ()) == CHAT, "before anybody came: as if all did"
    assert slo_of(made, ("batch",)) == BATCH
    assert slo_of(made, ("batch", "chat")) == CHAT
    assert slo_of(made, ("flagged", "gone")) == CHAT, "rules without an SLO, or without a rule, say nothing"


@pytest.mark.parametrize(
    "change",
    [
        {"learned": False},
        {"match": Match(model=("other-*",))},
        {"backends": ("gpu2",)},
        {"slo": Slo()},
    ],
)
def test_only_rules_that_bring_an_slo_to_the_pool_count(change: dict[str, object]) -> None:
    assert slo_of(two_rules(**change), ("chat",)) == BATCH
    assert slo_of(policy(GPU, (rule(**{"slo": CHAT, **change}),)), ()) is None


def test_a_rule_that_falls_back_to_a_pool_guards_it_too() -> None:
    made = policy(GPU, (rule(slo=CHAT, backends=("gpu2",), fallback=("gpu",)),))
    assert slo_of(made, ()) == CHAT


def test_the_limit_is_scale_times_what_the_slo_allows() -> None:
    expected = expected_limit_us(WORKER.speed, WORKER.seats, CHAT, PRIOR)
    assert limit_on(WORKER, CHAT, PRIOR, 1.0, None) == round(expected)
    assert limit_on(WORKER, CHAT, PRIOR, 0.5, None) == round(0.5 * expected)
    assert limit_on(WORKER, BATCH, PRIOR, 1.0, None) > expected


def test_a_stated_limit_is_where_learning_starts() -> None:
    stated = replace(WORKER, limit=3_000_000, limit_stated=True)
    assert base_us(stated, CHAT, PRIOR) == 3_000_000
    assert limit_on(stated, CHAT, PRIOR, 1.2, None) == 3_600_000


@given(st.floats(1e-6, 1e6), st.none() | st.integers(1, 10**7), st.sampled_from([CHAT, BATCH]))
def test_a_limit_holds_one_mean_request_and_no_more_than_seats_and_memory(
    scale: float, kv_tokens: int | None, slo: Slo
) -> None:
    one = work_us(WORKER.speed, WORKER.seats, round(PRIOR.prompt), round(PRIOR.output))
    most = WORKER.seats if kv_tokens is None else min(WORKER.seats, kv_tokens / (PRIOR.prompt + PRIOR.output))
    assert one - 1 <= limit_on(WORKER, slo, PRIOR, scale, kv_tokens) <= max(1.0, most) * one + 1


def test_the_shared_scale_moves_as_far_as_any_worker_needs() -> None:
    workers = [upstream("w1", "gpu", seats=16), upstream("w2", "gpu", seats=256)]
    low, high = scale_bounds(workers, CHAT, PRIOR)
    for worker in workers:
        alone = scale_bounds([worker], CHAT, PRIOR)
        assert low <= alone[0] < alone[1] <= high


def test_decide_holds_learned_rules_to_the_learned_limit_and_fixed_ones_to_the_fixed() -> None:
    made = policy(
        GPU, (rule("chat", match=Match(priority=("interactive",)), slo=CHAT), rule("own", slo=CHAT, learned=False))
    )
    states = {name: UpstreamState(one) for name, one in made.upstreams.items()}
    board = Board(made, Snapshot(100.0, states, scales={("gpu", "m"): 0.5}))

    def limits(priority: str) -> dict[str, int]:
        decision = decide(request(priority=priority), board, Random(1))
        return {one.upstream.name: one.limit for one in decision.primary[0].candidates}

    assert limits("interactive") == {one.name: limit_on(one, CHAT, PRIOR, 0.5, None) for one in GPU[:2]}
    assert limits("batch") == {one.name: int(one.limit * CLASSES["batch"].share) for one in GPU[:2]}


def test_memory_that_a_worker_tells_bounds_its_limit() -> None:
    made = policy(GPU, (rule(slo=CHAT),))
    reading = Reading(at=99.0, healthy=True, kv_tokens=5_000)
    states = {name: UpstreamState(one, reading=reading) for name, one in made.upstreams.items()}
    board = Board(made, Snapshot(100.0, states))
    worker = GPU[0]
    assert (
        board.limit(states["w1"], "m")
        == limit_on(worker, CHAT, PRIOR, 1.0, 5_000)
        < limit_on(worker, CHAT, PRIOR, 1.0, None)
    )
    assert board.limit(states["a1"], "m") is None, "a bought API has no learned limit"
