from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import CLASSES, Decision, Demand, Model, Policy, Price, PriorityClass, Served, Snapshot
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.order import spill_reason
from gateway.routing.worth import LEFT_TO_CHEAP, MEMORY, SPREAD, averaged, is_cheap
from tests.worlds import LIMIT, policy, request, rule, state

CHEAP, DEAR = Price.of(0.10, 0.30), Price.of(1.0, 3.0)
PER_SECOND = {CHEAP: 0.001602, DEAR: 0.01602}
"""USD: (1155 x 0.1 + 211 x 0.3) / 1e6 for 0.11161 GPU-seconds."""


def two_models() -> Policy:
    """Served by the same workers, one ten times as dear to buy."""
    made = policy(rules=(rule(classes={**CLASSES, "batch": PriorityClass(0.5, spill=False)}),))
    models = {
        name: Model(name, "text", (Served("gpu", name), Served("api", name, price)))
        for name, price in (("cheap", CHEAP), ("dear", DEAR))
    }
    return replace(made, models=models)


def decided(model: str, mean: float | None, **asked: object) -> Decision:
    made = two_models()
    snapshot = Snapshot(100.0, {name: state(one) for name, one in made.upstreams.items()})
    board = Board(made, snapshot, worths={} if mean is None else {"chat": mean})
    return decide(request(model=model, **asked), board, Random(1))


@pytest.mark.parametrize(("model", "price"), [("cheap", CHEAP), ("dear", DEAR)])
def test_the_worth_is_that_of_the_model(model: str, price: Price) -> None:
    short, long = decided(model, None), decided(model, None, prompt_bytes=100_000, max_tokens=4)
    assert short.worth == long.worth == pytest.approx(PER_SECOND[price], rel=0.001)


def test_what_is_cheap_to_buy_leaves_the_last_fifth_to_what_is_dear() -> None:
    mean = (PER_SECOND[CHEAP] + PER_SECOND[DEAR]) / 2
    cheap, dear = decided("cheap", mean), decided("dear", mean)
    full = int(LIMIT * CLASSES["standard"].share)
    assert {one.limit for one in cheap.primary[0].candidates} == {
        int(LIMIT * CLASSES["standard"].share * LEFT_TO_CHEAP)
    }
    assert {one.limit for one in dear.primary[0].candidates} == {full}
    assert spill_reason(cheap, cheap.overflow[0], "slo_limit") == "cheaper"
    assert spill_reason(cheap, cheap.overflow[0], "outside_load") == "outside_load"
    assert spill_reason(dear, dear.overflow[0], "slo_limit") == "slo_limit"


def test_what_may_not_leave_has_all_of_its_room() -> None:
    for asked in ({"priority": "batch"}, {"residency": Demand(local=True)}):
        kept = decided("cheap", 1.0, **asked)
        assert (kept.worth, kept.cheap) == (None, False)
    assert not decided("cheap", None).cheap, "before anything is known of the others"


@pytest.mark.parametrize("asked", [{"max_cost": 0.0}, {"max_cost": 1.0}])
def test_nor_does_what_costs_more_than_its_caller_allows(asked: dict[str, float]) -> None:
    cheap, stays = decided("cheap", 1.0, **asked), asked["max_cost"] == 0.0
    full = LIMIT * CLASSES["standard"].share
    assert cheap.cheap is not stays
    assert {one.limit for one in cheap.primary[0].candidates} == {int(full if stays else full * LEFT_TO_CHEAP)}
    assert {one.limit for one in cheap.primary[0].whole().candidates} == {int(full)}


def test_one_price_leaves_nothing_to_choose() -> None:
    mean: float | None = None
    for _ in range(100):
        decision = decided("cheap", mean)
        assert decision.worth is not None
        assert not decision.cheap
        mean = averaged(mean, decision.worth)


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_cheap_is_so_many_times_less(worth: float, mean: float) -> None:
    assert is_cheap(worth, mean) == (worth * SPREAD <= mean)
    assert not is_cheap(None, mean)
    assert not is_cheap(worth, None)
    assert min(worth, mean) <= averaged(mean, worth) <= max(worth, mean) + 1e-9


def test_the_average_follows_the_traffic_and_forgets() -> None:
    mean: float | None = None
    for _ in range(5 * MEMORY):
        mean = averaged(mean, 1.0)
        mean = averaged(mean, 3.0)
    assert mean == pytest.approx(2.0, rel=0.01)
