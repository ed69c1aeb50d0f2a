"""A process dies after any of its writes, and so does the one that goes on: each attempt has one row, nothing is
bought twice, the job has one end and nothing is left held."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from gateway.jobs import running
from gateway.jobs.log import JobLog
from gateway.jobs.record import UNKNOWN_OUTCOME, Job, Try
from gateway.jobs.running import Running
from gateway.jobs.work import Anew, Log, Outcome
from gateway.model import Hold
from gateway.money.till import Till
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT
from tests.jobs.shelves import Site
from tests.money.tills import Clock, held, quota, row, rows
from tests.money.tills import count as counted

TOTAL = quota("tenant acme: usd per total", 10_000, per="total")
MOST, BILL = 300, 120
"""Set aside for an attempt, and what its order costs."""
MOST_CALLS = 60
"""More than a life has."""
DEATHS_OF_THE_NEXT = 12


class Mortal(Store):
    """Its process dies after `left` more calls: they arrived, and nobody hears of what comes after."""

    left = MOST_CALLS

    def __init__(self, url: str) -> None:
        super().__init__(url, timeout=PATIENT)
        self.died = asyncio.Event()

    def call(self, *command: Any, late: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        if self.left <= 0:
            self.died.set()
            return asyncio.get_running_loop().create_future()
        self.left -= 1
        return super().call(*command, late=late)


@dataclass
class Api:
    """`lists`: whether it can be asked for the order of an attempt."""

    lists: bool
    managed: bool = True
    orders: Counter[str] = field(default_factory=Counter)
    """Attempt -> submits."""


@dataclass
class Life:
    """`work.Work` of one process, which does as `JobWork` and `Asking` do."""

    api: Api
    till: Till
    names: count[int]

    async def run(self, job: Job, log: Log) -> Outcome:
        one = log.job.open
        if one is None:
            hold, one = await self._ordered(job, log)
        else:
            hold = await self.till.kept.adopt(one.attempt) or Hold(one.attempt)
        self.till.book(row(one.attempt, MOST, BILL), hold)
        return Outcome("succeeded", tried="answered")

    async def _ordered(self, job: Job, log: Log) -> tuple[Hold, Try]:
        id = f"attempt {next(self.names)}"
        got = await held(self.till, id, (TOTAL, MOST), row=row(id, MOST))
        hold = await self.till.kept.keep(job.id, row(id, MOST), got)
        await log.intent(Try(attempt=id, upstream="u", backend="b", managed=self.api.managed, at=0.0))
        log.may_send()
        self.api.orders[id] += 1
        await log.ticket(f"ticket of {id}")
        assert log.job.open is not None
        return hold, log.job.open

    async def find(self, job: Job, one: Try) -> str | Anew:
        if not self.api.lists:
            return Anew.UNKNOWN
        return f"ticket of {one.attempt}" if self.api.orders[one.attempt] else Anew.NOT_THERE


class World:
    """One job, and processes that work on it one after the other."""

    def __init__(self, url: str, api: Api) -> None:
        self.url, self.api, self.clock, self.names, self.stores = url, api, Clock(), count(), list[Store]()
        self._before = asyncio.all_tasks()

    async def site(self, name: str, left: int = MOST_CALLS) -> tuple[Mortal, Site, Till]:
        store = Mortal(self.url)
        self.stores.append(store)
        await store.check()
        site = Site(store, self.clock)
        site.durable.kind = "always"  # what is on the disk is not what is tried here
        store.left = left
        return store, site, Till(store, name, clock=self.clock.monotonic, store_ms=self.clock.store)

    async def live(self, name: str, left: int) -> bool:
        """Whether this process came to the end of the job before it died."""
        store, site, till = await self.site(name, left)

        async def life() -> None:
            fences = site.fences(name)
            for claim in (await fences.take(1)).claims:
                work = Life(self.api, till, self.names)
                await Running(JobLog(fences, site.durable, claim), work, till.kept).run(claim.left)

        alive, dead = asyncio.create_task(life()), asyncio.create_task(store.died.wait())
        await asyncio.wait({alive, dead}, return_when=asyncio.FIRST_COMPLETED)
        ended = not store.died.is_set()
        alive.cancel()
        dead.cancel()
        await asyncio.wait({alive}, timeout=0)
        self.clock.pass_(20.0)  # it is silent for longer than anything is borne
        return ended

    async def check(self, job: Job) -> None:
        store, site, till = await self.site("the last one", 10_000)
        for _ in range(3):
            await till.tick()
            await site.fences("the last one").take(1)
            self.clock.pass_(2.0)
        await till.kept.sweep(site.shelf.fate)
        ended, ledger, orders = await site.shelf.read(job.id, job.tenant), await rows(store), self.api.orders
        unknown = ended.error is not None and ended.error[0] == UNKNOWN_OUTCOME
        assert ended.state == "succeeded" or (unknown and not self.api.lists and self.api.managed), ended
        assert not self.api.managed or (orders.total() <= 1 and max(orders.values(), default=0) <= 1), orders
        booked = {one["attempt"]: one["reserved"] if one["cost"] is None else one["cost"] for one in ledger}
        assert len(booked) == len(ledger), ledger
        assert {one.attempt for one in ended.tries} <= booked.keys(), (ended.tries, booked)
        assert all(booked[attempt] >= BILL for attempt in orders), (orders, booked)
        used, holding = await counted(till, TOTAL)
        assert (used, holding) == (sum(booked.values()), 0)
        assert await store.call("EXISTS", "gw:{money}:kept", "gw:{money}:slices:kept", "gw:{jobs}:orphans") == 0
        assert await store.call("ZCARD", "gw:{jobs}:deadlines") == 0

    async def aclose(self) -> None:
        """With all that the dead still wait for."""
        while left := asyncio.all_tasks() - self._before:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.01)
        for store in self.stores:
            await store.aclose()


async def lived(url: str, api: Api, *deaths: int) -> bool:
    """A job's whole life, with processes that die after so many calls. Whether the last of them did."""
    world = World(url, api)
    try:
        store, site, _ = await world.site("who accepts")
        await store.call("FLUSHALL")
        job = await site.accept(deadline=world.clock.store() / 1000 + 3000)
        died = False
        for number, left in enumerate(deaths):
            died = not await world.live(f"process {number}", left)
        await world.live("who stays", MOST_CALLS)
        await world.check(job)
        return died
    finally:
        await world.aclose()


APIS = {"listed": Api(lists=True), "bare": Api(lists=False), "ours": Api(lists=False, managed=False)}


@pytest.fixture
def url(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(running, "SETTLE_SECONDS", 0.0)
    return embedded.url


@pytest.mark.parametrize("kind", APIS)
async def test_whoever_dies_after_any_write_leaves_one_row_one_order_and_one_end(url: str, kind: str) -> None:
    api = APIS[kind]
    for first in count(1):
        if not await lived(url, Api(api.lists, api.managed), first):
            break
        for second in range(1, DEATHS_OF_THE_NEXT):
            if not await lived(url, Api(api.lists, api.managed), first, second):
                break
    assert first >= 8
