"""Three replicas and any order of taking, settling, dying, pausing, losing answers and asking for more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from gateway.errors import StoreFault
from gateway.model import Hold, Quota
from gateway.money import till as tills
from gateway.money.counters import Spent
from gateway.money.till import Till
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT
from tests.money.tills import NOON, Clock, Faulty, quota, row, rows

T = TypeVar("T")
TOTAL = quota("tenant a: usd per total", 3000, per="total")
DAY = quota("tenant a: usd per day", 2000)
SOFT = quota("budget soft", 500, per="month", hard=False)
REQUESTS = quota("key k: requests_per_minute", 300, per="minute", unit="requests")
SEATS = quota("key k: concurrent", 4, per="total", unit="concurrent")
QUOTAS = (TOTAL, DAY, SOFT, REQUESTS, SEATS)
HARD = (TOTAL, DAY, REQUESTS, SEATS)
USD = (TOTAL, DAY, SOFT)
REPLICAS = st.integers(0, 2)
LONGEST = 12.0
"""Longer than a slice lasts, and than it takes to be found dead."""


@dataclass
class Attempt:
    """What the provider bills for it is `bill`, known once it is over; until then it may be all of it."""

    id: str
    amount: int
    wanted: tuple[tuple[Quota, int], ...]
    replica: int
    hold: Hold
    bill: int | None = None


class Machine(RuleBasedStateMachine):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.names = 0
        self.attempts: list[Attempt] = []
        self.wanted: dict[str, tuple[tuple[Quota, int], ...]] = {}
        """Of all that were asked for: the store may grant one of which no replica hears."""
        self.run(self._begin())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def _begin(self) -> None:
        self.stores = [Faulty(self.url, timeout=PATIENT) for _ in range(3)]
        for store in self.stores:
            await store.check()
        await self.stores[0].call("FLUSHALL")
        self.tills = [self._till(index) for index in range(3)]

    def _till(self, index: int) -> Till:
        self.names += 1
        return Till(self.stores[index], f"r{self.names}", clock=self.clock.monotonic, store_ms=self.clock.store)

    @rule(
        replica=REPLICAS, amount=st.integers(0, 900), of=st.sets(st.sampled_from(USD), min_size=1), told=st.booleans()
    )
    def attempt(self, replica: int, amount: int, of: set[Quota], told: bool) -> None:
        wanted = tuple((one, amount) for one in USD if one in of)
        self._hold(replica, amount, wanted, told)

    @rule(replica=REPLICAS, amount=st.integers(1, 5), times=st.integers(1, 8))
    def small_attempts(self, replica: int, amount: int, times: int) -> None:
        for _ in range(times):
            self._hold(replica, amount, tuple((one, amount) for one in USD), told=True)

    @rule(replica=REPLICAS)
    def request(self, replica: int) -> None:
        self._hold(replica, 0, ((REQUESTS, 1), (SEATS, 1)), told=False)

    def _hold(self, replica: int, amount: int, wanted: tuple[tuple[Quota, int], ...], told: bool) -> None:
        self.names += 1
        id, till = f"attempt {self.names}", self.tills[replica]
        self.wanted[id] = wanted

        async def hold() -> Any:
            try:
                got = await till.hold(id, wanted, row(id, amount) if told else None)
            except StoreFault:
                return None
            await asyncio.sleep(0)  # what is told with this turn's pipeline
            return got

        if isinstance(got := self.run(hold()), Hold):
            self.attempts.append(Attempt(id, amount, wanted, replica, got))

    @precondition(lambda self: any(one.bill is None for one in self.attempts))
    @rule(data=st.data(), part=st.floats(0, 1))
    def settle(self, data: st.DataObject, part: float) -> None:
        one = data.draw(st.sampled_from([one for one in self.attempts if one.bill is None]))
        self._settle(one, int(one.amount * part))

    def _settle(self, one: Attempt, bill: int) -> None:
        one.bill = bill
        if one.wanted[0][0].unit == "usd":
            self.tills[one.replica].book(row(one.id, one.amount, bill), one.hold)
        else:
            self.tills[one.replica].give(one.hold, lambda _: 1)

    @rule(replica=REPLICAS)
    def flush(self, replica: int) -> None:
        self.run(self.tills[replica].flush())

    @rule(replica=REPLICAS)
    def tick(self, replica: int) -> None:
        self.run(self.tills[replica].tick())

    @rule(seconds=st.sampled_from([0.2, 1.0, 3.0, LONGEST, 61.0]))
    def wait(self, seconds: float) -> None:
        self.clock.pass_(seconds)

    @rule(seconds=st.sampled_from([0.5, 4.0]))
    def live(self, seconds: float) -> None:
        for till in self.tills:
            self.clock.pass_(seconds / 3)
            self.run(till.tick())

    @rule(replica=REPLICAS, of=st.sampled_from(QUOTAS))
    def asked(self, replica: int, of: Quota) -> None:
        account = self.tills[replica]._purse.current.get(of.name)
        if account is not None:
            assert self.tills[replica].heard(f"money {account.key}")

    @rule(replica=REPLICAS, faults=st.lists(st.sampled_from(["before", "after", "late"]), min_size=1, max_size=3))
    def lose(self, replica: int, faults: list[str]) -> None:
        self.stores[replica].faults += faults

    @rule(replica=REPLICAS)
    def deliver(self, replica: int) -> None:
        self.run(self.stores[replica].deliver())

    @rule(replica=REPLICAS)
    def kill(self, replica: int) -> None:
        """Its attempts are billed in full, and nobody will tell."""
        for one in self.attempts:
            if one.replica == replica and one.bill is None:
                one.bill = one.amount
        self.tills[replica] = self._till(replica)

    @invariant()
    def never_more_than_the_cap(self) -> None:
        for one in self.run(self.tills[0].report(HARD)):
            assert min(one.used, one.held, one.left) >= 0, one
        spent = sum(one.amount if one.bill is None else one.bill for one in self.attempts if TOTAL in dict(one.wanted))
        assert spent <= TOTAL.cap

    def teardown(self) -> None:
        try:
            self.run(self._end())
        finally:
            self.run(self._close())
            self.loop.close()

    async def _close(self) -> None:
        for store in self.stores:
            await store.aclose()
        await asyncio.sleep(0)

    async def _end(self) -> None:
        for one in self.attempts:
            if one.bill is None:
                self._settle(one, one.amount // 2)
        for store in self.stores:
            store.faults.clear()
            await store.deliver()
        for _ in range(2):
            for till in self.tills:
                await till.flush()
                await till.tick()
        for till in self.tills:
            await till.aclose()
        watch = self._till(0)
        await watch.tick()
        for _ in range(4):
            self.clock.pass_(2)
            await watch.tick()
        await self._check_books(watch)

    async def _check_books(self, watch: Till) -> None:
        ledger = {one["attempt"]: one for one in await rows(self.stores[0])}
        told = {id: one["reserved"] if one["cost"] is None else one["cost"] for id, one in ledger.items()}
        assert await self.stores[0].call("KEYS", "gw:{money}:open:*") == []
        bills = sum(one.bill or 0 for one in self.attempts)
        assert bills <= sum(told.values()), "the provider bills more than the ledger knows"
        for one in self.attempts:
            found = ledger.get(one.id)
            assert found is None or found["state"] == "unreconciled" or found["cost"] == one.bill
        if self.clock.ms < NOON + 11 * 3600 * 1000:  # the same day
            for usage in await watch.report(USD):
                self._check_quota(usage, ledger, told)

    def _check_quota(self, usage: Spent, ledger: dict[str, dict[str, Any]], told: dict[str, int]) -> None:
        """To the micro-dollar for what was settled; for the dead the ledger may know of more than was counted."""
        name = usage.quota.name
        of = {id for id, wanted in self.wanted.items() if usage.quota in dict(wanted)}
        sliced = {id for id, one in ledger.items() if one["role"] == "slice" and one["reason"] == name}
        settled = sum(told[id] for id in of & told.keys() if ledger[id]["state"] == "settled")
        assert (usage.used - usage.lost, usage.held) == (settled, 0), usage
        assert usage.used <= sum(told[id] for id in (of & told.keys()) | sliced), usage
        assert usage.used >= sum(one.bill or 0 for one in self.attempts if one.id in of), usage


def test_no_order_of_events_overspends_or_loses_a_cent(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tills, "PAUSES", (0.0,))
    Machine.url = embedded.url
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
        ),
    )
