"""Table tests of the small units: estimate, fields, order."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway.model import Gpus, MediaRate, Price, Rule, Speed, Usage
from gateway.routing.decide import decide
from gateway.routing.estimate import (
    amortised_price,
    estimate,
    expected_price,
    output_tokens,
    price_ceiling,
    price_of,
    prompt_tokens,
    rent,
    work_on,
)
from gateway.routing.fields import NEUTRAL, action, changes_something
from gateway.routing.order import order, spill_reason, why_full
from tests.worlds import PRICE, board, policy, reading, request, rule, state, upstream

WORKER, API = upstream("w", "gpu"), upstream("a", "api")
SERVED = policy().models["m"].served_by


def test_tokens_are_guessed_from_bytes_and_capped_by_the_caller() -> None:
    assert prompt_tokens(request(prompt_bytes=4200)) == 1000
    assert prompt_tokens(request(prompt_bytes=0)) == 1
    assert output_tokens(request(max_tokens=50)) == 50
    assert output_tokens(request(max_tokens=100_000)) == output_tokens(request(max_tokens=None)) == 211
    assert output_tokens(request(max_tokens=50, n=3)) == 150
    assert output_tokens(request(max_tokens=0)) == 0, "embeddings write nothing"


def test_work_is_that_of_the_healthy_batch() -> None:
    """evidence: 0.04 ms per prompt token and 0.185 ms per output token on an H100 with 128 seats."""
    h100 = upstream("h", "gpu", speed=Speed(8.0, 0.06, 0.04), seats=128, limit=10**9)
    assert work_on(h100, request(prompt_bytes=4200, max_tokens=100)) == 1000 * 40 + 100 * 185
    assert work_on(API, request()) == 1


def test_prices() -> None:
    price = Price.of(input_per_1m=1.0, output_per_1m=2.0, per_request=0.5)
    assert price_of(price, 1_000_000, 500_000) == pytest.approx(2.5)
    asked = request(prompt_bytes=4200, max_tokens=100, body=b"x" * 5000)
    assert expected_price(price, asked) == pytest.approx(0.5 + 0.001 + 0.0002)
    ceiling = price_ceiling(price, asked)
    assert ceiling is not None
    assert ceiling >= expected_price(price, asked)
    assert price_ceiling(price, request(max_tokens=None)) is None
    assert price_of(Price(media=(MediaRate("generation", 5 * 10**11),)), 10, 10) == 0.5


def test_an_estimate_is_all_of_these_at_once() -> None:
    local, managed = SERVED
    assert estimate(request(prompt_bytes=4200, max_tokens=50), local)[:4] == (1000, 50, None, None)
    bounded = estimate(asked := request(max_tokens=50), managed)
    assert bounded.price == expected_price(PRICE, asked)
    assert bounded.price_most == price_ceiling(PRICE, asked)
    assert estimate(asked := request(max_tokens=None), managed).price_most == expected_price(PRICE, asked)


@pytest.mark.parametrize(
    ("work", "hourly", "cost"),
    [
        (0, 2.0, 0),
        (1, 2.0, 1),
        (1800, 2.0, 1),
        (1801, 2.0, 2),
        (3_600_000_000, 2.6, 2_600_000),
        (3_600_000_000, 2.0000001, 2_000_001),
    ],
)
def test_gpu_time_is_rent_rounded_up(work: int, hourly: float, cost: int) -> None:
    assert rent(work, hourly) == cost


def test_three_gpus_cost_three_times_what_is_written() -> None:
    hourly = Gpus(count=3, usd_per_hour=2.3).worker_usd_per_hour
    assert hourly == 6.9
    assert rent(3_600_000_000, hourly) == 6_900_000


def test_the_amortised_price_is_work_at_the_workers_hourly_rate() -> None:
    usage = Usage(input_tokens=1000, output_tokens=100)
    one = amortised_price(upstream("w", "gpu", seats=128), usage)
    assert one == 33, "58.5 ms at $2 an hour are 32.5 micro-dollars"
    assert amortised_price(upstream("w", "gpu", usd_per_hour=None), usage) is None


@pytest.mark.parametrize(
    ("name", "value", "changes"),
    [
        ("n", 1, False),
        ("n", 2, True),
        ("service_tier", "auto", False),
        ("service_tier", "flex", True),
        ("store", False, False),
        ("store", True, True),
        ("priority", None, False),
        ("cache_salt", "x", True),
    ],
)
def test_a_field_that_says_the_default_says_nothing(name: str, value: Any, changes: bool) -> None:
    assert changes_something(name, value) is changes


def test_known_fields_have_a_default_action() -> None:
    plain: Rule = rule()
    for name in NEUTRAL:
        assert action(plain, "local", name) == ("pass" if name in ("n", "best_of") else "remove")
        assert action(plain, "managed", name) == ("pass" if name in ("n", "best_of") else "refuse")
    assert action(rule(on_fields={"store": "pass"}), "managed", "store") == "pass"


def test_why_the_fleet_was_full() -> None:
    full = state(WORKER, leased=WORKER.limit, reading=reading(kv=0.5))
    one = decide(request(), board(), Random(1)).primary[0].candidates[0]
    assert why_full([(one, full)], waited=False) == "slo_limit"
    assert why_full([(one, full)], waited=True) == "queue_wait"
    assert why_full([(one, state(WORKER, reading=reading(kv=0.95)))], waited=False) == "kv_pressure"
    assert why_full([(one._replace(outside=one.limit), state(WORKER))], waited=False) == "outside_load"
    assert why_full([], waited=False) == "slo_limit"


def test_a_threshold_that_holds_turns_the_order_round() -> None:
    decision = decide(request(), board(), Random(1))
    assert order(decision) == (decision.primary, decision.overflow)
    spilled = decision.overflow[0]
    assert spill_reason(decision, spilled, "kv_pressure") == "kv_pressure"
    assert price_of(PRICE, 0, 0) == 0
