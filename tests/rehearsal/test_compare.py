"""Two policies side by side."""

from __future__ import annotations

from dataclasses import replace

from gateway.model import Match, Slo, Spill, Tenant
from gateway.policy.case_schema import Case, Expect, RequestIn, WorkerState
from gateway.rehearsal.compare import changed_parts, compare_cases, compare_receipts, moved
from tests.rehearsal.test_recorded import RECEIPT
from tests.worlds import policy, rule, upstream

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


def test_no_part_of_equal_policies_differs() -> None:
    assert changed_parts(OLD, policy()) == []


def test_parts_that_differ_in_words() -> None:
    rules = (rule("a"), rule("b", match=Match(model=("x-*",))), rule("c"))
    other = (
        rule("c"),
        rule("a", slo=Slo(ttft=2.0), spill=Spill(("api",), budget_usd_per_hour=5.0)),
        rule("d"),
    )
    secret = upstream("w2", "gpu", seats=8, key="hunter2")
    old = policy(rules=rules)
    new = policy((upstream("w1", "gpu"), secret, upstream("w3", "gpu"), upstream("a1", "api")), other)
    lines = changed_parts(old, new)
    assert lines == [
        "rule b: removed",
        "rule d: added at place 3",
        "rule c: moved from place 3 to 1",
        "rule a: slo.ttft: none -> 2",
        "rule a: spill.budget_usd_per_hour: none -> 5",
        "upstream w3: added",
        "upstream w2: seats: 64 -> 8",
    ]


def test_what_moved_is_as_little_as_explains_it() -> None:
    assert moved(["a", "b", "c", "d"], ["a", "b", "c", "d"]) == []
    assert moved(["a", "b", "c", "d"], ["d", "a", "b", "c"]) == ["d"]
    assert moved(["a", "b", "c"], ["c", "a", "b"]) == ["c"]
