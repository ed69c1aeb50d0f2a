"""Rehearsed decisions: the end, and every part of the way there."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.model import Damp, Demand, Match, Policy, Spill, Tenant, Threshold, Window
from gateway.policy.case_schema import RequestIn, WorkerState
from gateway.rehearsal.changes import MOST_WORKERS
from gateway.rehearsal.story import Story, tell
from gateway.rehearsal.world import NOON, world_of
from gateway.upstreams.dialects.surface import PATHS
from tests.policy.good import changed, compiled
from tests.worlds import policy, rule, upstream

CHAT = "/v1/chat/completions"
FULL = {"w1": WorkerState(load=1.05), "w2": WorkerState(load=1.05)}
BODY: dict[str, Any] = {"model": "m", "messages": [], "input": "x", "max_tokens": 5}


def told(
    fleet: dict[str, WorkerState] | None = None,
    *,
    under: Policy | None = None,
    path: str = CHAT,
    headers: dict[str, str] | None = None,
    tenant: str | None = None,
    spent_usd: float = 0.0,
    share: float = 0.0,
    **body: Any,
) -> Story:
    asked = RequestIn(path=path, headers=headers or {}, tenant=tenant, body={**BODY, **body})
    world = world_of(under or policy(), asked, fleet or {}, spent_usd=spent_usd, share=share)
    return tell(world, asked)


def change(story: Story, text: str) -> str:
    """The line of `story.changes` that begins with `text`."""
    lines = [str(one) for one in story.changes]
    assert any(line.startswith(text) for line in lines), lines
    return next(line for line in lines if line.startswith(text))


@pytest.mark.parametrize("path", PATHS)
def test_every_generation_path_is_decided(path: str) -> None:
    assert told(path=path).result["outcome"] == "local"


def test_what_the_api_does_not_speak_does_not_spill_there() -> None:
    assert told(FULL, path="/v1/responses").result["outcome"] == "spilled"
    story = told(FULL, path="/v1/messages")
    assert (story.result["status"], story.result["code"]) == (429, "fleet_saturated")
    assert story.drops == {"a1": "capability"}
    assert story.upstreams[-1]["why"] == "it does not speak messages"


def test_work_is_the_prompts_where_nothing_is_written() -> None:
    def work(path: str) -> int:
        story = told(path=path, input="x" * 4200, messages=["x" * 4200], max_output_tokens=100)
        return int(story.upstreams[0]["work"])

    assert work("/v1/messages/count_tokens") < work("/v1/embeddings") < work("/v1/responses")


def test_a_path_that_generates_nothing_and_a_message_without_its_cap() -> None:
    assert told(path="/v1/models").result["status"] == 404
    assert told(path="/v1/messages", max_tokens=None).result["code"] == "invalid_request"


def test_rules_that_did_not_match_say_which_condition_failed_first() -> None:
    rules = (
        rule("other", match=Match(model=("n-*",), residency="any")),
        rule("flagged", match=Match(model=("m",), residency="any")),
        rule("tagged", match=Match(tags=frozenset({"gold"}), stream=True)),
        rule("streamed", match=Match(stream=True)),
        rule(),
        rule("after"),
    )
    story = told(under=policy(rules=rules))
    assert story.rule == "chat"
    assert [str(one) for one in story.missed] == [
        "other: model is m, not n-*",
        "flagged: residency is none, not any",
        "tagged: tags is none, not gold",
        "streamed: stream is no, not yes",
    ]


def test_no_rule_at_all_says_so_of_every_rule() -> None:
    story = told(under=policy(rules=(rule(match=Match(stream=True)),)))
    assert (story.result["status"], story.rule) == (404, None)
    assert [one.rule for one in story.missed] == ["chat"]


def test_an_unknown_model_is_not_the_rules_doing() -> None:
    story = told(model="nobody")
    assert (story.result["code"], story.missed) == ("model_not_found", ())


def test_a_tenant_that_may_not_use_the_model_meets_no_rule() -> None:
    narrow = replace(policy(rules=(rule(match=Match(stream=True)), rule("b"))), tenants={"t": Tenant("t", ("n-*",))})
    story = told(under=narrow, tenant="t")
    assert (story.result["code"], story.missed, story.rule) == ("model_not_allowed", (), None)


def test_residency_names_everybody_who_demands_something() -> None:
    base = policy(rules=(rule(residency=Demand(zones=frozenset({"eu"}))),))
    tenants = {"acme": Tenant("acme", residency=Demand(zones=frozenset({"de"})))}
    story = told(under=replace(base, tenants=tenants), tenant="acme", headers={"x-data-residency": "local"})
    assert story.residency == ("local", "de", "eu")
    assert story.sources == {"header": ("local",), "tenant": ("de",), "rule": ("eu",)}
    assert story.drops == {"a1": "residency"}
    assert story.upstreams[-1]["why"] == "a bought API is never one of our own machines"


def test_a_demand_in_metadata_keeps_it_at_home() -> None:
    story = told(FULL, metadata={"data_residency": "eu"})
    assert (story.result["status"], story.result["code"]) == (429, "fleet_saturated")
    assert change(story, "without metadata.data_residency").endswith(": spilled -> a1")
    assert story.sources == {"metadata": ("eu",)}
    assert told(path="/v1/messages", metadata={"data_residency": "local"}).residency == ("local",)
    assert told(path="/v1/messages", metadata={"data_residency": "mars"}).result["code"] == "residency_unknown"


THREE = (upstream("w1", "gpu", engine="openai"), upstream("w2", "gpu"), upstream("a1", "api"))
DROPS: list[tuple[dict[str, Any], str, str]] = [
    ({"headers": {"X-Data-Residency": "us"}}, "residency", "its zone fra does not lie in us"),
    ({"fleet": {"w1": WorkerState(healthy=False)}}, "health", "it is out: unhealthy"),
    ({"path": "/v1/messages", "under": policy(THREE)},
     "capability", "it does not speak messages"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "dropped", "why"), DROPS, ids=[row[1] for row in DROPS])
def test_a_dropped_upstream_says_why(asked: dict[str, Any], dropped: str, why: str) -> None:
    row = told(**asked).upstreams[0]
    assert (row["dropped"], row["why"]) == (dropped, why)


def test_a_price_beyond_what_the_caller_allows() -> None:
    story = told(FULL, headers={"X-Gateway-Max-Cost-Usd": "0.0000001"})
    assert story.drops == {"a1": "max_cost"}
    assert story.upstreams[-1]["why"] == "may cost up to $0.000019, $0.0000001 is allowed"


FILTERS: list[tuple[Threshold, WorkerState, str]] = [
    (Threshold("load", False, False, 0.5), WorkerState(load=0.8), "it is 0.8, and `filters` want < 0.5"),
    (Threshold("queue_depth", False, True, 4), WorkerState(waiting=9), "it is 9, and `filters` want <= 4"),
    (Threshold("error_rate", False, False, 0.2), WorkerState(errors=0.25), "it is 0.25, and `filters` want < 0.2"),
    (Threshold("wait_ms", False, False, 100), WorkerState(wait=2.0), ", and `filters` want < 100"),
]


@pytest.mark.parametrize(("threshold", "state", "said"), FILTERS, ids=[row[0].signal for row in FILTERS])
def test_what_the_rules_own_filters_leave_out(threshold: Threshold, state: WorkerState, said: str) -> None:
    story = told({"w1": state}, under=policy(rules=(rule(filters=(threshold,)),)))
    assert story.drops == {"w1": threshold.signal}
    assert said in story.upstreams[0]["why"]
    assert story.result["upstream"] == "w2"


def test_scores_are_the_rules_own() -> None:
    scorers = (("price", 2.0), ("errors", 1.0), ("load", 0.5))
    story = told({"w1": WorkerState(errors=0.5)}, under=policy(rules=(rule(scorers=scorers),)))
    first, second, _ = story.upstreams
    assert set(first["parts"]) == {"price", "errors", "load"}
    assert first["parts"]["price"] == 2.0
    assert first["parts"]["errors"] < second["parts"]["errors"] == 1.0
    assert story.result["upstream"] == "w2"
    assert first["score"] == pytest.approx(sum(first["parts"].values()), abs=2e-4)


def test_fields_that_may_not_leave() -> None:
    story = told(FULL, service_tier="flex")
    assert story.drops == {"a1": "fields"}
    assert story.upstreams[-1]["why"] == "service_tier may not go to bought APIs under this rule"


def test_fallback_is_not_needed_until_nobody_is_up() -> None:
    under = policy(rules=(rule(spill=None, fallback=("api",)),))
    story = told(FULL, under=under)
    assert story.upstreams[-1]["dropped"] == "not_needed"
    assert story.drops == {}
    assert story.candidates == ["w1", "w2"]
    gone = {name: WorkerState(healthy=False) for name in ("w1", "w2")}
    story = told(gone, under=under)
    assert (story.result["outcome"], story.upstreams[-1]["role"]) == ("fallback", "fallback")
    assert "dropped" not in story.upstreams[-1]


def test_a_row_adds_up() -> None:
    for row in told({"w1": WorkerState(load=0.5, waiting=3, gpu=0.7, kv=0.2, age=1.5)}).upstreams:
        assert row["score"] == pytest.approx(sum(row["parts"].values()), abs=2e-4)
        assert row["room"] is True
    first = told({"w1": WorkerState(load=0.5, waiting=3, gpu=0.7, kv=0.2, age=1.5)}).upstreams[0]
    assert (first["queue_depth"], first["gpu"], first["kv"], first["age_ms"]) == (3, 0.7, 0.2, 1500.0)
    assert first["load"] == pytest.approx(0.5 / 0.9, abs=1e-3)
    assert first["after"] > first["load"]


def test_states_by_wait_and_by_load_that_is_not_ours() -> None:
    story = told({"w1": WorkerState(wait=2.0), "w2": WorkerState(outside=2.0)})
    waits = [row["wait_ms"] for row in story.upstreams[:2]]
    assert waits[0] == pytest.approx(2000, rel=0.2)
    assert waits[1] > 0
    assert story.result["outcome"] == "spilled"


def test_thresholds_tell_their_live_value() -> None:
    when = (Threshold("queue_depth", True, False, 8.0), Threshold("gpu_util", True, False, 0.95))
    under = policy(rules=(rule(spill=Spill(("api",), when=when)),))
    story = told({"w1": WorkerState(waiting=3), "w2": WorkerState(waiting=5)}, under=under)
    assert [str(one) for one in story.thresholds] == [
        "queue_depth > 8: 4 now, does not hold",
        "gpu_util > 0.95: unknown now, does not hold",
    ]
    assert change(story, "if queue_depth") == "if queue_depth were > 8 (now 4): spilled -> a1"
    story = told({"w1": WorkerState(waiting=13), "w2": WorkerState(waiting=5)}, under=under)
    assert story.result["reason"] == "spill_when"
    assert change(story, "if queue_depth").startswith("if queue_depth were not > 8 (now 9): local -> w")


def test_budget_and_share_close_the_way_out() -> None:
    under = policy(rules=(rule(spill=Spill(("api",), budget_usd_per_hour=1.0, max_share=0.3)),))
    assert told(FULL, under=under, spent_usd=0.5, share=0.1).result["outcome"] == "spilled"
    spent = told(FULL, under=under, spent_usd=1.0)
    assert (spent.result["status"], spent.result["code"]) == (429, "fleet_saturated")
    assert "has spent its budget" in spent.result["message"]
    assert change(spent, "if $0 of its budget") == "if $0 of its budget were spent: spilled -> a1"
    shared = told(FULL, under=under, share=0.3)
    assert shared.result["status"] == 429
    assert change(shared, "if 0 of its requests").endswith("spilled -> a1")
    only = policy(rules=(rule(backends=("gpu",), spill=Spill(("api",), budget_usd_per_hour=1.0), fallback=("api",)),))
    gone = {name: WorkerState(healthy=False) for name in ("w1", "w2")}
    assert told(gone, under=only, spent_usd=1.0).result["code"] == "budget_exceeded"


def test_the_loads_at_which_the_answer_changes_are_where_it_changes() -> None:
    fleet = {"w1": WorkerState(load=0.2), "w2": WorkerState(load=0.5)}
    story = told(fleet)
    assert story.result["upstream"] == "w1"
    edges = {one.condition["upstream"]: one.condition["load"] for one in story.changes if "load" in one.condition}
    for name, load, taker in (
        ("w1", edges["w1"]["above"] * 0.9 + 0.002, "w2"),
        ("w1", edges["w1"]["above"] * 0.9 - 0.002, "w1"),
        ("w2", edges["w2"]["below"] * 0.9 - 0.002, "w2"),
        ("w2", edges["w2"]["below"] * 0.9 + 0.002, "w1"),
    ):
        moved = {**fleet, name: WorkerState(load=load)}
        assert told(moved).result["upstream"] == taker, (name, load)


def test_headers_health_rules_and_waits_that_would_change_it() -> None:
    rules = (rule("flagged", match=Match(residency="any"), spill=None, max_wait=20.0), rule())
    under = policy(rules=rules)
    local = {"X-Data-Residency": "local"}
    story = told(FULL, under=under, headers=local)
    assert change(story, "without X-Data-Residency") == "without X-Data-Residency: spilled -> a1, rule chat"
    story = told(FULL, under=under)
    assert change(story, "with X-Data-Residency: local").endswith("429 fleet_saturated, rule flagged")
    assert change(story, "if a1 were down").endswith("429 fleet_saturated")
    assert change(story, "without rule chat").endswith("404 model_not_found")
    assert ": local -> w" in change(story, "with max_wait")
    story = told({**FULL, "w2": WorkerState(healthy=False)}, under=under)
    assert change(story, "if w2 were up") == "if w2 were up: local -> w2"


def test_no_change_is_told_that_changes_nothing() -> None:
    story = told()
    assert all(change.new for change in story.changes)
    assert all(dict(change.result) != dict(story.result) for change in story.changes)


def test_the_data_is_json_and_holds_nothing_that_the_caller_wrote() -> None:
    story = told(FULL, messages=[{"role": "user", "content": "SECRET"}], headers={"X-Trace": "SECRET"})
    text = json.dumps(story.as_data())
    assert "SECRET" not in text
    assert set(story.as_data()) == {
        "result", "policy", "at", "request", "rule", "missed", "residency", "sources", "max_wait", "upstreams",
        "drops", "thresholds", "notes", "changes",
    }  # fmt: skip


def test_of_a_large_backend_a_sample_is_asked() -> None:
    made = policy((*(upstream(f"w{number}", "gpu") for number in range(40)), upstream("a1", "api")))
    story = told(under=made)
    assert len(story.candidates) == 41
    assert "gpu: each request asks 8 of its 40 upstreams, by chance" in story.notes
    assert sum(row["sampled"] for row in story.upstreams if row["backend"] == "gpu") == 8
    full = told({f"w{number}": WorkerState(load=1.05) for number in range(40)}, under=made)
    assert len([one for one in full.changes if "load" in one.condition]) == MOST_WORKERS


def test_conditions_and_windows_that_did_not_hold() -> None:
    night = Window(frozenset(range(7)), 22 * 60, 6 * 60, ZoneInfo("Europe/Berlin"))
    files = changed("routing.yaml", 'match: {model: "llama-*", tenant: acme}', "match: {when: 'request.n > 3'}")
    made = compiled(files)
    night_rule = replace(made.rules[0], name="night", match=Match(time=(night,)))
    made = replace(made, rules=(night_rule, *made.rules[1:]))
    body = {"model": "llama-3.3-70b", "messages": [], "max_tokens": 5}
    asked = RequestIn(path=CHAT, body=body)
    story = tell(world_of(made, asked, {}), asked)
    assert [str(one) for one in story.missed] == [
        "night: time is mon 12:00 utc, not mon,tue,wed,thu,fri,sat,sun 22:00-06:00 Europe/Berlin",
        "chat: request.n > 3 does not hold",
    ]
    four = RequestIn(path=CHAT, body={**body, "n": 4})
    assert tell(world_of(made, four, {}), four).rule == "chat"
    late = world_of(made, asked, {}, at=NOON + 10 * 3600)
    assert tell(late, asked).rule == "night"


def test_a_draw_says_that_it_is_one() -> None:
    story = told(under=policy(rules=(rule(picker="weighted_random"),)))
    assert "picker weighted_random: who of them is taken is chance, and another request may differ" in story.notes


def test_thresholds_on_price_and_wait_and_damping() -> None:
    when = (Threshold("price_usd", False, False, 1.0), Threshold("predicted_wait_ms", True, False, 500.0))
    under = policy(rules=(rule(spill=Spill(("api",), when=when)),))
    story = told({"w1": WorkerState(wait=2.0), "w2": WorkerState(wait=3.0)}, under=under)
    price, wait = story.thresholds
    assert (price.holds, wait.holds) == (True, True)
    assert price.value is not None
    assert price.value < 0.001
    assert wait.value == pytest.approx(2000, rel=0.1)
    damped = (Threshold("queue_depth", True, False, 8.0),)
    under = policy(rules=(rule(spill=Spill(("api",), when=damped), damp=Damp(enter=1.5)),))
    story = told({"w1": WorkerState(waiting=10)}, under=under)
    assert str(story.thresholds[0]) == "queue_depth > 8: 10 now, does not hold"
    assert change(story, "if queue_depth") == "if queue_depth were > 12 (now 10): spilled -> a1"


def test_what_a_bound_keeps_at_home_says_so() -> None:
    when = (Threshold("price_usd", False, False, 1.0),)
    under = policy(rules=(rule(spill=Spill(("api",), budget_usd_per_hour=1.0, when=when)),))
    assert told(under=under).result["outcome"] == "spilled"
    kept = told(under=under, spent_usd=1.0).result
    assert (kept["outcome"], kept["reason"]) == ("local", "budget")
