"""Rehearsed decisions: the end, and every part of the way there."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.model import (
    CLASSES,
    Damp,
    Demand,
    Gpus,
    Match,
    Model,
    Need,
    Offer,
    Policy,
    Served,
    Spill,
    Tenant,
    Threshold,
    Window,
)
from gateway.money.budgets import Booked
from gateway.policy.case_schema import RequestIn, WorkerState
from gateway.policy.compile import compile_folder
from gateway.rehearsal.changes import MOST_WORKERS
from gateway.rehearsal.ending import head, same
from gateway.rehearsal.story import Story, tell
from gateway.rehearsal.world import NOON, world_of
from gateway.upstreams.dialects.surface import PATHS
from loadtests.stack import DEMO_POLICIES as DEMO
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


MEDIA = [path for path, endpoint in PATHS.items() if endpoint.asks is not None]
STUDIO = policy((upstream("w1", "gpu", engine="vllm-omni"), upstream("a1", "api")))
PICTURE = "data:image/png;base64,AAAA"


@pytest.mark.parametrize("path", [path for path in PATHS if path not in MEDIA])
def test_every_path_of_text_is_decided(path: str) -> None:
    assert told(path=path).result["outcome"] == "local"


def about(path: str, **body: Any) -> Story:
    """Of media, under the demo's policy."""
    asked = RequestIn(path=path, tenant="demo", body=body)
    return tell(world_of(compile_folder(DEMO, {}), asked, {}), asked)


FRAME = "data:image/png;base64,"
PRICED: tuple[tuple[str, dict[str, Any], float, float], ...] = (
    ("/v1/images/generations", {"model": "gpt-image-2-generate", "n": 2, "quality": "low"}, 104.86, 0.012),
    ("/v1/images/edits", {"model": "gpt-image-2-edit", "image": FRAME, "quality": "high"}, 52.43, 0.211),
    ("/v1/videos", {"model": "veo-3.1-lite-generate-001", "seconds": "4", "size": "1280x720"}, 2949.12, 0.2),
    ("/v1/audio/speech", {"model": "tts-1", "voice": "alloy", "input": "x" * 1000}, 1000.0, 0.015),
)

"""Units: 50 steps x 1.05 megapixels x pictures; 50 x 0.92 x 64 frames; characters."""


@pytest.mark.parametrize(("path", "body", "units", "usd"), PRICED, ids=[row[0] for row in PRICED])
def test_media_are_decided_by_their_work_and_their_price(
    path: str, body: dict[str, Any], units: float, usd: float
) -> None:
    story = about(path, prompt="a lighthouse", **body)
    assert story.result["outcome"] == "managed"
    assert story.request["units"] == pytest.approx(units, rel=0.01)
    assert next(row["usd"] for row in story.upstreams if "usd" in row) == pytest.approx(usd)


def test_what_a_model_cannot_make_is_said_with_what_it_can() -> None:
    story = about("/v1/videos", model="wan2.7-i2v", prompt="waves", seconds="5", size="1280x720")
    assert (story.result["status"], story.drops["gmi"]) == (400, "capability")
    assert "send 1 to 2 pictures along" in story.upstreams[0]["why"]


@pytest.mark.parametrize("path", MEDIA)
def test_every_path_of_media_is_decided(path: str) -> None:
    given: dict[str, Any] = {"prompt": "a fox"} | ({"image": PICTURE} if path.endswith("edits") else {})
    assert told(path=path, under=STUDIO, **given).result["outcome"] == "local"
    away = {} if path != "/v1/videos" else {"a1": "capability"}
    assert told(path=path, **given).drops == {"w1": "capability", "w2": "capability", **away}


def test_what_a_model_cannot_do_is_told_with_what_it_can() -> None:
    offer = Offer(sizes=("512x512",), inputs=(0, 1), mask=False)
    served = tuple(replace(one, offer=offer) for one in STUDIO.models["m"].served_by)
    under = replace(STUDIO, models={"m": Model("m", "image", served)})
    pictures: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("size", {"size": "640x640"}, "512x512"),
        ("image", {"image": [PICTURE, {"url": PICTURE}]}, "0 to 1 pictures"),
    )
    for name, given, message in pictures:
        result = told(path="/v1/images/generations", under=under, prompt="a fox", **given).result
        assert (result["status"], result["code"]) == (400, "invalid_request")
        assert message in result["message"], name
    whole = told(path="/v1/images/edits", under=under, prompt="a fox", image=PICTURE, size="512x512", mask=PICTURE)
    assert "mask" in whole.result["message"]


def test_what_the_api_does_not_speak_does_not_spill_there() -> None:
    assert told(FULL, path="/v1/responses").result["outcome"] == "spilled"
    story = told(FULL, path="/v1/messages/count_tokens")
    assert (story.result["status"], story.result["code"]) == (429, "fleet_saturated")
    assert story.drops == {"a1": "capability"}
    assert story.upstreams[-1]["why"] == "it does not speak messages/count_tokens"


def test_what_can_be_translated_spills_there_and_what_cannot_says_why() -> None:
    assert told(FULL, path="/v1/messages").result["outcome"] == "spilled"
    story = told(FULL, path="/v1/messages", container="c")
    assert (story.result["status"], story.drops) == (429, {"a1": "capability"})
    why = "it speaks chat/completions alone, and `container`: has no counterpart in chat/completions"
    assert story.upstreams[-1]["why"] == why


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
    ({"path": "/v1/responses", "under": policy(THREE)},
     "capability", "it does not speak responses"),
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


def test_a_class_that_begins_only_below_a_load_is_told_so() -> None:
    classes = {**CLASSES, "batch": replace(CLASSES["batch"], below=0.5)}
    under = policy(rules=(rule(classes=classes, spill=None, max_wait=7.0),))
    fleet = {"w1": WorkerState(load=0.9), "w2": WorkerState(load=0.2)}
    story = told(fleet, under=under, headers={"X-Gateway-Priority": "batch"})
    assert story.drops == {"w1": "below", "w2": "below"}
    assert "less than 50% full" in story.upstreams[0]["why"]
    assert told(fleet, under=under).drops == {}


BATCH = {"X-Gateway-Priority": "batch"}


def test_who_is_held_back_by_below_waits_until_the_fleet_is_less_full_and_not_all_of_its_patience() -> None:
    """Two limits of a GPU-second: 0.65 of each falls to 0.6 in 50 ms, as live."""
    classes = {**CLASSES, "batch": replace(CLASSES["batch"], below=0.6, max_wait=600.0)}
    under = policy(rules=(rule(classes=classes),))
    story = told({"w1": WorkerState(load=0.65), "w2": WorkerState(load=0.65)}, under=under, headers=BATCH)
    assert head(story.result) == (
        "waits about 0.05 s, then local -> w2 (gpu), because local_has_room; "
        "without room within 600 s: spilled -> a1 (spill_when)"
    )
    crowded = told({"w1": WorkerState(wait=700), "w2": WorkerState(wait=700)}, under=under, headers=BATCH)
    assert head(crowded.result) == "waits 600 s, then spilled -> a1 (api), because spill_when"


def test_what_would_change_it_knows_when_the_fleet_is_less_full() -> None:
    classes = {**CLASSES, "batch": replace(CLASSES["batch"], below=0.5)}
    under = policy(rules=(rule(classes=classes),))
    fleet = {"w1": WorkerState(load=0.9), "w2": WorkerState(load=0.9)}
    story = told(fleet, under=under, headers=BATCH)
    assert head(story.result) == "spilled -> a1 (api), because spill_when"
    assert change(story, "with max_wait") == "with max_wait 0.4s: waits about 0.4 s, then local -> w2"
    assert "waits about 0.4 s, then local" in change(
        told(fleet, under=patient(under)), "with X-Gateway-Priority: batch"
    )


def patient(under: Policy) -> Policy:
    (one,) = under.rules
    batch = replace(one.classes["batch"], max_wait=9.0)
    return replace(under, rules=(replace(one, classes={**one.classes, "batch": batch}),))


def test_a_drained_worker_takes_nothing_new() -> None:
    story = told({"w1": WorkerState(drained=True), "w2": WorkerState(load=1.05)})
    assert story.drops["w1"] == "drained"
    assert story.upstreams[0]["why"] == "it takes nothing new: drained"
    assert change(story, "if w1 were not drained") == "if w1 were not drained: local -> w1"


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
    assert (first["load"], first["may_fill"]) == (0.5, 0.9)
    assert first["after"] > first["load"]
    assert "outside" not in first
    assert told({"w1": WorkerState(load=0.5, outside=0.25)}).upstreams[0]["outside"] == 0.25


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
    assert "as many of its requests have left as `max_share` allows" in shared.result["message"]
    assert change(shared, "if 0% of its requests").endswith("spilled -> a1")
    assert "share: 30% of its requests left lately, 30% may" in shared.notes
    only = policy(rules=(rule(backends=("gpu",), spill=Spill(("api",), budget_usd_per_hour=1.0), fallback=("api",)),))
    gone = {name: WorkerState(healthy=False) for name in ("w1", "w2")}
    assert told(gone, under=only, spent_usd=1.0).result["code"] == "budget_exceeded"


def test_the_loads_at_which_the_answer_changes_are_where_it_changes() -> None:
    """The very number that is printed, typed into a fleet, does what is said; a thousandth less of it does not."""
    one = {"w1": WorkerState(load=0.97), "w2": WorkerState(load=1.05, outside=0.1)}
    outside = {"w1": WorkerState(load=0.4, outside=0.2), "w2": WorkerState(load=1.05)}
    for fleet, name, side in ((one, "w1", "at_most"), (one, "w2", "at_most"), (outside, "w1", "at_least")):
        story = told(fleet)
        (found,) = [
            change
            for change in story.changes
            if change.condition.get("upstream") == name and "load" in change.condition
        ]
        edge, back = found.condition["load"][side], 0.001 if side == "at_most" else -0.001
        assert f" {edge:g} (now " in found.text
        for load, expected in ((edge, found.result), (round(edge + back, 3), story.result)):
            moved = told({**fleet, name: fleet[name].model_copy(update={"load": load})})
            assert same(moved.result, expected), (name, load)


def test_workers_that_would_do_equally_share_a_line_and_a_swap_of_equals_is_none() -> None:
    assert change(told(FULL), "if the load of any of w1, w2 were at most 0.898 (now 1.05): local -> w1")
    swaps = [one for one in told({"w1": WorkerState(load=0.2)}).changes if "upstream" in one.condition]
    assert swaps == []


WAITING = {"w1": WorkerState(load=1.2), "w2": WorkerState(load=1.1)}
PATIENT: list[tuple[float, float | None, str | None, tuple[str, ...]]] = [
    (20.0, None, None, ("local", "w2", "local_has_room")),
    (0.1, None, None, ("spilled", "a1", "queue_wait")),
    (0.0, None, None, ("spilled", "a1", "slo_limit")),
    (20.0, 0.1, None, ("spilled", "a1", "queue_wait")),
    (20.0, None, "100", ("spilled", "a1", "queue_wait")),
    (0.0, 20.0, None, ("local", "w2", "local_has_room")),
]


@pytest.mark.parametrize(("wait", "of_class", "header", "end"), PATIENT)
def test_it_waits_where_room_is_to_be_expected_in_time(
    wait: float, of_class: float | None, header: str | None, end: tuple[str, ...]
) -> None:
    """w2 has room for a standard request, which may fill 0.9, once a fifth of its limit of a second is done."""
    classes = {**CLASSES, "standard": replace(CLASSES["standard"], max_wait=of_class)}
    headers = {} if header is None else {"X-Gateway-Max-Wait-Ms": header}
    result = told(WAITING, under=policy(rules=(rule(max_wait=wait, classes=classes),)), headers=headers).result
    assert (result["outcome"], result["upstream"], result["reason"]) == end
    most = min(wait if of_class is None else of_class, 20.0 if header is None else 0.1)
    assert result.get("may_wait", 0.0) == most
    if end[0] == "local":
        assert 0.2 <= result["waits"] <= 0.22
        assert result["otherwise"]["reason"] == "queue_wait"
    else:
        assert result.get("waits", 0.0) == most


def test_the_words_of_a_wait() -> None:
    found, vain, none = (
        told(WAITING, under=policy(rules=(one,))).result
        for one in (rule(max_wait=20.0), rule(max_wait=0.1), rule(max_wait=0.1, spill=None))
    )
    assert head(found) == (
        "waits about 0.21 s, then local -> w2 (gpu), because local_has_room; "
        "without room within 20 s: spilled -> a1 (queue_wait)"
    )
    assert head(vain) == "waits 0.1 s, then spilled -> a1 (api), because queue_wait"
    assert head(none) == "refused: waits 0.1 s, then 429 fleet_saturated"


def test_those_in_line_wait_before_it() -> None:
    asked = RequestIn(body=BODY)
    world = world_of(policy(rules=(rule(max_wait=20.0),)), asked, {"w1": WorkerState(load=0.5)})
    queued = replace(world, snapshot=replace(world.snapshot, lines={"gpu": 3.0}))
    story = tell(queued, asked)
    assert story.result["waits"] == 3.0
    assert [row["wait_ms"] for row in story.upstreams] == [3000.0, 3000.0, 0.0]
    assert "those who wait in line already will take 3 s" in story.notes
    assert tell(replace(queued, policy=policy()), asked).result["outcome"] == "spilled"


def test_what_a_bound_keeps_at_home_waits_longer() -> None:
    under = policy(rules=(rule(spill=Spill(("api",), budget_usd_per_hour=1.0), kept_wait=20.0),))
    assert told(WAITING, under=under).result["outcome"] == "spilled"
    kept = told(WAITING, under=under, spent_usd=1.0).result
    assert (kept["outcome"], kept["reason"], kept["may_wait"]) == ("local", "budget", 20.0)
    assert "has spent its budget" in kept["otherwise"]["message"]


def test_a_deadline_ends_the_wait() -> None:
    under = policy(rules=(rule(spill=None, max_wait=20.0),))
    story = told(WAITING, under=under, headers={"X-Gateway-Deadline-Ms": "100"})
    assert (story.result["code"], story.result["waits"]) == ("deadline_exceeded", 0.1)


BOUNDS: list[tuple[Booked | None, str | None]] = [
    (Booked(0, 10, 0.0), None),
    (Booked(3, 10, 0.0), "as many of its requests have left as `max_share` allows"),
    (Booked(2, 10, 0.0), None),
    (Booked(29, 100, 1.0), "it has spent its budget of this hour"),
    (Booked(3, 11, 0.0), "as many of its requests have left as `max_share` allows"),
    (None, "the store, which keeps its share and its budget, is away"),
]


@pytest.mark.parametrize(("booked", "said"), BOUNDS)
def test_bounds_by_real_counts(booked: Booked | None, said: str | None) -> None:
    asked = RequestIn(body=BODY)
    under = policy(rules=(rule(spill=Spill(("api",), max_share=0.3, budget_usd_per_hour=1.0)),))
    story = tell(replace(world_of(under, asked, FULL), books={"chat": booked}), asked)
    assert story.result.get("outcome") == ("spilled" if said is None else None)
    if said is not None:
        assert story.result["message"].endswith(f"rule `chat` sends nothing more away: {said}")


def test_a_small_share_lets_nobody_leave_at_first() -> None:
    small, large = (policy(rules=(rule(spill=Spill(("api",), max_share=share)),)) for share in (0.05, 0.1))
    said = "max_share 0.05: nobody leaves before request 20 of 5 minutes"
    assert said in told(under=small).notes
    assert not [note for note in told(under=large).notes if note.startswith("max_share")]


def test_a_call_without_a_key_is_refused_where_the_policy_has_keys() -> None:
    under = replace(policy(), tenants={"acme": Tenant("acme")}, keys={"k": Tenant("acme")})
    story = told(under=under)
    assert (story.result["status"], story.result["code"]) == (401, "invalid_key")
    assert story.result["message"].endswith("there is `acme`")
    assert told(under=under, tenant="acme").result["status"] == 200


def test_headers_health_rules_and_waits_that_would_change_it() -> None:
    rules = (rule("flagged", match=Match(residency="any"), spill=None, max_wait=20.0), rule())
    under = policy(rules=rules)
    local = {"X-Data-Residency": "local"}
    story = told(FULL, under=under, headers=local)
    assert change(story, "without X-Data-Residency") == "without X-Data-Residency: spilled -> a1 at once, rule chat"
    story = told(FULL, under=under)
    kept = change(story, "with X-Data-Residency: local")
    assert kept.endswith(": waits about 0.16 s, then local -> w2, rule flagged")
    assert change(story, "if a1 were down").endswith("429 fleet_saturated")
    assert change(story, "without rule chat").endswith(": no rule matches (404 model_not_found)")
    assert change(story, "with max_wait 0.16s: waits about 0.16 s, then local -> w2")
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
    (line,) = [one for one in full.changes if "load" in one.condition]
    assert len(line.condition["any_of"]) == MOST_WORKERS


def test_conditions_and_windows_that_did_not_hold() -> None:
    night = Window(frozenset(range(7)), 22 * 60, 6 * 60, ZoneInfo("Europe/Berlin"))
    files = changed("routing.yaml", 'match: {model: "llama-*", tenant: acme}', "match: {when: 'request.n > 3'}")
    made = compiled(files)
    night_rule = replace(made.rules[0], name="night", match=Match(time=(night,)))
    made = replace(made, rules=(night_rule, *made.rules[1:]))
    body = {"model": "llama-3.3-70b", "messages": [], "max_tokens": 5}
    asked = RequestIn(path=CHAT, tenant="acme", body=body)
    story = tell(world_of(made, asked, {}), asked)
    assert [str(one) for one in story.missed] == [
        "night: time is mon 12:00 utc, not mon,tue,wed,thu,fri,sat,sun 22:00-06:00 Europe/Berlin",
        "chat: request.n > 3 does not hold",
    ]
    four = RequestIn(path=CHAT, tenant="acme", body={**body, "n": 4})
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


V1, V2 = (Served("gpu", f"real-{name}", version=name) for name in ("v1", "v2"))


def of_versions(**fleet: WorkerState) -> Story:
    made = replace(policy(rules=(rule(spill=None),)), models={"m": Model("m", "text", (V1, V2))})
    asked = RequestIn(headers={"X-Gateway-Session": "s"}, body={"model": "m", "messages": []})
    return tell(world_of(made, asked, fleet), asked)


def test_the_version_of_a_session_is_told_and_which_one_it_belongs_to_where_that_is_another() -> None:
    usual = of_versions()
    mine = usual.result["version"]
    other = {"v1": "v2", "v2": "v1"}[mine]
    assert [row["version"] for row in usual.upstreams] == [mine, mine]
    assert f"its session belongs to {mine}" in usual.notes
    lacking = of_versions(w1=WorkerState(models=(f"real-{other}",)), w2=WorkerState(models=(f"real-{mine}",)))
    assert (lacking.result["upstream"], lacking.result["version"]) == ("w2", mine)
    (row,) = (row for row in lacking.upstreams if row["upstream"] == "w1")
    assert row["dropped"] == "model_loaded"
    assert row["why"] == f"it does not have real-{mine} loaded (loaded: real-{other})"
    instead = of_versions(w1=WorkerState(models=(f"real-{other}",)), w2=WorkerState(healthy=False))
    assert instead.result["version"] == other
    assert f"its session belongs to {mine}, which no worker can serve now" in instead.notes


@pytest.mark.parametrize(
    ("changes", "state", "why"),
    [
        ({"models": ("other-*", "x")}, WorkerState(), "it is kept for other-*, x"),
        ({"hardware": Gpus("H100", 1, 80.0)}, WorkerState(),
         "m needs 140 GB on 1 GPU, and it has 1 x H100 with 80 GB"),
        ({}, WorkerState(asleep=True), "it is asleep: its weights are put away"),
    ],
)  # fmt: skip
def test_why_a_worker_cannot_serve_the_model(changes: dict[str, Any], state: WorkerState, why: str) -> None:
    made = policy((upstream("w1", "gpu", **changes), upstream("w2", "gpu")), (rule(spill=None),))
    made = replace(made, models={"m": replace(made.models["m"], need=Need(140.0))})
    asked = RequestIn(body={"model": "m", "messages": []})
    story = tell(world_of(made, asked, {"w1": state}), asked)
    assert [row.get("why") for row in story.upstreams] == [why, None]


def test_a_worker_that_warms_up_shows_its_share() -> None:
    made, asked = policy(rules=(rule(spill=None),)), RequestIn(body={"model": "m", "messages": []})
    story = tell(world_of(made, asked, {"w1": WorkerState(ramp=0.5, load=0.6)}), asked)
    rows = {row["upstream"]: row for row in story.upstreams}
    assert (rows["w1"]["ramp"], rows["w1"]["room"]) == (0.5, False)
    assert "ramp" not in rows["w2"]
    assert story.result["upstream"] == "w2"
