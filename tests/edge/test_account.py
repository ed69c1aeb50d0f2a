"""What is told of a request: its headers, its receipt, its cost."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from gateway.edge.account import CLIENT_LEFT, Account, Attempt, Cost
from gateway.edge.booking import cost_of
from gateway.errors import FleetSaturated, ShuttingDown, UpstreamFailed
from gateway.model import Candidate, Demand, Lease, Look, Origin, Price, Served, Usage
from gateway.receipts import MAX_BYTES, encode
from gateway.routing.decide import decide
from tests.worlds import board, reading, request, rule, upstream
from tests.worlds import policy as policy_of

USAGE = Usage(input_tokens=1_000_000, output_tokens=100_000, cached_tokens=10)
KEYS = {
    *("id", "client_id", "time", "tenant", "model", "policy", "rule", "residency", "candidates", "drops", "chosen"),
    *(
        "attempts",
        "outcome",
        "reason",
        "spill_when",
        "kept_by",
        "removed",
        "error",
        "usage",
        "cost",
        "forecast",
        "times",
    ),
}


def account(**asked: Any) -> Account:
    return Account(request(arrived=time.monotonic(), ready=time.monotonic(), **asked), "v1")


def look(name: str, leased: int = 0, limit: int = 1000) -> Look:
    """At a worker that holds so much work, with a reading that is a quarter of a second old."""
    worker = upstream(name, "gpu")
    candidate = Candidate(worker, Served("gpu", "m"), 1.0, 10, limit, 8, 0, 0)
    return Look(candidate, leased, reading(at=99.75, waiting=3, gpu=0.9), 100.0)


def served(made: Account, overflow: bool = False) -> Lease:
    """Decides and takes the first candidate, at home or of the overflow."""
    decision = decide(made.request, board(), Random(1))
    group = (decision.overflow if overflow else decision.primary)[0]
    candidate = group.candidates[0]
    made.decision = decision
    made.visit.looks["w1"] = look("w1", leased=950)
    made.lease = Lease("id", candidate, group, f"{candidate.upstream.name}@0", decision)
    return made.lease


def test_a_bought_answer_costs_its_list_price() -> None:
    cost = cost_of(served(account(), overflow=True), USAGE)
    assert (cost.micro, cost.usd, cost.basis) == (325_000, 0.325, "list")


def test_an_answer_of_our_own_costs_its_gpu_time() -> None:
    cost = cost_of(served(account()), USAGE)
    work = (1_000_000 - 10) * 0.04 + 100_000 * (8.0 / 32 + 0.06)  # ms
    assert cost.basis == "amortised"
    assert cost.micro == math.ceil(work * 1000 * 2.0 / 3600)


def test_a_worker_without_a_price_costs_an_unknown_amount_not_nothing() -> None:
    lease = served(account())
    candidate = lease.candidate._replace(upstream=upstream("w1", "gpu", usd_per_hour=None))
    assert cost_of(replace(lease, candidate=candidate), USAGE) == Cost(None, "unknown")


@pytest.mark.parametrize("overflow", [True, False])
def test_a_price_that_should_not_be_trusted_is_marked_on_the_receipt(overflow: bool) -> None:
    """Of a bought answer the model's price, of our own the GPU's hour."""
    made = account()
    lease = served(made, overflow=overflow)
    made.cost = cost_of(lease, USAGE)
    assert made.receipt()["cost"] == {"usd": made.cost.usd, "basis": made.cost.basis}
    doubtful = Origin("a page", "2026", "guide", ("old", "low_confidence"))
    candidate, upstream_of = lease.candidate, lease.candidate.upstream
    rented = replace(upstream_of, hardware=replace(upstream_of.hardware, priced=doubtful))
    price = Price.of(1.0, 1.0) if candidate.served.price is None else candidate.served.price
    sold = replace(candidate.served, price=replace(price, origin=doubtful))
    made.lease = replace(
        lease, candidate=candidate._replace(upstream=rented if not overflow else upstream_of, served=sold)
    )
    assert made.receipt()["cost"]["marks"] == ["old", "low_confidence"]


def test_headers_grow_with_what_is_known() -> None:
    made = account()
    assert dict(made.headers()) == {b"x-gateway-policy": b"v1"}
    lease = served(made)
    made.visit.waited, made.asked = 0.25, made.request.ready + 0.251
    told = dict(made.headers())
    assert told[b"x-gateway-rule"] == b"chat"
    assert (told[b"x-gateway-outcome"], told[b"x-gateway-reason"]) == (b"local", b"local_has_room")
    assert (told[b"x-gateway-backend"], told[b"x-gateway-upstream"]) == (b"gpu", b"w1")
    assert told[b"x-gateway-queue-ms"] == b"250.0"
    assert float(told[b"x-gateway-overhead-ms"]) == pytest.approx(1.0, abs=0.01)
    assert b"x-gateway-cost-usd" not in told
    made.cost = cost_of(lease, USAGE)
    assert dict(made.headers())[b"x-gateway-cost-usd"] == b"0.%06d" % made.cost.micro
    made.cost = Cost(12_000_003, "list")
    assert dict(made.headers())[b"x-gateway-cost-usd"] == b"12.000003"


def test_the_receipt_of_a_spill() -> None:
    made = account(residency=Demand(zones=frozenset()), stream=True)
    lease = served(made, overflow=True)
    made.attempts.append(Attempt("a1", "x", made.request.arrived + 0.002, made.request.arrived + 0.5, "answered", 200))
    made.first_byte = made.request.arrived + 0.1
    made.usage, made.cost = USAGE, cost_of(lease, USAGE)
    receipt = made.receipt()
    assert set(receipt) == KEYS
    assert (receipt["outcome"], receipt["chosen"], receipt["rule"]) == ("spilled", "a1", "chat")
    assert receipt["candidates"][0] == {
        "upstream": "w1",
        "score": 1.0,
        "work": 10,
        "load": 0.95,
        "limit": 1000,
        "queue_depth": 3,
        "gpu": 0.9,
        "age_ms": 250.0,
    }
    assert receipt["attempts"] == [
        {"upstream": "a1", "result": "answered", "status": 200, "at_ms": 2.0, "took_ms": 498.0}
    ]
    assert receipt["times"]["ttft_ms"] == 100.0
    assert receipt["usage"]["cached_tokens"] == 10
    assert json.loads(encode(receipt)) == receipt


def test_outcomes() -> None:
    made = account()
    assert made.outcome == "refused"
    made.fail(FleetSaturated("full"))
    assert (made.outcome, made.receipt()["error"]) == ("refused", "fleet_saturated")
    served(made)
    made.attempts.append(Attempt("w1", "x", 0.0))
    made.fail(UpstreamFailed("broken"))
    assert made.outcome == "failed"
    made.first_byte = 1.0
    assert made.outcome == "local", "it was served, in part"
    made.left = CLIENT_LEFT
    assert made.receipt()["error"] == "client_left"


def test_residency_is_that_of_everyone_who_has_a_say() -> None:
    made = Account(request(residency=Demand(zones=frozenset({"eu"}))), "v1")
    assert made.receipt()["residency"] == ["eu"]
    strict = policy_of(rules=(rule(residency=Demand(local=True)),))
    made.decision = decide(made.request, board(strict), Random(1))
    assert made.receipt()["residency"] == ["local", "eu"]


def test_a_name_that_no_policy_could_give_is_cut() -> None:
    receipt = account(model="x" * 100_000).receipt()
    assert len(receipt["model"]) == 128
    assert len(encode(receipt)) <= MAX_BYTES


def test_past_two_kilobytes_the_chosen_candidate_is_the_last_to_go() -> None:
    made = account()
    lease = served(made, overflow=True)
    name = lease.candidate.upstream.name
    made.visit.looks = {f"w{number}": look(f"w{number}", 9_500_000, 10_000_000) for number in range(30)}
    made.visit.looks[name] = look(name)
    kept = json.loads(encode(made.receipt()))
    assert kept["cut"] is True
    assert len(kept["candidates"]) > 1
    assert kept["candidates"][-1]["upstream"] == name
    assert [row["upstream"] for row in kept["candidates"][:-1]] == [f"w{n}" for n in range(len(kept["candidates"]) - 1)]


def test_a_receipt_tells_the_version_and_the_one_it_should_have_been() -> None:
    made = account()
    lease = served(made)
    assert made.decision is not None
    made.decision = replace(made.decision, version="v2")
    for version, told in (("v2", {"version": "v2"}), ("v1", {"version": "v1", "version_wanted": "v2"})):
        way = replace(lease.candidate.served, version=version)
        made.lease = replace(lease, candidate=lease.candidate._replace(served=way))
        receipt = made.receipt()
        assert {name: value for name, value in receipt.items() if name.startswith("version")} == told
        assert set(receipt) - set(told) == KEYS


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("asked", "outcome", "bought"),
    [((), "refused", False), ((False,), "failed", False), ((True,), "failed", True), ((False, True), "failed", True)],
)
def test_a_request_that_the_end_of_the_process_cuts_off_was_not_served(
    asked: tuple[bool, ...], outcome: str, bought: bool, streamed: bool
) -> None:
    """`asked`: whether each attempt was at a bought API."""
    made = account(stream=streamed)
    there = {True: served(made, overflow=True), False: served(made)}
    for place in asked:
        made.attempts.append(Attempt("w1", "id", 0.0, free=False, result="cancelled", lease=there[place]))
    made.fail(ShuttingDown(retry=False if made.bought else None))
    told = made.receipt()
    assert (told["outcome"], told["error"], told["cost"]) == (outcome, "shutting_down", None)
    assert made.bought is bought
    for one in made.attempts:
        one.free = True
    assert not made.bought
