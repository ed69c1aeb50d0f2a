"""What a board remembers, and that callers cannot make it remember without end."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest

from gateway.errors import GatewayError
from gateway.model import Demand, Model
from gateway.routing import board as boards
from gateway.routing.board import remember
from gateway.routing.decide import decide
from gateway.routing.plan import plan_of
from tests.worlds import ZONES, board, policy, request, rule


def test_requests_that_ask_alike_share_a_plan_whatever_their_size() -> None:
    made = board()
    plan = plan_of(request(), made)
    assert plan_of(request(id="r2", prompt_bytes=9, max_tokens=None, body=b"x", max_cost=0.0), made) is plan
    assert plan_of(request(stream=True), made) is not plan


def test_a_model_that_the_policy_does_not_know_leaves_nothing_behind() -> None:
    made = board()
    for number in range(10):
        with pytest.raises(GatewayError):
            decide(request(model=f"no-such-{number}"), made, Random(1))
    assert not made.courses


def test_a_full_memo_starts_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MAX_REMEMBERED", 3)
    memo: dict[int, int] = {}
    for number in range(8):
        assert remember(memo, number, -number) == -number
        assert memo[number] == -number
        assert len(memo) <= 3


def test_callers_who_combine_zones_at_will_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MAX_REMEMBERED", 4)
    made = board()
    zones = [frozenset(chosen) for size in range(4) for chosen in combinations(sorted(ZONES), size)]
    for chosen in zones:
        plan = plan_of(request(residency=Demand(zones=chosen)), made)
        assert plan.demand.zones == chosen, "forgetting changes nothing"
    assert max(len(made.courses), len(made._pools), len(made._permits)) <= 4


def test_a_backend_that_does_not_serve_the_model_has_an_empty_pool() -> None:
    made, model = board(), Model("other", "text", policy().models["m"].served_by[1:])
    (pool,) = made.pools(model, "gpu", Demand(), "chat/completions", rule())
    assert (pool.states, pool.drops, pool.kind) == ((), {"capability": 2}, "local")
