"""Golden cases against what is decided."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.model import Model, Served, Spill
from gateway.policy.case_schema import Case
from gateway.rehearsal.golden import judge
from gateway.rehearsal.world import NOON, world_of_case
from tests.worlds import policy, rule

REQUEST = {"path": "/v1/chat/completions", "body": {"model": "m", "messages": [], "max_tokens": 5}}
FULL = {"w1": {"load": 1.05}, "w2": {"load": 1.05}}


def case(**parts: Any) -> Case:
    return Case.model_validate({"name": "a case", "request": REQUEST, "expect": {"status": 200}, **parts}, strict=False)


PASSING: list[dict[str, Any]] = [
    {"expect": {"outcome": "local", "backend": "gpu", "rule": "chat", "status": 200}},
    {"fleet": FULL, "expect": {"outcome": "spilled", "upstream": "a1", "reason": "slo_limit"}},
    {"fleet": {"w2": {"healthy": False}}, "expect": {"upstream": "w1", "drops": {"w2": "health"}}},
    {"fleet": {"w2": {"drained": True}}, "expect": {"upstream": "w1", "drops": {"w2": "drained"}}},
    {"expect": {"candidates": ("w2", "a1", "w1")}},
    {"request": {**REQUEST, "headers": {"X-Data-Residency": "eu, de"}}, "expect": {"residency": ("eu", "de")}},
    {"expect": {"max_wait": 0, "waits": False}},
    {"fleet": FULL, "request": {"body": REQUEST["body"]}, "expect": {"outcome": "spilled"}},
]


@pytest.mark.parametrize("parts", PASSING, ids=[str(row["expect"]) for row in PASSING])
def test_a_case_that_holds(parts: dict[str, Any]) -> None:
    verdict = judge(policy(), case(**parts))
    assert verdict.wrong == {}
    assert verdict.row()["passed"] is True


def test_a_case_says_which_version_serves_it() -> None:
    served = (Served("gpu", "m-1", version="v1"),)
    versions = policy(rules=(rule(spill=None),), models={"m": Model("m", "text", served)})
    assert judge(versions, case(expect={"version": "v1"})).wrong == {}
    assert judge(versions, case(expect={"version": "v2"})).wrong == {"version": ("v2", "v1")}
    assert judge(policy(), case(expect={"version": "v1"})).wrong == {"version": ("v1", None)}


def test_a_case_says_whether_it_waits() -> None:
    patient = policy(rules=(rule(max_wait=20.0),))
    assert judge(patient, case(fleet=FULL, expect={"outcome": "local", "waits": True})).wrong == {}
    assert judge(patient, case(expect={"waits": True})).wrong == {"waits": (True, False)}


def test_what_is_wrong_is_told_key_by_key() -> None:
    verdict = judge(policy(), case(fleet=FULL, expect={"outcome": "local", "drops": {"a1": "health"}, "status": 200}))
    assert verdict.wrong == {"outcome": ("local", "spilled"), "drops": ({"a1": "health"}, {"a1": None})}
    assert verdict.row()["diff"]["outcome"] == {"expected": "local", "found": "spilled"}


def test_when_it_happens() -> None:
    """2026-01-05T03:00:00+01:00 is 02:00 UTC of that Monday."""
    assert world_of_case(policy(), case()).snapshot.at == NOON
    assert world_of_case(policy(), case(at="2026-01-05T03:00:00+01:00")).snapshot.at == NOON - 10 * 3600


@pytest.mark.parametrize("at", ["2026-01-05T03:00:00", "monday", 3, None])
def test_a_time_without_its_offset_is_no_time(at: Any) -> None:
    if at is None:
        assert case(at=at).at is None
    else:
        with pytest.raises(ValueError, match="with its offset"):
            case(at=at)


def test_money_that_is_spent() -> None:
    made = policy(rules=(rule(spill=Spill(("api",), budget_usd_per_hour=2.0)),))
    assert judge(made, case(fleet=FULL, spent_usd=2.0, expect={"status": 429, "code": "fleet_saturated"})).wrong == {}
    assert judge(made, case(fleet=FULL, spent_usd=1.0, expect={"outcome": "spilled"})).wrong == {}
