"""Money of today, from what the ledger told and what is left of the budgets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.console.live import money
from gateway.console.live.feed import Feed, Source
from gateway.console.live.money import LEAST_SECONDS, PATIENCE, Money, budgets, nothing, told
from gateway.edge.services import Services
from gateway.errors import NoCapacity, NotFound
from gateway.model import Quota
from gateway.money.counters import Spent
from gateway.reports.doubts import Doubts
from gateway.reports.elsewhere import Traffic
from gateway.reports.fleet_cost import Fleet
from gateway.reports.gathering import Material
from tests.console.live.test_feed import TICK, Counting, taken
from tests.polling import until
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


class Reader:
    """The ledger, as slow as a test wants it."""

    def __init__(self, *, kept: bool = True) -> None:
        self.answers, self.kept, self.away, self.asked = asyncio.Event(), kept, False, 0

    async def material(self, _ask: Any) -> Material:
        self.asked += 1
        if not self.kept:
            raise NotFound("this gateway keeps no ledger")
        if self.away:
            raise NoCapacity("the ledger is away")
        await self.answers.wait()
        return Material((BOUGHT,), (), {})


def asking(reader: Reader) -> Money:
    return Money(cast("Services", SimpleNamespace(desk=reader, policy=policy())), dict)


async def test_the_first_that_a_viewer_hears_of_money_is_money() -> None:
    """And it hears of all else before, however long the ledger takes."""
    reader, others = Reader(), Counting()
    spent = asking(reader)
    feed = Feed([Source("money", spent.today, ticks=2), Source("status", others.make)], TICK)
    viewer = feed.join()
    heard = await taken(viewer)
    await until(lambda: others.asked > 5)
    heard += await taken(viewer)
    assert {kind for kind, _ in heard} == {"status"}
    reader.answers.set()
    heard = []
    while not (told := [data for kind, data in heard if kind == "money"]):
        heard += await taken(viewer)
    assert (told[0]["spent_usd"]["managed"], reader.asked) == (1.5, 1)
    await feed.aclose()
    await spent.aclose()


async def test_without_an_answer_budgets_are_told_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(money, "PATIENCE", 0.02)
    slow, none = asking(Reader()), asking(Reader(kept=False))
    for one in (slow, none):
        assert await one.today() is None
        await until_told(one)
        assert await one.today() == await one.today() | nothing()
        await one.aclose()


async def test_who_comes_after_a_while_is_not_told_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    reader.answers.set()
    spent, clock = asking(reader), money.time.monotonic
    await until_told(spent)
    reader.answers.clear()
    monkeypatch.setattr(money.time, "monotonic", lambda: clock() + LEAST_SECONDS + 1)
    assert (await spent.today() or {})["spent_usd"]["managed"] == 1.5, "it is asked again, and this is of just now"
    reader.answers.set()
    await until(lambda: spent._asking is None)
    reader.answers.clear()
    monkeypatch.setattr(money.time, "monotonic", lambda: clock() + 4 * LEAST_SECONDS)
    assert await spent.today() is None, "of then"
    monkeypatch.setattr(money.time, "monotonic", lambda: clock() + 4 * LEAST_SECONDS + PATIENCE)
    assert await spent.today() == await spent.today() | nothing(), "rather unknown than old"
    await spent.aclose()


async def test_a_ledger_that_has_just_begun_is_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(money, "RETRY_SECONDS", 0.01)
    reader = Reader()
    reader.away = True
    spent = asking(reader)
    assert await spent.today() is None
    await until(lambda: spent._asking is None)
    reader.away = False
    reader.answers.set()
    await until_told(spent)
    assert (await spent.today() or {})["spent_usd"]["managed"] == 1.5
    await spent.aclose()


async def until_told(one: Money) -> None:
    async with asyncio.timeout(5):
        while await one.today() is None:  # noqa: ASYNC110  # it is asked, as the feed does
            await asyncio.sleep(0.002)
