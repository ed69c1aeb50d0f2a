"""The model's store in Python against the gateway's own script on a real store."""

from __future__ import annotations

from random import Random

import pytest

from gateway.model import Reservation, Spill
from gateway.money.budgets import Budgets
from gateway.store.connection import Store
from loadtests.model.policies.till import Purse


@pytest.mark.parametrize("seed", range(6))
async def test_a_purse_says_what_the_script_says(valkey: Store, seed: int) -> None:
    rng, now = Random(seed), [1_800_000_000]
    bounds = Spill(("api",), rng.choice([None, 0.05, 0.3]), max_share=rng.choice([None, 0.1, 0.4]))
    purse, budgets = Purse(lambda: now[0]), Budgets(valkey, lambda: now[0])
    said = []
    for _ in range(120):
        for _ in range(rng.choice([0, 1, 5])):
            purse.arrived("r")
            budgets.arrived("r")
        usd = rng.choice([0.001, 0.004, 0.02])
        mine, its = await purse.reserve("r", usd, bounds), await budgets.reserve("r", usd, bounds)
        assert mine == its
        if isinstance(mine, Reservation) and isinstance(its, Reservation):
            purse.settle(mine, usd / 2)
            budgets.settle_later(its, its.micro_usd // 2)
            await budgets.aclose()
        said.append(mine if isinstance(mine, str) else "")
        now[0] += rng.choice([0, 1, 20, 70, 600])
    bounded = bounds.max_share is not None or bounds.budget_usd_per_hour is not None
    assert "" in said
    assert (len(set(said)) > 1) is bounded
