"""Recorded receipts: told as stories, and taken apart into requests again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.model import Match, Tenant
from gateway.rehearsal.ending import rehearse
from gateway.rehearsal.receipt_shape import as_receipt
from gateway.rehearsal.recorded import rebuilt, story_of
from gateway.rehearsal.world import ask
from gateway.routing.estimate import output_tokens, prompt_tokens
from tests.worlds import policy, rule

RAW: dict[str, Any] = {
    "id": "abc",
    "time": 1767614400.5,
    "tenant": "local",
    "model": "m",
    "policy": "v1",
    "rule": "chat",
    "residency": [],
    "candidates": [
        {"upstream": "w1", "score": 1.0, "work": 24000, "load": 1.02, "limit": 900000, "queue_depth": 9, "gpu": 0.97,
         "age_ms": 120.0},
        {"upstream": "w2", "score": 1.0, "work": 24000, "load": 1.0, "limit": 900000, "queue_depth": None, "gpu": None,
         "age_ms": None},
        {"upstream": "a1", "score": 0.9, "work": 1, "load": 0.0, "limit": 1000, "queue_depth": None, "gpu": None,
         "age_ms": None},
    ],
    "drops": {},
    "chosen": "a1",
    "attempts": [{"upstream": "a1", "result": "ok", "status": 200, "at_ms": 1.5, "took_ms": 600.0}],
    "outcome": "spilled",
    "reason": "slo_limit",
    "spill_when": None,
    "removed": ["store"],
    "error": None,
    "usage": {"input_tokens": 300, "output_tokens": 120, "cached_tokens": 0, "estimated": False},
    "cost": {"usd": 0.000165, "basis": "list"},
    "forecast": {"first_ms": 450.0, "total_ms": 2450.0, "output_tokens": 100, "usd": 0.0001},
    "times": {"queue_ms": 0.0, "overhead_ms": 0.5, "ttft_ms": 430.0, "total_ms": 602.0},
}  # fmt: skip
RECEIPT = as_receipt(RAW)


def test_an_answer_in_one_piece_has_no_first_token_to_compare() -> None:
    took = {"total_ms": 602.0, "ttft_ms": None}
    (line,) = [one for one in story_of(policy(), {**RECEIPT, "times": took}).notes if one.startswith("took: ")]
    assert line == "took: total 602 ms"


def test_a_receipt_is_told_as_a_story() -> None:
    story = story_of(policy(), RECEIPT)
    assert story.result == {
        "outcome": "spilled", "backend": "api", "upstream": "a1", "reason": "slo_limit", "rule": "chat", "status": 200,
    }  # fmt: skip
    assert [row["backend"] for row in story.upstreams] == ["gpu", "gpu", "api"]
    assert story.upstreams[0]["after"] == pytest.approx(1.02 + 24000 / 900000)
    assert story.notes == (
        "policy: v1",
        "loads and limits are those of the request's class, as they were recorded",
        "asked a1 at 1.5 ms: ok, status 200, 600 ms",
        "removed from the request: store",
        "usage: 300 tokens in, 120 out",
        "cost: $0.000165 (list)",
        "expected: first token in 450 ms, all of it in 2450 ms",
        "took: queue 0 ms, overhead 0.5 ms, ttft 430 ms, total 602 ms",
    )
    json.dumps(story.as_data())


def test_a_refusal_keeps_its_status_and_another_version_is_named() -> None:
    refused = {**RECEIPT, "outcome": "refused", "error": "fleet_saturated", "chosen": None, "policy": "v0"}
    story = story_of(policy(), refused)
    assert (story.result["status"], story.result["code"]) == (429, "fleet_saturated")
    assert story.notes[0] == "policy: v0 (this folder is v1)"
    assert story_of(policy(), {**refused, "error": "client_left", "outcome": "left"}).result["status"] == 499


def test_a_request_is_made_again_from_what_is_known() -> None:
    made = rebuilt(policy(), {**RECEIPT, "residency": ["local", "eu"]})
    assert made is not None
    assert made.missing == ()
    asked = ask(policy(), made.request)
    assert (asked.model, asked.max_tokens, asked.residency.local, asked.residency.zones) == ("m", 120, True, {"eu"})
    assert prompt_tokens(asked) == pytest.approx(300, abs=15)
    assert output_tokens(asked) == 120
    world = made.world(policy())
    assert world.snapshot.at == RECEIPT["time"]
    reading = world.state("w1").reading
    assert reading is not None
    assert (reading.waiting, reading.gpu) == (9, 0.97)


def test_and_is_decided_as_it_was() -> None:
    made = rebuilt(policy(), RECEIPT)
    assert made is not None
    assert rehearse(made.world(policy()), made.request)["outcome"] == "spilled"
    free = [{**one, "load": 0.1} for one in RECEIPT["candidates"]]
    made = rebuilt(policy(), {**RECEIPT, "candidates": free})
    assert made is not None
    assert rehearse(made.world(policy()), made.request)["outcome"] == "local"


def test_who_is_not_on_the_receipt_and_must_have_been_down_is_down() -> None:
    only = {**RECEIPT, "candidates": RECEIPT["candidates"][1:], "drops": {"health": 1}}
    made = rebuilt(policy(), only)
    assert made is not None
    assert not made.fleet["w1"].healthy
    assert made.missing == ()
    unclear = rebuilt(policy(), {**only, "drops": {"health": 2}})
    assert unclear is not None
    assert unclear.missing == ("which upstreams were down",)


def test_its_tenant_is_asked_for_where_the_folder_has_it() -> None:
    base = policy(rules=(rule("gold", match=Match(tenant=("acme",))), rule()))
    acme = replace(base, tenants={"acme": Tenant("acme")})
    made = rebuilt(acme, {**RECEIPT, "tenant": "acme"})
    assert made is not None
    assert rehearse(made.world(acme), made.request)["rule"] == "gold"


@pytest.mark.parametrize("left_out", sorted(RECEIPT))
def test_a_receipt_that_was_cut_is_told_all_the_same(left_out: str) -> None:
    cut = {name: value for name, value in RECEIPT.items() if name != left_out} | {"cut": True}
    assert "the receipt was cut to 2 KB: not all of it is here" in story_of(policy(), cut).notes
    made = rebuilt(policy(), cut)
    assert (made is None) is (left_out == "model")


def test_second_attempts_are_told() -> None:
    attempts = [
        {"upstream": "w1", "result": "lost", "status": None, "at_ms": 1.0, "took_ms": 60.0, "usd": 0.0001},
        {"upstream": "w2", "result": "broke_off", "status": 200, "at_ms": 50.0, "took_ms": 30.0, "role": "hedge"},
        {"upstream": "w3", "result": "rescued", "status": 200, "at_ms": 80.0, "took_ms": 90.0, "role": "rescue"},
    ]
    notes = story_of(policy(), as_receipt({**RECEIPT, "attempts": attempts})).notes
    assert [note for note in notes if note.startswith("asked")] == [
        "asked w1 at 1 ms: lost, 60 ms, $0.0001",
        "asked w2 at 50 ms as a hedge: broke_off, status 200, 30 ms",
        "asked w3 at 80 ms as a rescue: rescued, status 200, 90 ms",
    ]
