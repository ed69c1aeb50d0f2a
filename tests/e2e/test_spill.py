"""Local first, the bought API when the fleet is full, and a receipt that says why."""

from __future__ import annotations

import math
from collections.abc import Iterator

import httpx
import pytest

from tests.gateways import HASTY, OTHER_KEY, PRICE, Lane, Site

LANES = [
    Lane("spill", workers=2, seats=1),
    Lane("work", workers=1, seats=64, worker={"limit_work_s": 0.05}),
    Lane("patient", seats=1, route={"max_wait": "200ms"}),
    Lane(
        "capped", seats=1, route={"spill": {"backends": ["capped-api"], "budget_usd_per_hour": 0.00015}, "max_wait": 0}
    ),
    Lane("fallback", route={"fallback": ["fallback-api"], "spill": None}),
    Lane("strict"),
]
RECEIPT_BYTES = 2048


@pytest.fixture
def spilled(site: Site) -> Iterator[httpx.Response]:
    with site.occupied("spill", 2):
        yield site.chat("spill", max_tokens=7, ignore_eos=True)
    site.quiet("spill", "spill-api")


def test_a_fleet_with_room_answers_itself(site: Site) -> None:
    answer = site.chat("spill")
    assert answer.status_code == 200
    told = answer.headers
    assert (told["x-gateway-outcome"], told["x-gateway-reason"]) == ("local", "local_has_room")
    assert (told["x-gateway-backend"], told["x-gateway-rule"]) == ("spill", "spill")
    assert told["x-gateway-upstream"] in ("spill-1", "spill-2")
    assert told["x-gateway-policy"]
    assert float(told["x-gateway-queue-ms"]) == 0
    assert 0 <= float(told["x-gateway-overhead-ms"]) < 1000
    receipt = site.receipt(answer)
    assert receipt["cost"]["basis"] == "amortised"
    assert receipt["cost"]["usd"] > 0


def test_a_full_fleet_spills(site: Site, spilled: httpx.Response) -> None:
    assert spilled.status_code == 200
    told = spilled.headers
    assert (told["x-gateway-outcome"], told["x-gateway-reason"]) == ("spilled", "slo_limit")
    assert (told["x-gateway-backend"], told["x-gateway-upstream"]) == ("spill-api", "spill-api")
    usage = spilled.json()["usage"]
    price = usage["prompt_tokens"] * PRICE["input_per_1m"] + usage["completion_tokens"] * PRICE["output_per_1m"]
    assert told["x-gateway-cost-usd"] == f"{math.ceil(price) / 1e6:.6f}"


def test_the_receipt_of_a_spill_says_why(site: Site, spilled: httpx.Response) -> None:
    receipt = site.receipt(spilled)
    seen = {candidate["upstream"]: candidate for candidate in receipt["candidates"]}
    assert seen.keys() == {"spill-1", "spill-2", "spill-api"}
    for name in ("spill-1", "spill-2"):
        assert seen[name]["load"] >= 0.9
        assert seen[name]["queue_depth"] == 0
        assert 0 <= seen[name]["gpu"] <= 1
        assert 0 <= seen[name]["age_ms"] < 5000
        assert seen[name]["limit"] > 0
    assert (receipt["outcome"], receipt["reason"], receipt["chosen"]) == ("spilled", "slo_limit", "spill-api")
    assert [(a["upstream"], a["result"], a["status"]) for a in receipt["attempts"]] == [("spill-api", "answered", 200)]
    assert (receipt["usage"]["output_tokens"], receipt["usage"]["estimated"]) == (7, False)
    assert receipt["cost"]["basis"] == "list"
    assert receipt["cost"]["usd"] == pytest.approx(float(spilled.headers["x-gateway-cost-usd"]), abs=1e-8)
    assert (receipt["tenant"], receipt["model"], receipt["rule"]) == ("acme", "spill", "spill")
    assert receipt["policy"] == spilled.headers["x-gateway-policy"]
    assert receipt["times"]["ttft_ms"] is None, "of a whole answer nobody sees the first token"
    assert receipt["times"]["total_ms"] > 0


def test_a_receipt_is_small_and_for_its_tenant_only(site: Site, spilled: httpx.Response) -> None:
    site.receipt(spilled)
    path = f"/v1/gateway/receipts/{spilled.headers['x-request-id']}"
    assert len(site.http.get(path).content) <= RECEIPT_BYTES
    other = site.http.get(path, headers={"Authorization": f"Bearer {OTHER_KEY}"})
    unknown = site.http.get("/v1/gateway/receipts/0123456789abcdef0123456789abcdef")
    assert (other.status_code, unknown.status_code) == (404, 404)
    assert other.json() == unknown.json()


def test_a_refused_request_has_a_receipt_with_what_was_looked_at(site: Site) -> None:
    with site.occupied("spill", 2):
        refused = site.chat("spill", HASTY, service_tier="flex")  # the API may not get it, and the fleet is full
    assert refused.status_code == 429
    receipt = site.receipt(refused)
    assert (receipt["outcome"], receipt["error"], receipt["chosen"]) == ("refused", "fleet_saturated", None)
    assert {candidate["upstream"] for candidate in receipt["candidates"]} == {"spill-1", "spill-2"}
    assert receipt["drops"] == {"fields": 1}


def test_a_limit_of_work_spills_long_before_the_seats_are_taken(site: Site) -> None:
    with site.occupied("work", 1):
        assert site.fleet.state("work-1")["running"] == 1
        answer = site.chat("work", max_tokens=200)
    assert (answer.headers["x-gateway-outcome"], answer.headers["x-gateway-reason"]) == ("spilled", "slo_limit")


def test_a_wait_before_the_spill_is_shown(site: Site) -> None:
    with site.occupied("patient"):
        answer = site.chat("patient")
    assert (answer.headers["x-gateway-outcome"], answer.headers["x-gateway-reason"]) == ("spilled", "queue_wait")
    assert float(answer.headers["x-gateway-queue-ms"]) >= 200


def test_a_spent_budget_does_not_spill(site: Site) -> None:
    """About $0.0001 each: the budget of an hour buys one of these requests, and not a second one."""
    with site.occupied("capped"):
        answers = [site.chat("capped", max_tokens=100, ignore_eos=True) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert len(site.fleet.requests("capped-api")) == 1
    receipt = site.receipt(answers[1])
    assert (receipt["outcome"], receipt["reason"], receipt["kept_by"]) == ("refused", "budget", "budget")
    assert site.metric("gateway_spill_kept_total", rule="capped", bound="budget") == 2


def test_fallback_only_where_the_rule_names_it(site: Site) -> None:
    site.fleet.config("fallback-1", die=True)
    site.fleet.config("strict-1", die=True)
    helped = site.chat("fallback")
    assert helped.status_code == 200
    assert (helped.headers["x-gateway-outcome"], helped.headers["x-gateway-reason"]) == (
        "fallback",
        "no_healthy_worker",
    )
    refused = site.chat("strict")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_capacity")
    assert int(refused.headers["retry-after"]) >= 1
    assert site.fleet.requests("strict-api") == []
