"""Each scorer, row by row; what rules make of them; and the order of backends that follows."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import NOTHING_ASKED, Decision, Rule, Slo, UpstreamState
from gateway.policy.route_schema import ScorersIn
from gateway.routing.board import Board
from gateway.routing.candidates import Candidates
from gateway.routing.decide import decide
from gateway.routing.estimate import estimate, expected_price, rent
from gateway.routing.forecast import MANAGED_FIRST_SECONDS, Pace
from gateway.routing.learn import PRIOR
from gateway.routing.scene import Scene, asked_of, first_token_there, wait_there
from gateway.routing.scorers import (
    HALF_FIRST_SECONDS,
    HALF_USD,
    LOAD,
    OBJECTIVES,
    SCORERS,
    UNKNOWN,
    displaces,
    parts,
    scoring,
    weights,
)
from tests.worlds import LIMIT, PRICE, board, policy, reading, request, rule, state, upstream

WORKER, API = upstream("w", "gpu"), upstream("a", "api")
LOCAL, MANAGED = policy().models["m"].served_by
HALF = 0.5


def scene(target: Any = WORKER, **changes: Any) -> Scene:
    served = LOCAL if target.kind == "local" else MANAGED
    return Scene(estimate(request(), served), "m", PRIOR)._replace(**changes)


def scored(name: str, target: UpstreamState, at: Scene) -> float:
    return SCORERS[name](at, target, *asked_of(at, target))


QUEUED = {"leased": 100_000, "inflight": 2, "reading": reading(waiting=10)}
"""Ten of 50 ms each before it: half a second."""
OWNERS = ("w", "x")
ROWS: dict[str, tuple[str, dict[str, Any], dict[str, Any], Any, float]] = {
    # scorer, changes of the state, of the scene, upstream, score
    "nobody waits": ("wait", {}, {}, WORKER, 1.0),
    "half a second in its own queue": ("wait", QUEUED, {}, WORKER, HALF),
    "a stale queue says nothing": ("wait", QUEUED, {"since": 100.5}, WORKER, 1.0),
    "half a second too much leased": ("wait", {"leased": LIMIT + 500_000 - 34_810}, {}, WORKER, HALF),
    "no seat before one of 64 has ended": ("wait", {"leased": 640_000, "inflight": 64}, {}, WORKER, 0.98),
    "an API's queue is part of its first token": ("wait", {"leased": 10**9}, {}, API, 1.0),
    "a first token just within the SLO": ("ttft", {}, {"ttft": 0.5, "pace": Pace(0.5 / 0.45)}, API, HALF),
    "without SLO": ("ttft", {}, {"pace": Pace(HALF_FIRST_SECONDS / MANAGED_FIRST_SECONDS)}, API, HALF),
    "room costs nothing": ("price", {"leased": LIMIT // 2}, {"bought": 1.0}, WORKER, 1.0),
    "a full worker displaces": ("price", {"leased": LIMIT}, {"bought": HALF_USD}, WORKER, HALF),
    "a worker nine tenths full displaces half": ("price", {"leased": 865_190}, {"bought": HALF_USD}, WORKER, 2 / 3),
    "nothing to displace": ("price", {"leased": LIMIT}, {}, WORKER, 1.0),
    "rent": ("list_price", {}, {}, WORKER, HALF_USD / (HALF_USD + rent(22375, 2.0) / 10**6)),
    "rent nobody told": ("list_price", {}, {}, upstream("w", "gpu", usd_per_hour=None), UNKNOWN),
    "the owner": ("prefix", {}, {"prefix": OWNERS}, WORKER, 1.0),
    "the next": ("session", {}, {"session": OWNERS}, upstream("x", "gpu"), HALF),
    "neither": ("session", {}, {"session": OWNERS, "prefix": ("y",)}, upstream("y", "gpu"), 0.0),
    "no prefix": ("prefix", {}, {}, WORKER, 0.0),
    "answered for it": ("warm", {"warm": frozenset({"m", "n"})}, {}, WORKER, 1.0),
    "answered for another": ("warm", {"warm": frozenset({"n"})}, {}, WORKER, 0.0),
    "an API is always warm": ("warm", {}, {}, API, 1.0),
    "near": ("zone", {}, {"near": {"fra": 0.25}}, WORKER, 0.25),
    "own zone not known": ("zone", {}, {}, WORKER, UNKNOWN),
    "headroom": ("headroom", {"headroom": 0.3}, {}, API, 0.3),
    "headroom not told": ("headroom", {}, {}, API, UNKNOWN),
    "a worker has no account": ("headroom", {}, {}, WORKER, 1.0),
    "errors": ("errors", {"errors": 0.25}, {}, WORKER, 0.75),
    "no attempts": ("errors", {}, {}, WORKER, 1.0),
}


@pytest.mark.parametrize("case", ROWS)
def test_scorers(case: str) -> None:
    name, changes, seen, target, expected = ROWS[case]
    assert scored(name, state(target, **changes), scene(target, **seen)) == pytest.approx(expected, rel=0.01)


def test_prices_compare_across_backends() -> None:
    usd = expected_price(PRICE, request())
    for name in ("price", "list_price"):
        assert scored(name, state(API), scene(API)) == pytest.approx(HALF_USD / (HALF_USD + usd))
        assert scored(name, state(API), scene(API, bought=usd)) == HALF, "the cheapest, whatever it costs"
        assert scored(name, state(API), scene(API, bought=usd / 3)) == pytest.approx(0.25)
    assert scored("price", state(WORKER, leased=LIMIT), scene(bought=usd)) == HALF


def test_nothing_is_dearer_than_what_nobody_knows() -> None:
    assert scored("price", state(API), scene(API, ask=NOTHING_ASKED)) == 0.0


@given(st.integers(0, 3 * LIMIT), st.integers(0, 3 * LIMIT))
def test_a_place_at_home_never_costs_more_than_what_it_displaces(leased: int, outside: int) -> None:
    busy = state(WORKER, leased=leased, outside=outside)
    busier = replace(busy, leased=leased + 1000)
    at = scene(bought=0.5)
    assert 0 <= displaces(at, busy, *asked_of(at, busy)) <= displaces(at, busier, *asked_of(at, busier)) <= 0.5


states = st.builds(
    state,
    st.sampled_from([WORKER, API]),
    leased=st.integers(0, 2 * LIMIT),
    inflight=st.integers(0, 100),
    outside=st.integers(0, LIMIT),
    limit=st.none() | st.integers(1, LIMIT),
    headroom=st.none() | st.floats(0, 1),
    errors=st.none() | st.floats(0, 1),
    warm=st.sampled_from([frozenset[str](), frozenset({"m"})]),
    reading=st.none() | st.builds(reading, waiting=st.none() | st.integers(0, 1000)),
)


@given(states, st.floats(0.01, 100), st.floats(0, 10), st.sampled_from([(), OWNERS]))
def test_every_scorer_stays_between_0_and_1(one: UpstreamState, slow: float, usd: float, owners: Any) -> None:
    at = scene(one.upstream, pace=Pace(slow, slow), bought=usd, session=owners, prefix=owners, near={"fra": 1.0})
    for name in SCORERS:
        assert 0 <= scored(name, one, at) <= 1, name


def test_the_wait_is_for_whichever_is_later() -> None:
    at = scene()
    for changes in (QUEUED, {"leased": 2 * LIMIT}):
        one = state(WORKER, **changes)
        both = replace(state(WORKER, **QUEUED), leased=one.leased)
        assert wait_there(at, both, 0, LIMIT) == max(
            wait_there(at, replace(both, reading=None), 0, LIMIT) or 0, 10 * both.leased / 2 / 1e6
        )
    queued, idle = state(WORKER, **QUEUED), state(WORKER, leased=100_000, inflight=2)
    more = first_token_there(at, queued, *asked_of(at, queued)) - first_token_there(at, idle, *asked_of(at, idle))
    assert more == pytest.approx(0.5), "the first token comes as much later"


def test_the_language_and_the_table_have_the_same_scorers() -> None:
    assert set(ScorersIn.model_fields) == {*SCORERS, LOAD}
    assert all(name in ScorersIn.model_fields for aim in OBJECTIVES.values() for name in aim)


@pytest.mark.parametrize(
    ("objective", "written", "expected"),
    [
        ({}, {}, {"load": 1.0}),
        ({}, {"price": 2.0}, {"load": 1.0, "price": 2.0}),
        ({}, {"price": 2.0, "load": 0.0}, {"price": 2.0}),
        ({"cost": 1.0}, {}, {"price": 1.0, "load": 0.5}),
        ({"cost": 0.5, "latency": 1.0}, {}, {"price": 0.5, "ttft": 1.0, "wait": 0.5, "load": 0.75}),
        ({"cost": 1.0}, {"price": 3.0, "load": 0.0}, {"price": 3.0}),
    ],
)
def test_weights(objective: dict[str, float], written: dict[str, float], expected: dict[str, float]) -> None:
    made = weights(objective, written)
    assert dict(made) == pytest.approx(expected)
    assert scoring(made).load == pytest.approx(expected.get("load", 0.0))
    assert scoring(made).total == pytest.approx(sum(expected.values()))


def decided(chosen: Rule, zone: str | None = None, **states: dict[str, Any]) -> Decision:
    rented = upstream("r1", "rented", usd_per_hour=100.0)
    plain = board(policy((*policy().upstreams.values(), rented), (chosen,)), **states)
    return decide(request(), Board(plain.policy, plain.snapshot, zone=zone), Random(1))


def test_the_static_score_is_the_weighted_sum_and_load_is_not_in_it() -> None:
    chosen = rule(scorers=(("load", 0.5), ("errors", 2.0), ("warm", 1.0)))
    group = decided(chosen, w1={"errors": 0.25, "leased": LIMIT // 2}, w2={"warm": frozenset({"m"})}).primary[0]
    assert {one.upstream.name: one.score for one in group.candidates} == {"w1": 1.5, "w2": 3.0}
    assert group.load_weight == 0.5
    assert {one.score for one in decided(rule()).primary[0].candidates} == {0.0}, "load alone: nothing is static"


def test_parts_are_what_the_score_is_made_of() -> None:
    chosen = rule(scorers=(("load", 0.5), ("errors", 2.0), ("ttft", 1.0), ("list_price", 0.1)))
    group = decided(chosen, w1={"errors": 0.25, "leased": LIMIT // 2}).primary[0]
    assert isinstance(group.candidates, Candidates)
    assert group.candidates.scene is not None
    for one, seen in zip(group.candidates, group.candidates.states, strict=True):
        shown = parts(chosen.scorers, group.candidates.scene, seen)
        assert set(shown) == {"load", "errors", "ttft", "list_price"}
        assert one.score == pytest.approx(sum(w * shown[name] for name, w in chosen.scorers if name != "load"))
        assert shown["load"] == pytest.approx(1 - (seen.leased + one.work) / one.limit)


@pytest.mark.parametrize(
    ("ours", "near"),
    [
        ("fra", {"fra": 1.0, "de": 2 / 3, "eu": 1 / 3, "ams": 1 / 3, "us": 0.0}),
        ("eu", {"fra": 1.0, "de": 1.0, "eu": 1.0, "ams": 1.0, "us": 0.0}),
        (None, {}),
    ],
)
def test_nearness_is_the_share_of_the_zones_around_us(ours: str | None, near: dict[str, float]) -> None:
    plain = board()
    assert Board(plain.policy, plain.snapshot, zone=ours).near() == pytest.approx(near)


BOTH = ("gpu", "api")
COST = rule(backends=BOTH, spill=None, ranked=True, scorers=weights({"cost": 1.0}, {}))
FULL = {"w1": {"leased": LIMIT}, "w2": {"leased": LIMIT}}
FAILING = {"w1": {"errors": 0.5}, "w2": {"errors": 0.1}}
DEAR = replace(COST, backends=("rented", "api"), scorers=(("list_price", 1.0),))
"""GPUs whose rent is more than what the API asks."""
FULL_AND_MORE = {name: {"leased": LIMIT, "inflight": 10, "reading": reading(waiting=10)} for name in ("w1", "w2")}
SLOW = {"w1": {"inflight": 60}, "w2": {"inflight": 60}}


@pytest.mark.parametrize(
    ("chosen", "seen", "first", "outcome", "reason"),
    [
        (COST, {}, "gpu", "local", "local_has_room"),
        (COST, FULL, "gpu", "local", "local_has_room"),  # whether it still is, the pick finds out
        (replace(COST, scorers=(("list_price", 1.0),)), FULL, "gpu", "local", "local_has_room"),
        (replace(COST, backends=("api", "gpu")), FULL, "api", "managed", "rule"),  # they cost the same
        (DEAR, {}, "api", "managed", "cheaper"),
        (replace(DEAR, backends=("api", "rented")), {}, "api", "managed", "cheaper"),
        (replace(COST, ranked=False), FULL, "gpu", "local", "local_has_room"),
        (replace(COST, backends=("api", "gpu")), {}, "gpu", "local", "local_has_room"),
        (replace(COST, backends=("api", "gpu"), ranked=False), {}, "api", "managed", "rule"),
        (replace(COST, scorers=(("list_price", 1.0),)), {}, "gpu", "local", "local_has_room"),
        (replace(COST, scorers=(("load", 1.0),)), FULL, "gpu", "local", "local_has_room"),
        (replace(COST, scorers=weights({"latency": 1.0}, {})), FULL_AND_MORE, "api", "managed", "rule"),
        (replace(COST, scorers=(("load", 0.0), ("headroom", 1.0))), {}, "gpu", "local", "local_has_room"),
        (replace(COST, scorers=weights({"latency": 1.0}, {})), {}, "gpu", "local", "local_has_room"),
        (replace(COST, slo=Slo(ttft=0.05), scorers=(("ttft", 1.0),)), SLOW, "gpu", "local", "local_has_room"),
        (replace(COST, scorers=(("errors", 1.0),)), FAILING, "api", "managed", "rule"),
    ],
)
def test_an_objective_orders_the_backends(
    chosen: Rule, seen: dict[str, Any], first: str, outcome: str, reason: str
) -> None:
    group = decided(chosen, **seen).primary[0]
    assert (group.backend, group.outcome, group.reason) == (first, outcome, reason)


def test_equal_backends_stay_as_listed() -> None:
    made = policy(tuple(upstream(f"{backend}-{n}", backend) for backend in ("gpu", "gpu2", "gpu3") for n in range(2)))
    for listed in (("gpu", "gpu2", "gpu3"), ("gpu3", "gpu", "gpu2")):
        seen = board(replace(made, rules=(replace(COST, backends=listed),)))
        assert tuple(group.backend for group in decide(request(), seen, Random(2)).primary) == listed
