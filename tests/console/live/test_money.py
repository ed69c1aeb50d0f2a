"""Money of today, from what the ledger told and what is left of the budgets."""

from __future__ import annotations

from dataclasses import replace

from gateway.console.live.money import budgets, nothing, told
from gateway.model import Quota
from gateway.money.counters import Spent
from gateway.reports.doubts import Doubts
from gateway.reports.elsewhere import Traffic
from gateway.reports.fleet_cost import Fleet
from gateway.reports.gathering import Material
from tests.worlds import policy

BOUGHT = Traffic("m", "api", "managed", requests=2, charged=1_500_000)
LOST = Traffic("m", "api", "managed", requests=1, charged=250_000)
OURS = Traffic("m", "gpu", "local", requests=2, gpu_us=10, charged=70_000)
RENTED = Fleet("gpu", "H100", up=60, priced=60, rate_sum=60 * 2_000_000)


def test_bought_is_all_that_was_charged_and_own_is_the_rent() -> None:
    made = Material((BOUGHT, OURS), (LOST,), {"gpu": RENTED}, Doubts(unreconciled=1, unreconciled_cost=50_000))
    assert told(made, made.saved(policy()))["spent_usd"] == {"managed": 1.8, "own": 2.0}


def test_without_a_rent_own_is_what_was_booked() -> None:
    made = Material((OURS,), (), {})
    assert told(made, made.saved(policy()))["spent_usd"] == {"managed": 0.0, "own": 0.07}


def test_each_backend_costs_its_rent_or_what_was_booked() -> None:
    """Some backends say what an hour costs, others do not: those are not free."""
    others = (replace(OURS, backend="more"), replace(OURS, backend="dark", charged=30_000))
    unpriced = {"gpu": RENTED, "idle": replace(RENTED, backend="idle"), "dark": Fleet("dark", "H100", up=60)}
    made = Material((OURS, others[0]), (others[1],), unpriced)
    assert told(made, made.saved(policy()))["spent_usd"]["own"] == 4.1


def test_nothing_compared_is_nothing_known() -> None:
    made = Material((), (), {})
    assert told(made, made.saved(policy()))["saved_usd"] is None
    assert nothing()["spent_usd"] == {"managed": None, "own": None}


def test_budgets_of_single_keys_are_left_out() -> None:
    team = Quota("team", "usd", 10_000_000, "month")
    usages = [
        Spent(team, "2026-11", 2_500_000, 2_500_000, 0, None),
        Spent(replace(team, name="k", of="key"), "2026-11", 1, 1, 0, None),
    ]
    assert budgets(usages) == [
        {"name": "team", "period": "2026-11", "limit_usd": 10.0, "used_usd": 2.5, "held_usd": 2.5, "left": 0.5}
    ]
