"""Who hears of budgets: each share once in a period over all replicas, also where one of them dies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from gateway.model import Hold, Quota
from gateway.money.alarms import PENDING_SECONDS, PORTION, Alarms
from gateway.money.till import Till
from gateway.store.connection import Store
from tests.polling import until
from tests.worlds import policy

HOOK = "https://hooks.example.com/secret-path"
DAILY = Quota("budget daily", "usd", 1_000, "day", warn_at=(50, 80, 100), webhook=HOOK)
NOON = 1_800_000_000
DAY = 86_400


@dataclass
class Place:
    """Two replicas before one store, and what their webhook got."""

    alarms: list[Alarms]
    tills: list[Till]
    now: list[int]
    got: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)
    takes: bool = True

    async def spend(self, amount: int, quota: Quota = DAILY) -> None:
        hold = await self.tills[0].hold(f"a{len(self.got)}", [(quota, amount)])
        assert isinstance(hold, Hold)
        self.tills[0].give(hold, lambda _: amount)
        await self.tills[0].flush()

    async def look(self) -> list[int]:
        """Everybody looks; which shares were told since the last time."""
        before = len(self.got)
        for one in self.alarms:
            await one.look()
            await until(lambda one=one: not one._tasks)  # type: ignore[misc]
        return [int(str(body["percent"])) for _, _, body in self.got[before:]]


@asynccontextmanager
async def place(store: Store, *quotas: Quota) -> AsyncIterator[Place]:
    made = Place([], [], [NOON])

    async def post(url: str, id: str, body: bytes) -> bool:
        told = json.loads(body)
        made.got.append((url, id, told["data"]))
        return made.takes

    for name in ("one", "two"):
        till = Till(store, name, store_ms=lambda: made.now[0] * 1000)
        made.tills.append(till)
        made.alarms.append(
            Alarms(till, store, lambda: policy(quotas=quotas or (DAILY,)), post, now=lambda: float(made.now[0]))
        )
    yield made
    for one in made.alarms:
        await one.aclose()
    for till in made.tills:
        await till.aclose()


async def test_each_share_once_over_all_replicas(valkey: Store) -> None:
    async with place(valkey) as made:
        await made.spend(400)
        assert await made.look() == []
        await made.spend(100)
        assert await made.look() == [50]
        assert await made.look() == []
        await made.spend(500)
        assert await made.look() == [80, 100]
        assert await made.look() == []
        assert len({id for _, id, _ in made.got}) == 3
        assert {url for url, _, _ in made.got} == {HOOK}
        body = made.got[-1][2]
        assert (body["cap_usd"], body["used_usd"], body["period"]) == ("0.001", "0.001", "2027-01-15")
        made.now[0] += DAY
        assert await made.look() == [], "a new day"
        await made.spend(600)
        assert await made.look() == [50]


async def test_what_nobody_took_is_sent_again(valkey: Store) -> None:
    async with place(valkey) as made:
        await made.spend(500)
        made.takes = False
        assert await made.look() == [50]
        keys = await valkey.call("KEYS", "gw:{money}:told:*")
        assert 0 < await valkey.call("TTL", keys[0]) <= PENDING_SECONDS
        await valkey.call("DEL", keys[0])
        assert await made.look() == [], "whoever saw the key waits for its end"
        made.now[0] += PENDING_SECONDS
        made.takes = True
        assert await made.look() == [50]
        assert made.got[0][1] == made.got[1][1], "the same message"
        assert await valkey.call("TTL", keys[0]) > PENDING_SECONDS


async def asked(store: Store) -> int:
    """How often somebody asked for a share, so far."""
    told: bytes = await store.call("INFO", "commandstats")
    stats = dict(line.split(":", 1) for line in told.decode().split() if line.startswith("cmdstat_"))
    return sum(int(stats.get(f"cmdstat_{name}", "calls=0").split("=")[1].split(",")[0]) for name in ("set", "ttl"))


async def test_what_was_told_is_not_asked_for_again_in_its_period(valkey: Store) -> None:
    async with place(valkey) as made:
        await made.spend(1_000)
        assert await made.look() == [50, 80, 100]
        await made.look()
        before = await asked(valkey)
        for _ in range(3):
            assert await made.look() == []
        assert await asked(valkey) == before
        made.now[0] += DAY
        await made.look()
        assert [one._quiet for one in made.alarms] == [{}, {}], "nor remembered beyond it"


async def test_many_budgets_are_looked_at_in_portions(valkey: Store) -> None:
    many = tuple(replace(DAILY, name=f"budget {number}") for number in range(2 * PORTION + 1))
    async with place(valkey, *many) as made:
        await made.spend(1_000, many[-1])
        assert await made.look() == [50, 80, 100]
        assert len(made.alarms[0].ratios()) == len(many)


async def test_a_hard_budget_that_refuses_is_used_up(valkey: Store) -> None:
    async with place(valkey) as made:
        await made.spend(900)
        made.alarms[0].refused(DAILY)
        assert await made.look() == [50, 80, 100]


@pytest.mark.parametrize("without", [{"webhook": None}, {"warn_at": ()}])
async def test_nobody_is_told_who_does_not_want_to_hear(valkey: Store, without: dict[str, None]) -> None:
    async with place(valkey, replace(DAILY, **without)) as made:  # type: ignore[arg-type]
        await made.spend(1_000)
        assert await made.look() == []
        assert made.alarms[0].ratios() == {"budget daily": 0.0}


async def test_a_soft_one_is_past_until_its_period_ends(valkey: Store) -> None:
    soft = replace(DAILY, hard=False)
    async with place(valkey, soft) as made:
        assert not made.alarms[1].past(soft)
        await made.spend(1_200, soft)
        await made.look()
        assert made.alarms[1].past(soft), "this replica never asked for it"
        assert made.alarms[0].past(soft)
        made.now[0] += DAY
        assert not made.alarms[1].past(soft)


async def test_a_soft_one_is_past_no_longer_than_its_money_is_set_aside(valkey: Store) -> None:
    """Also where nobody draws on it any more, because it is past."""
    soft = replace(DAILY, hard=False)
    async with place(valkey, soft) as made:
        hold = await made.tills[0].hold("a", [(soft, 1_200)])
        assert isinstance(hold, Hold)
        assert made.alarms[0].past(soft), "with the request itself"
        await made.look()
        assert [one.past(soft) for one in made.alarms] == [True, True]
        made.tills[0].give(hold, lambda _: 10)
        await made.tills[0].tick()
        await made.tills[0].aclose()
        await made.look()
        assert [one.past(soft) for one in made.alarms] == [False, False]
        assert isinstance(await made.tills[0].hold("b", [(soft, 1_200)]), Hold)
        assert made.alarms[0].past(soft), "newer than the look"


async def test_ratios_of_keys_are_nobodys_metric(valkey: Store) -> None:
    async with place(valkey, replace(DAILY, of="key")) as made:
        await made.look()
        assert made.alarms[0].ratios() == {}


def test_the_address_is_in_no_repr() -> None:
    assert "secret-path" not in repr(DAILY)
