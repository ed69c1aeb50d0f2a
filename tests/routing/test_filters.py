"""Filters, row by row: those of every rule, and the thresholds that a rule writes itself."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from gateway.errors import FleetSaturated, GatewayError, MaxCostExceeded, NoCapacity
from gateway.model import Decision, Gpus, Learned, Need, Rule, Served, Snapshot, Threshold
from gateway.policy.route_schema import FiltersIn
from gateway.policy.words import threshold
from gateway.routing.board import FRESH_SECONDS, HOLD_SECONDS, Board
from gateway.routing.decide import decide
from gateway.routing.estimate import estimate
from gateway.routing.filters import CALL, STANDING, Standing, call_drop, standing_drop
from gateway.routing.learn import PRIOR
from gateway.routing.order import order, spill_reason
from gateway.routing.pickers import MAX_SAMPLED
from gateway.routing.scene import Scene
from gateway.routing.thresholds import FORECAST, REASONS, forecast_break, satisfied, standing_break
from gateway.routing.thresholds import STANDING as SIGNALS
from tests.worlds import LIMIT, ZONES, board, policy, reading, request, rule, state, upstream

WORKER, API = upstream("w", "gpu"), upstream("a", "api")
SERVED = policy().models["m"].served_by
PAIR = replace(WORKER, hardware=Gpus(count=2))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"out": "down"}, "health"),
        ({"out": "drained"}, "drained"),
        ({"out": "leaving"}, "drained"),
        ({"upstream": replace(PAIR, models=("other", "m*"))}, None),
        ({"upstream": replace(PAIR, models=("other",))}, "dedicated"),
        ({"upstream": replace(WORKER, hardware=Gpus("H200", 2, 141.0))}, None),
        ({"upstream": replace(WORKER, hardware=Gpus("H200", 1, 141.0))}, "gpu_memory"),
        ({"upstream": replace(WORKER, hardware=Gpus("H100", 8, 80.0))}, "gpu_memory"),
        ({"upstream": replace(WORKER, hardware=Gpus("H100", 8, 80.0)), "out": "down"}, "gpu_memory"),
        ({"reading": reading()}, None),
        ({"reading": reading(models=("real", "adapter"))}, None),
        ({"reading": reading(models=("m", "adapter"))}, "model_loaded"),
        ({"reading": reading(models=())}, "model_loaded"),
        ({"reading": reading(models=("real",)), "unloaded": frozenset({"real"})}, "model_loaded"),
        ({"unloaded": frozenset({"other"})}, None),
        ({"reading": reading(models=("other",)), "out": "down"}, "health"),
        ({"reading": reading(99.0, models=("other",))}, None),
        ({"reading": reading(asleep=True)}, "asleep"),
        ({"reading": reading(99.0, asleep=True)}, None),
    ],
)
def test_standing_filters(changes: dict[str, Any], reason: str | None) -> None:
    """What a reading said too long ago is unknown, and so are GPUs that nobody described: both pass."""
    standing = Standing(request().residency, ZONES, request().endpoint, "m", "real", Need(280.0, 2), since=100.0)
    fits = {"upstream": PAIR, **changes}
    assert standing_drop(standing, state(WORKER, **fits)) == reason


@pytest.mark.parametrize(
    ("states", "says"),
    [
        ({"reading": reading(models=())}, "no worker that is up has `m` loaded"),
        ({"reading": reading(asleep=True)}, "every worker that is up and has `m` is asleep"),
        ({"out": "not_ready"}, "every upstream that may serve it is down"),
    ],
)
def test_who_cannot_serve_it_now_is_a_failure_that_says_so(states: dict[str, Any], says: str) -> None:
    error = refused(rule(spill=None), {"w1": states, "w2": states})
    assert isinstance(error, NoCapacity)
    assert says in error.message
    assert error.retry_after
    decision = decided(rule(fallback=("api",)), {"w1": states, "w2": states})
    assert [group.outcome for group in decision.overflow] == ["fallback"]


def test_who_does_not_speak_an_endpoint_is_dropped_up_or_down() -> None:
    standing = Standing(request().residency, ZONES, "messages/count_tokens")
    assert standing_drop(standing, state(API)) == standing_drop(standing, state(API, out="down")) == "capability"
    assert standing_drop(standing, state(WORKER)) is None


def test_residency_is_the_first_filter() -> None:
    assert next(name for name, _ in STANDING) == "residency"
    assert {name for name, _ in CALL} == {"capability", "max_cost", "fields"}


@pytest.mark.parametrize(
    ("asked", "told", "target", "reason"),
    [
        ({}, {}, API, None),
        ({"max_cost": 0.0}, {}, API, "max_cost"),
        ({"max_cost": 0.0}, {}, WORKER, None),
        ({"fields": ("store",)}, {}, API, "fields"),
        ({"fields": ("store",)}, {}, WORKER, None),
        ({"fields": ("store",)}, {"on_fields": {"store": "refuse"}}, WORKER, "fields"),
        ({"fields": ("store",)}, {"on_fields": {"store": "remove"}}, API, None),
    ],
)
def test_call_filters(asked: dict[str, Any], told: dict[str, Any], target: Any, reason: str | None) -> None:
    served = next(s for s in SERVED if s.backend == target.backend)
    assert call_drop(rule(**told), request(**asked), target.kind, served) == reason


def test_a_price_that_nobody_knows_is_beyond_any_bound() -> None:
    unknown = Served("api", "x")
    assert call_drop(rule(max_cost=1e6), request(), "managed", unknown) == "max_cost"
    assert call_drop(rule(), request(), "managed", unknown) is None


@pytest.mark.parametrize(
    ("rules", "callers", "passes", "named"),
    [
        (None, None, True, ""),
        (1.0, None, True, ""),
        (1e-9, None, False, "max_cost_usd of rule `chat`"),
        (None, 1e-9, False, "X-Gateway-Max-Cost-Usd"),
        (1e-9, 1.0, False, "max_cost_usd of rule `chat`"),
        (1.0, 1e-9, False, "X-Gateway-Max-Cost-Usd"),
    ],
)
def test_rule_and_caller_bound_the_cost_and_the_lower_is_named(
    rules: float | None, callers: float | None, passes: bool, named: str
) -> None:
    chosen = rule(backends=("api",), spill=None, max_cost=rules)
    if passes:
        assert decided(chosen, max_cost=callers).primary
        return
    with pytest.raises(MaxCostExceeded, match=named):
        decided(chosen, max_cost=callers)
    assert decided(replace(chosen, backends=("gpu",)), max_cost=callers).primary, "our own workers cost no money"


@pytest.mark.parametrize(
    ("written", "value", "holds"),
    [
        ("< 8", 7.9, True),
        ("< 8", 8, False),
        ("<= 8", 8, True),
        ("> 0.1", 0.2, True),
        ("> 0.1", 0.1, False),
        (">= 0", 0, True),
    ],
)
def test_a_threshold_says_what_must_hold(written: str, value: float, holds: bool) -> None:
    assert satisfied(threshold("load", written), value) is holds


def test_the_language_and_the_tables_have_the_same_signals() -> None:
    assert set(FiltersIn.model_fields) == {*SIGNALS, *FORECAST} == set(REASONS)


BREAKS: dict[str, tuple[str, dict[str, Any]]] = {
    "load": ("<= 0.5", {"leased": LIMIT // 2, "outside": 1}),
    "queue_depth": ("< 8", {"reading": reading(waiting=8)}),
    "gpu_util": ("< 0.9", {"reading": reading(gpu=0.9)}),
    "kv_util": ("< 0.9", {"reading": reading(kv=0.95)}),
    "headroom": ("> 0.1", {"headroom": 0.1}),
    "error_rate": ("< 0.5", {"errors": 0.5}),
    "wait_ms": ("< 500", {"leased": LIMIT + 500_000}),
    "ttft_ms": ("< 500", {"leased": LIMIT + 500_000}),
}
UNKNOWN_WITHOUT = ("queue_depth", "gpu_util", "kv_util", "headroom", "error_rate")


@pytest.mark.parametrize("signal", REASONS)
def test_each_signal_drops_who_breaks_it(signal: str) -> None:
    written, changes = BREAKS[signal]
    filters = (threshold(signal, written),)
    at = Scene(estimate(request(), SERVED[0]), "m", PRIOR)

    def why(**seen: Any) -> str | None:
        one = state(WORKER, **seen)
        return standing_break(filters, one, 0.0) or forecast_break(filters, at, one)

    assert why(**changes) == signal
    assert why(**{**changes, "leased": 0, "outside": 0, "headroom": 1.0, "errors": 0.0, "reading": reading()}) is None
    if signal in UNKNOWN_WITHOUT:
        assert why(reading=None, headroom=None, errors=None) is None, "unknown breaks nothing"
    if signal in ("queue_depth", "gpu_util", "kv_util"):
        assert standing_break(filters, state(WORKER, **changes), since=101.0) is None, "nor does what is stale"
    dropped = decided(rule(filters=filters), {"w1": changes})
    assert dropped.drops == {signal: 1}
    assert {one.upstream.name for group in dropped.primary for one in group.candidates} == {"w2"}


def test_the_queue_of_a_bought_api_is_unknown() -> None:
    at = Scene(estimate(request(), SERVED[1]), "m", PRIOR)
    assert forecast_break((threshold("wait_ms", "< 1"),), at, state(API, leased=10**9)) is None


def decided(chosen: Rule, states: dict[str, Any] | None = None, **asked: Any) -> Decision:
    return decide(request(**asked), board(policy(rules=(chosen,)), **(states or {})), Random(1))


@pytest.mark.parametrize("signal", REASONS)
def test_a_home_without_anybody_left_is_full_for_that_reason(signal: str) -> None:
    written, changes = BREAKS[signal]
    chosen = rule(filters=(threshold(signal, written),), max_wait=7.0)
    decision = decided(chosen, {"w1": changes, "w2": changes})
    assert decision.drops == {signal: 2}
    home, away = order(decision)
    assert [(group.outcome, group.reason) for group in away] == [("spilled", REASONS[signal])]
    assert [len(group.candidates) for group in home] == [0], "a request may wait for it"
    assert decision.max_wait == 7.0
    assert spill_reason(decision, away[0], "slo_limit") == REASONS[signal]


def test_up_but_filtered_is_no_failure_and_down_is_none_of_the_filters_business() -> None:
    chosen = rule(filters=(threshold("load", "< 0.5"),), fallback=("api",))
    down, loaded = {"out": "down"}, {"leased": LIMIT}
    assert decided(chosen, {"w1": down, "w2": loaded}).overflow[0].outcome == "spilled"
    assert decided(chosen, {"w1": {**down, **loaded}, "w2": down}).overflow[0].outcome == "fallback"
    assert decided(chosen, {"w1": {**down, **loaded}}).drops == {"health": 1}, "by the first reason that holds"


def refused(chosen: Rule, states: dict[str, Any]) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        decided(chosen, states)
    return caught.value


def test_with_no_spill_it_waits_as_for_a_full_fleet_and_bought_backends_are_429() -> None:
    filters = (threshold("load", "< 0.5"), threshold("headroom", "> 0.2"))
    decision = decided(rule(filters=filters, spill=None), {"w1": {"leased": LIMIT}, "w2": {"leased": LIMIT}})
    assert [len(group.candidates) for group in decision.primary] == [0]
    assert decision.overflow == ()
    unserved = policy().models["m"]
    nowhere = replace(policy(rules=(rule(filters=filters),)), models={"m": replace(unserved, served_by=SERVED[1:])})
    with pytest.raises(FleetSaturated) as caught:
        decide(request(), board(nowhere, a1={"headroom": 0.1}), Random(1))
    assert caught.value.retry_after
    assert caught.value.drops == {"capability": 2, "headroom": 1}
    assert isinstance(refused(rule(spill=None), {"w1": {"out": "down"}, "w2": {"out": "down"}}), NoCapacity)


def test_stale_readings_count_only_where_the_rule_holds_them() -> None:
    chosen = rule(filters=(threshold("queue_depth", "< 8"),))
    old = {"reading": reading(100.0 - FRESH_SECONDS - 1, waiting=50)}
    assert decided(chosen, {"w1": old}).drops == {}
    assert decided(replace(chosen, on_stale="hold"), {"w1": old}).drops == {"queue_depth": 1}
    older = {"reading": reading(100.0 - HOLD_SECONDS - 1, waiting=50)}
    assert decided(replace(chosen, on_stale="hold"), {"w1": older}).drops == {}


def test_rules_with_other_filters_have_other_pools() -> None:
    strict = rule("strict", filters=(threshold("load", "< 0.5"),))
    made = policy(rules=(strict, rule("open")))
    seen = board(made, w1={"leased": LIMIT})
    model, asked = made.models["m"], ("gpu", request().residency, request().endpoint)
    assert seen.pools(model, *asked, strict)[0].drops == {"load": 1}
    assert seen.pools(model, *asked, made.rules[1])[0].drops == {}
    assert seen.pools(model, *asked, replace(strict, name="again")) is seen.pools(model, *asked, strict)


@pytest.mark.parametrize("good", [0, 1, 5, 40])
def test_forecasts_are_judged_until_a_whole_sample_is_found(good: int) -> None:
    """And all of a fleet, where that is not to be had."""
    workers = tuple(upstream(f"w{n}", "gpu") for n in range(60))
    made = policy(workers, (rule(spill=None, filters=(Threshold("wait_ms", False, True, 0),)),))
    busy = {f"w{n}": {"leased": 2 * LIMIT} for n in range(good, 60)}
    for seed in range(10):
        decision = decide(request(), board(made, **busy), Random(seed))
        found = decision.primary[0].candidates
        assert len(found) == min(good, MAX_SAMPLED)
        assert all(one.upstream.name not in busy for one in found)
        dropped = decision.drops.get("wait_ms", 0)
        assert dropped == 60 - good if good <= MAX_SAMPLED else dropped < 60 - good


def test_what_is_forecast_depends_on_the_request() -> None:
    chosen = rule(spill=None, filters=(threshold("ttft_ms", "< 200"),))
    assert decided(chosen, prompt_bytes=4_200).drops == {}
    assert decided(chosen, prompt_bytes=42_000).drops == {"ttft_ms": 2}
    slow = Learned(1155, 1155 * 1.0, 211, 100)
    plain = board(policy(rules=(chosen,)))
    seen = Board(plain.policy, Snapshot(100.0, plain.snapshot.states, learned={"m": slow}))
    assert decide(request(prompt_bytes=4_200), seen, Random(1)).drops == {}
    assert decide(request(prompt_bytes=8_400), seen, Random(1)).drops == {"ttft_ms": 2}, (
        "by the learned bytes of a token"
    )
