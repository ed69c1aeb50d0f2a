"""Body fields that change price, scheduling or retention: passed, removed or refused, never unseen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateways import Lane, Site

LANES = [
    Lane("home"),
    Lane("bought", route={"backends": ["bought-api"], "spill": None}),
    Lane("worded", route={"fields": {"n": "refuse", "store": "pass"}}),
]


def test_n_is_passed_and_counted(site: Site) -> None:
    answer = site.chat("home", n=3, max_tokens=2, ignore_eos=True)
    assert len(answer.json()["choices"]) == 3
    receipt = site.receipt(answer)
    assert receipt["removed"] == []
    assert receipt["usage"]["output_tokens"] == 6


def test_towards_our_own_workers_they_are_removed_and_named(site: Site) -> None:
    answer = site.chat("home", service_tier="flex", store=True, cache_salt="x", priority=0)
    assert answer.status_code == 200
    assert set(site.receipt(answer)["removed"]) == {"service_tier", "store", "cache_salt"}


@pytest.mark.parametrize("field", [{"service_tier": "flex"}, {"store": True}, {"kv_transfer_params": {}}], ids=str)
def test_towards_a_bought_api_they_are_refused(site: Site, field: dict[str, Any]) -> None:
    before = len(site.fleet.requests("bought-api"))
    answer = site.chat("bought", **field)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert answer.json()["error"]["param"] == next(iter(field))
    assert len(site.fleet.requests("bought-api")) == before


@pytest.mark.parametrize("field", [{"service_tier": "auto"}, {"store": False}, {"store": None}, {"n": 2}], ids=str)
def test_neutral_values_and_priced_fields_reach_a_bought_api(site: Site, field: dict[str, Any]) -> None:
    answer = site.chat("bought", **field)
    assert (answer.status_code, answer.headers["x-gateway-outcome"]) == (200, "managed")


def test_a_rule_has_the_last_word(site: Site) -> None:
    refused = site.chat("worded", n=2)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")
    passed = site.chat("worded", store=True)
    assert passed.status_code == 200
    assert site.receipt(passed)["removed"] == []
