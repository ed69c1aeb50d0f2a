"""Two policies side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gateway.model import Tenant
from gateway.policy.case_schema import Case, Expect, RequestIn, WorkerState
from gateway.policy.folder import Folder
from gateway.policy.sources import Sources, read_sources
from gateway.rehearsal.compare import changed_parts, compare_cases, compare_receipts, moved
from tests.policy.good import GOOD, HASH
from tests.rehearsal.test_recorded import RECEIPT
from tests.worlds import policy, rule, upstream

B, M, R, T = (f"{name}.yaml" for name in ("backends", "models", "routing", "tenants"))
FULL = {"w1": WorkerState(load=1.05), "w2": WorkerState(load=1.05)}
OLD = policy()
CLOSED = policy(rules=(rule(spill=None, max_wait=20.0),))


def case(name: str = "full", fleet: dict[str, WorkerState] | None = None, tenant: str | None = None) -> Case:
    asked = RequestIn(path="/v1/chat/completions", tenant=tenant, body={"model": "m", "messages": [], "max_tokens": 5})
    return Case(name=name, request=asked, fleet=FULL if fleet is None else fleet, expect=Expect(status=200))


def test_a_case_that_is_decided_differently_in_one_line() -> None:
    full, idle = compare_cases(OLD, CLOSED, [case(), case("idle", {})])
    assert (full.differs, idle.differs) == (True, False)
    assert str(full) == (
        "full: spilled -> a1 (api), because slo_limit [rule chat] -> waits about 0.16 s, then local -> w2 (gpu), "
        "because local_has_room; without room within 20 s: 429 fleet_saturated [rule chat]"
    )
    (refused,) = compare_cases(OLD, policy(rules=(rule(spill=None),)), [case()])
    assert str(refused).endswith("-> refused: 429 fleet_saturated [rule chat]")
    assert full.row()["old"]["outcome"] == "spilled"


def test_a_case_that_names_what_one_lacks_is_skipped() -> None:
    gone = policy((upstream("w1", "gpu"), upstream("a1", "api")))
    (one,) = compare_cases(OLD, gone, [case()])
    assert (one.differs, one.skipped) == (False, "B has no upstream w2")
    (one,) = compare_cases(OLD, replace(OLD, tenants={"acme": Tenant("acme")}), [case(tenant="acme")])
    assert one.skipped == "A has no tenant acme"


def test_a_wait_is_a_difference() -> None:
    one, _ = compare_cases(CLOSED, policy(rules=(rule(spill=None),)), [case(), case("idle", {})])
    assert (one.differs, "waits" in one.old, one.new["status"]) == (True, True, 429)


def test_a_receipt_of_a_caller_whom_the_keys_do_not_know_is_skipped() -> None:
    (one,) = compare_receipts(
        OLD, replace(OLD, tenants={"acme": Tenant("acme")}, keys={"k": Tenant("acme")}), [RECEIPT]
    )
    assert one.skipped == "B has no tenant local"


def test_recorded_receipts() -> None:
    refused = {**RECEIPT, "id": "early", "model": None}
    local = {**RECEIPT, "id": "other", "outcome": "local"}
    spilled, early, other = compare_receipts(OLD, CLOSED, [RECEIPT, refused, local])
    assert spilled.differs
    assert spilled.reproduced
    assert str(spilled).startswith("receipt abc: spilled -> a1")
    assert early.skipped is not None
    assert not other.reproduced


def sources(**files: str) -> Sources:
    made = {name: raw.encode() for name, raw in {**GOOD, **files}.items()}
    read, faults = read_sources(Folder(Path("nowhere"), made))
    assert faults == []
    return read


def test_no_part_of_equal_policies_differs() -> None:
    assert changed_parts(sources(), sources()) == []
    assert changed_parts(sources(), sources(**{R: GOOD[R].replace("500ms", "0.5s")})) == []


def test_parts_that_differ_in_the_words_of_the_files() -> None:
    rules = """\
defaults: {backends: [h100], slo: {ttft_ms: 1000}, timeouts: {connect: 500ms}}
named:
  usual: {attempts: 5}
rules:
  - {name: a, match: {model: "llama-*"}, route: {spill: {backends: [gmi], when: {queue_depth: "> 8"}}}}
  - {name: b, match: {tags: [gold]}}
  - {name: c, match: {time: {days: [mon], from: "06:00"}}}
  - {name: rest}
"""
    changed = """\
defaults: {backends: [h100], slo: {ttft_ms: 600}, timeouts: {connect: 2s}}
named:
  usual: {attempts: 5}
rules:
  - {name: c, match: {time: {days: [mon, tue], from: "06:00"}}}
  - name: a
    match: {model: "llama-*", when: fleet.load > 0.5}
    route: {use: usual, max_wait: 250ms, objective: cost, spill: {backends: [gmi], when: {queue_depth: "> 9"}}}
  - {name: d, route: {limit: fixed}}
  - {name: rest}
"""
    workers = GOOD[B].replace("max_num_seqs: 128", "max_num_seqs: 64\n        key: hunter2", 1)
    people = GOOD[T].replace("priority: standard", "priority: batch").replace(HASH, "f" * 64)
    lines = changed_parts(sources(**{R: rules}), sources(**{R: changed, B: workers, T: people}))
    assert [line for line in lines if not line.startswith("rule rest")] == [
        "rule b: removed",
        "rule d: added at place 3",
        "rule c: moved from place 3 to 1",
        "rule c: match.time: [{days: [mon], from: 06:00, to: 24:00, timezone: UTC}]"
        " -> [{days: [mon, tue], from: 06:00, to: 24:00, timezone: UTC}]",
        "rule c: slo.ttft_ms: 1000 -> 600",
        "rule c: timeouts.connect: 500ms -> 2s",
        "rule a: match.when: none -> fleet.load > 0.5",
        "rule a: slo.ttft_ms: 1000 -> 600",
        "rule a: max_wait: none -> 250ms",
        "rule a: spill.when.queue_depth: > 8 -> > 9",
        "rule a: attempts: 3 -> 5",
        "rule a: timeouts.connect: 500ms -> 2s",
        "rule a: objective.cost: none -> 1",
        "rule a: objective.latency: none -> 0",
        "upstream h100-1: max_num_seqs: 128 -> 64",
        "tenant acme: priority: standard -> batch",
        "upstream h100-1: key: changed",
        "tenant acme: keys: changed",
    ]
    assert "hunter2" not in "".join(lines)


def test_models_are_told_by_backend_and_zones_by_name() -> None:
    models = GOOD[M].replace("backend: gmi", "backend: gmx", 1)
    lines = changed_parts(sources(), sources(**{M: models, B: GOOD[B].replace("us: {}", "us: {within: [eu]}")}))
    assert any(line.startswith("model llama-3.3-70b: served_by.gmi.") and line.endswith(" -> none") for line in lines)
    assert "zone us: within: none -> [eu]" in lines


def test_what_moved_is_as_little_as_explains_it() -> None:
    assert moved(["a", "b", "c", "d"], ["a", "b", "c", "d"]) == []
    assert moved(["a", "b", "c", "d"], ["d", "a", "b", "c"]) == ["d"]
    assert moved(["a", "b", "c"], ["c", "a", "b"]) == ["c"]
