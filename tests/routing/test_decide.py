from __future__ import annotations

from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import (
    FleetSaturated,
    GatewayError,
    InvalidRequest,
    MaxCostExceeded,
    ModelNotAllowed,
    ModelNotFound,
    NoCapacity,
    ResidencyRefused,
)
from gateway.model import (
    CLASSES,
    Decision,
    Demand,
    Group,
    Match,
    Policy,
    PriorityClass,
    Slo,
    Spill,
    Tenant,
    Threshold,
)
from gateway.routing.board import FRESH_SECONDS, Board
from gateway.routing.decide import RETRY_AFTER_DOWN_SECONDS, decide
from gateway.routing.residency import allows, strictest
from tests.worlds import board, demands, fleets, policy, reading, request, rule, upstream

EU = Demand(zones=frozenset({"eu"}))
LOCAL = Demand(local=True)


def names(groups: tuple[Group, ...]) -> set[str]:
    return {candidate.upstream.name for group in groups for candidate in group.candidates}


def decided(made: Policy | None = None, states: dict[str, Any] | None = None, **asked: Any) -> Decision:
    return decide(request(**asked), board(made, **(states or {})), Random(1))


@pytest.mark.parametrize(
    ("fallback", "out", "back", "error"),
    [
        ((), "rate_limited", 130.0, NoCapacity),  # the API is not where a request goes whose workers are down
        (("api",), "rate_limited", 130.0, FleetSaturated),
        (("api",), "asked_to_wait", 130.0, FleetSaturated),
        (("api",), "down", 130.0, NoCapacity),
        (("api",), "rate_limited", inf, NoCapacity),
        (("api",), "rate_limited", None, NoCapacity),
    ],
)
def test_busy_is_said_only_of_accounts_where_it_could_go(
    fallback: tuple[str, ...], out: str, back: float | None, error: type[GatewayError]
) -> None:
    states = {"w1": {"out": "down"}, "w2": {"out": "down"}, "a1": {"out": out, "back": back}}
    with pytest.raises(error) as caught:
        decided(policy(rules=(rule(fallback=fallback),)), states)
    assert caught.value.retry_after == (30 if error is FleetSaturated else RETRY_AFTER_DOWN_SECONDS)


@given(fleets(), demands, demands, demands, st.data())
def test_no_candidate_and_no_permit_ever_goes_where_the_data_may_not(
    made: Policy, header: Demand, tenant: Demand, model: Demand, data: st.DataObject
) -> None:
    made = replace(made, models={"m": replace(made.models["m"], residency=model)})
    down = data.draw(st.frozensets(st.sampled_from(sorted(made.upstreams))))
    failed = data.draw(st.frozensets(st.sampled_from(sorted(made.upstreams))))
    unable = {
        (name, served.name): InvalidRequest("it does not know `seed`", param="seed")
        for name in data.draw(st.frozensets(st.sampled_from(sorted(made.upstreams))))
        for served in made.models["m"].served_by
    }
    states = {name: {"out": "down"} for name in down}
    asked = request(residency=header, tenant=Tenant("t", residency=tenant))
    demand = strictest(header, tenant, model, made.rules[0].residency)
    try:
        decision = decide(asked, board(made, **states), Random(1), excluded=failed, unable=unable)
    except GatewayError:
        return
    for name in names(decision.primary) | names(decision.overflow) | decision.permit.upstreams:
        assert allows(demand, made.upstreams[name], made.zones)
    assert names(decision.primary) | names(decision.overflow) <= decision.permit.upstreams
    gone = down | failed | {name for name, _ in unable}
    assert not (names(decision.primary) | names(decision.overflow)) & gone


@given(fleets(), demands)
def test_a_decision_or_an_error_of_ours_and_nothing_else(made: Policy, header: Demand) -> None:
    try:
        decision = decide(request(residency=header), board(made), Random(1))
    except GatewayError:
        return
    assert decision.primary or decision.overflow
    for group in (*decision.primary, *decision.overflow):
        for candidate in group.candidates:
            assert 0 < candidate.work <= candidate.limit <= candidate.upstream.limit
            assert candidate.upstream.backend == group.backend


def test_local_first_then_the_spill_backend() -> None:
    decision = decided()
    assert names(decision.primary) == {"w1", "w2"}
    assert names(decision.overflow) == {"a1"}
    assert [group.outcome for group in (*decision.primary, *decision.overflow)] == ["local", "spilled"]


def test_a_flagged_request_has_no_overflow() -> None:
    decision = decided(residency=LOCAL)
    assert names(decision.primary) == {"w1", "w2"}
    assert decision.overflow == ()
    assert decision.drops["residency"] == 1
    assert decision.permit.upstreams == {"w1", "w2"}
    assert decision.primary[0].reason == "residency"


def test_all_workers_down_without_fallback_is_no_capacity() -> None:
    with pytest.raises(NoCapacity) as caught:
        decided(states={"w1": {"out": "down"}, "w2": {"out": "down"}})
    assert caught.value.retry_after


def test_all_workers_down_with_fallback_goes_there() -> None:
    made = policy(rules=(rule(fallback=("api",)),))
    decision = decided(made, {"w1": {"out": "down"}, "w2": {"out": "down"}})
    assert decision.primary == ()
    assert [(group.outcome, group.reason) for group in decision.overflow] == [("fallback", "no_healthy_worker")]


def test_flagged_and_down_is_503_not_403_and_never_the_fallback() -> None:
    made = policy(rules=(rule(fallback=("api",)),))
    with pytest.raises(NoCapacity):
        decided(made, {"w1": {"out": "down"}, "w2": {"out": "down"}}, residency=LOCAL)


def test_a_policy_that_allows_nobody_is_403() -> None:
    with pytest.raises(ResidencyRefused):
        decided(residency=Demand(zones=frozenset({"us"})))


def test_upstreams_that_failed_this_request_are_left_out() -> None:
    decision = decide(request(), board(), Random(1), excluded=frozenset({"w1"}))
    assert names(decision.primary) == {"w2"}
    assert decision.drops["failed_before"] == 1


@pytest.mark.parametrize(
    ("match", "asked", "matches"),
    [
        (Match(), {}, True),
        (Match(model=("m*",)), {}, True),
        (Match(model=("x*",)), {}, False),
        (Match(endpoint=("chat/completions",)), {}, True),
        (Match(endpoint=("completions",)), {}, False),
        (Match(tenant=("t",)), {}, True),
        (Match(tenant=("other",)), {}, False),
        (Match(residency="any"), {"residency": EU}, True),
        (Match(residency="any"), {}, False),
        (Match(residency="none"), {}, True),
        (Match(residency="none"), {"residency": EU}, False),
        (Match(priority=("batch",)), {"priority": "batch"}, True),
        (Match(priority=("batch",)), {}, False),
        (Match(stream=True), {"stream": True}, True),
        (Match(stream=True), {}, False),
    ],
)
def test_what_a_rule_matches(match: Match, asked: dict[str, Any], matches: bool) -> None:
    made = policy(rules=(rule("first", match=match), rule("last")))
    assert decided(made, **asked).rule.name == ("first" if matches else "last")


@pytest.mark.parametrize(
    ("asked", "error", "param"),
    [
        ({"model": "nope"}, ModelNotFound, "model"),
        ({"tenant": Tenant("t", models=("x-*",))}, ModelNotAllowed, "model"),
        ({"fields": ("service_tier",), "residency": Demand()}, None, None),
    ],
)
def test_refusals(asked: dict[str, Any], error: type[GatewayError] | None, param: str | None) -> None:
    if error is None:
        assert names(decided(**asked).primary) == {"w1", "w2"}
        return
    with pytest.raises(error) as caught:
        decided(**asked)
    assert caught.value.param == param


def test_fields_that_cannot_be_priced_keep_a_request_from_the_api() -> None:
    assert decided(fields=("service_tier",)).overflow == ()
    assert names(decided(fields=("n",)).overflow) == {"a1"}
    allowed = policy(rules=(rule(on_fields={"service_tier": "pass"}),))
    assert names(decided(allowed, fields=("service_tier",)).overflow) == {"a1"}


def test_a_field_refused_everywhere_names_itself() -> None:
    made = policy(rules=(rule(on_fields={"store": "refuse"}),))
    with pytest.raises(InvalidRequest) as caught:
        decided(made, fields=("store",))
    assert caught.value.param == "store"


def test_max_cost_keeps_out_what_may_cost_more() -> None:
    only_api = policy(rules=(rule(backends=("api",), spill=None),))
    assert names(decided(only_api, max_cost=1.0).primary) == {"a1"}
    for asked in ({"max_cost": 1e-9}, {"max_cost": 1.0, "max_tokens": None}):
        with pytest.raises(MaxCostExceeded):
            decided(only_api, **asked)
    assert names(decided(max_cost=0.0).primary) == {"w1", "w2"}, "our own workers cost no money that leaves"


def test_the_lower_wait_holds() -> None:
    made = policy(rules=(rule(max_wait=5.0),))
    assert decided(made).max_wait == 5.0
    assert decided(made, max_wait=1.0).max_wait == 1.0
    assert decided(made, max_wait=60.0).max_wait == 5.0


def test_higher_classes_may_fill_more() -> None:
    limits = [decided(priority=p).primary[0].candidates[0].limit for p in ("interactive", "standard", "batch")]
    assert limits == [1_000_000, 900_000, 700_000]


@pytest.mark.parametrize(
    ("waiting", "gpu", "at", "word"),
    [
        (9, 0.1, 100.0, "queue_depth > 8"),
        (8, 0.1, 100.0, None),
        (0, 0.96, 100.0, "gpu_util >= 0.95"),
        (0, 0.95, 100.0, "gpu_util >= 0.95"),
        (99, 0.99, 80.0, None),  # stale readings say nothing
        (None, None, 100.0, None),  # unknown is not over
    ],
)
def test_spill_when_speaks_of_live_readings(
    waiting: int | None, gpu: float | None, at: float, word: str | None
) -> None:
    when = (Threshold("queue_depth", True, False, 8), Threshold("gpu_util", True, True, 0.95))
    made = policy(rules=(rule(spill=Spill(("api",), when=when)),))
    seen = {"reading": reading(at, waiting=waiting, gpu=gpu)}
    assert decided(made, {"w1": seen, "w2": seen}).spill_now == word


def test_a_thousand_workers_cost_eight_candidates() -> None:
    made = policy(tuple(upstream(f"w{i}", "gpu") for i in range(1000)), (rule(spill=None),))
    assert len(decided(made).primary[0].candidates) == 8


def test_drops_count_upstreams_and_not_the_sample() -> None:
    many = tuple(upstream(f"{backend}{i}", backend) for backend in ("gpu", "api") for i in range(20))
    asked = {"fields": ("store",), "max_cost": 0.0}
    assert decided(policy(many), **asked).drops == {"max_cost": 20}, "by the first reason that holds"
    decision = decide(request(fields=("store",)), board(policy(many), gpu0={"out": "down"}), Random(1))
    assert decision.drops == {"health": 1, "fields": 20}


def test_an_older_snapshot_never_hands_out_an_older_upstream() -> None:
    """A policy reload changed the worker's address; the snapshot still knows the old one."""
    old, new = (
        policy(),
        policy(tuple(upstream(n, "gpu", url="http://10.0.0.9:1") for n in ("w1", "w2")), (rule(spill=None),)),
    )
    decision = decide(request(), Board(new, board(old).snapshot), Random(1))
    assert all(c.upstream is new.upstreams[c.upstream.name] for c in decision.primary[0].candidates)


def test_what_only_the_spill_backend_may_or_can_serve_goes_there() -> None:
    managed_only = policy()
    managed_only = replace(
        managed_only, models={"m": replace(managed_only.models["m"], served_by=managed_only.models["m"].served_by[1:])}
    )
    decision = decided(managed_only)
    assert [(group.backend, group.reason) for group in decision.overflow] == [("api", "capability")]
    made = policy((upstream("w1", "gpu", zone="us"), upstream("a1", "api", private_in=frozenset({"de"}))))
    decision = decided(made, residency=Demand(zones=frozenset({"de"})))
    assert decision.primary == ()
    assert [(group.backend, group.reason) for group in decision.overflow] == [("api", "residency")]


WAITS = [
    # rule: max_wait, kept_wait; class: max_wait, spill; the caller's; expected: before it leaves, where it may not
    (0.0, 20.0, None, True, None, (0.0, 20.0)),
    (0.0, None, None, True, None, (0.0, 0.0)),
    (2.0, 20.0, None, False, None, (20.0, 20.0)),
    (0.0, 20.0, 5.0, True, None, (5.0, 5.0)),
    (0.0, 20.0, 0.0, False, None, (0.0, 0.0)),
    (0.0, 20.0, None, True, 1.0, (0.0, 1.0)),
    (9.0, 4.0, None, True, None, (9.0, 9.0)),
]


@pytest.mark.parametrize(("usual", "kept", "own", "spill", "wanted", "expected"), WAITS)
def test_how_long_a_class_waits(
    usual: float,
    kept: float | None,
    own: float | None,
    spill: bool,
    wanted: float | None,
    expected: tuple[float, float],
) -> None:
    classes = {**CLASSES, "batch": PriorityClass(0.5, own, spill)}
    made = policy(rules=(rule(max_wait=usual, kept_wait=kept, classes=classes),))
    decision = decided(made, priority="batch", max_wait=wanted)
    assert (decision.max_wait, decision.kept_wait) == expected


def test_a_class_that_may_not_spill_stays_whatever_happens() -> None:
    when = (Threshold("queue_depth", True, False, 0),)
    classes = {**CLASSES, "batch": PriorityClass(0.7, spill=False)}
    made = policy(rules=(rule(spill=Spill(("api",), when=when), fallback=("api",), classes=classes),))
    deep = {name: {"reading": reading(waiting=9)} for name in ("w1", "w2")}
    assert decided(made, deep).spill_now == "queue_depth > 0"
    kept = decided(made, deep, priority="batch")
    assert (kept.spill_now, kept.overflow) == (None, ())
    down = {name: {"out": "down"} for name in ("w1", "w2")}
    assert decided(made, down).overflow
    with pytest.raises(NoCapacity):
        decided(made, down, priority="batch")


def test_a_rules_own_shares_of_the_limit() -> None:
    classes = {**CLASSES, "interactive": PriorityClass(0.5), "batch": PriorityClass(0.01)}
    made = policy(rules=(rule(classes=classes),))
    limits = [decided(made, priority=name).primary[0].candidates[0].limit for name in CLASSES]
    assert limits == [500_000, 900_000, 10_000]


@pytest.mark.parametrize(("out", "code"), [("rate_limited", 429), ("asked_to_wait", 429), ("failing", 503)])
def test_an_api_without_rate_is_busy_and_not_down(out: str, code: int) -> None:
    made = policy(rules=(rule(backends=("api",), spill=None),))
    with pytest.raises(GatewayError) as caught:
        decided(made, {"a1": {"out": out, "back": 112.5}})
    assert (caught.value.status, caught.value.retry_after) == (code, 13 if code == 429 else 5)


def test_a_first_token_is_scored_by_the_slo_of_the_rule() -> None:
    """The same worker: half the score is at the rule's own time."""
    scores = []
    for ttft in (0.01, 10.0):
        made = policy(rules=(rule(scorers=(("ttft", 1.0),), slo=Slo(ttft=ttft)),))
        scores.append(decided(made).primary[0].candidates[0].score)
    assert scores[0] < 0.5 < scores[1]


@pytest.mark.parametrize(("age", "waits"), [(1.0, True), (FRESH_SECONDS + 1.0, False)])
def test_an_old_queue_says_nothing_to_a_forecast(age: float, waits: bool) -> None:
    deep = {"leased": 100_000, "inflight": 2, "reading": reading(100.0 - age, waiting=500)}
    made = policy(rules=(rule(filters=(Threshold("wait_ms", False, False, 1000.0),)),))
    decision = decided(made, {"w1": deep, "w2": deep})
    assert decision.drops.get("wait_ms", 0) == (2 if waits else 0)
