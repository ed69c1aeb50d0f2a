from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from gateway.model import Model, Price, Served, Snapshot, Spill, SpillOrder
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.forecast import Pace
from tests.worlds import policy, request, rule, state, upstream

UPSTREAMS = (upstream("w", "gpu"), *(upstream(f"{name}-1", name) for name in ("api-in", "api-out", "api-free")))
PRICES = {"api-in": Price.of(0.1, 9.0), "api-out": Price.of(9.0, 0.1), "api-free": None}
MODEL = Model("m", "text", (Served("gpu", "m"), *(Served(name, "m", price) for name, price in PRICES.items())))
LISTED = ["api-in", "api-out", "api-free"]


@pytest.mark.parametrize(
    ("spill_order", "prompt_bytes", "paces", "expected"),
    [
        ("listed", 400, {"api-in": 9.0}, LISTED),
        ("cheapest", 40_000, {}, ["api-in", "api-out", "api-free"]),  # a long prompt
        ("cheapest", 4, {}, ["api-out", "api-in", "api-free"]),  # a long answer
        ("fastest", 400, {}, LISTED),  # nothing learned: as listed
        ("fastest", 400, {"api-in": 2.0, "api-free": 0.5}, ["api-free", "api-out", "api-in"]),
    ],
)
def test_who_is_tried_first(
    spill_order: SpillOrder, prompt_bytes: int, paces: dict[str, float], expected: list[str]
) -> None:
    made = policy(UPSTREAMS, (rule(spill=Spill(tuple(LISTED), order=spill_order)),))
    made = replace(made, models={"m": MODEL})
    learned = {(name, "m"): Pace(first, 1.0) for name, first in paces.items()}
    board = Board(made, Snapshot(100.0, {one.name: state(one) for one in UPSTREAMS}), paces=learned)
    decision = decide(request(prompt_bytes=prompt_bytes), board, Random(1))
    assert [group.backend for group in decision.overflow] == expected
