"""What an attempt of a job holds outlives its process: booked once, never below its bill, whoever dies when."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from gateway.errors import StoreFault
from gateway.model import Fate, Hold, Quota
from gateway.money import kept as keeping
from gateway.money import till as tills
from gateway.money.till import STREAM, Till
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT
from tests.money.tills import Clock, Faulty, count, held, quota, row, rows

T = TypeVar("T")
TOTAL = quota("tenant a: usd per total", 5000, per="total")
DAY = quota("budget day", 4000)
REPLICAS = st.integers(0, 2)
SILENCE = 12.0


async def gone(job: str, attempt: str) -> Fate:
    return "unknown"


async def never_sent(job: str, attempt: str) -> Fate:
    return "unsent"


async def there(job: str, attempt: str) -> Fate:
    return "open"


async def kept(till: Till, id: str, amount: int) -> Hold:
    hold = await held(till, id, (TOTAL, amount), row=row(id, amount))
    return await till.kept.keep(f"job of {id}", row(id, amount), hold)


async def found_dead(alive: Till, clock: Clock) -> None:
    """Only one replica says anything, for longer than any silence is borne."""
    for _ in range(5):
        await alive.tick()
        clock.pass_(2.0)


async def test_another_process_settles_what_a_dead_one_held(valkey: Store) -> None:
    clock = Clock()
    first, second = (Till(valkey, name, clock=clock.monotonic, store_ms=clock.store) for name in ("a", "b"))
    await kept(first, "x", 300)
    await found_dead(second, clock)
    assert await count(second, TOTAL) == (0, 300)
    adopted = await second.kept.adopt("x")
    assert adopted is not None
    assert (adopted.id, [share.amount for share in adopted.shares]) == ("x", [300])
    second.book(row("x", 300, 120), adopted)
    await second.kept.told()
    assert await count(second, TOTAL) == (120, 0)
    assert [(one["attempt"], one["cost"], one["state"]) for one in await rows(valkey)] == [("x", 120, "settled")]
    assert await second.kept.adopt("x") is None


async def test_the_first_to_tell_books_it_and_nobody_after(valkey: Store) -> None:
    clock = Clock()
    first, second = (Till(valkey, name, clock=clock.monotonic, store_ms=clock.store) for name in ("a", "b"))
    mine = await kept(first, "x", 300)
    adopted = await second.kept.adopt("x")
    second.book(row("x", 300, 120), adopted)
    await second.kept.told()
    first.book(row("x", 300, 300), mine)
    await first.kept.told()
    assert await count(first, TOTAL) == (120, 0)
    assert await valkey.call("XLEN", STREAM) == 1


async def test_a_process_that_gets_an_attempt_back_books_it_once(valkey: Store) -> None:
    """Without a budget too: then nothing but its name is held."""
    till = Till(valkey, "a")
    before = await till.kept.keep("job", row("x", 0))
    till.kept.leave("x")
    again = await till.kept.adopt("x")
    till.book(row("x", 0, 120), again)
    till.book(row("x", 0, 0), before)
    await till.kept.told()
    assert [(one["attempt"], one["cost"]) for one in await rows(valkey)] == [("x", 120)]


async def test_who_hands_an_attempt_over_books_nothing_of_it(valkey: Store) -> None:
    first, second = Till(valkey, "a"), Till(valkey, "b")
    mine = await kept(first, "x", 300)
    first.kept.leave("x")
    first.book(row("x", 300, 300), mine)
    await first.kept.told()
    assert await rows(valkey) == []
    second.book(row("x", 300, 120), await second.kept.adopt("x"))
    await second.kept.told()
    assert await count(second, TOTAL) == (120, 0)


@pytest.mark.parametrize(("fate_of", "used", "holding"), [(there, 0, 300), (gone, 300, 0), (never_sent, 0, 0)])
async def test_what_is_kept_for_a_job_that_is_gone_is_booked_at_what_was_set_aside_unless_it_never_left(
    valkey: Store, fate_of: Any, used: int, holding: int
) -> None:
    clock = Clock()
    first, second = (Till(valkey, name, clock=clock.monotonic, store_ms=clock.store) for name in ("a", "b"))
    await kept(first, "x", 300)
    await second.kept.sweep(fate_of)
    assert await count(second, TOTAL) == (used, holding)
    rest = {there: [], gone: [("unreconciled", "ok", None)], never_sent: [("settled", "not_sent", 0)]}
    assert [(one["state"], one["result"], one["cost"]) for one in await rows(valkey)] == rest[fate_of]


async def test_an_attempt_without_a_budget_has_its_row_too(valkey: Store) -> None:
    first, second = Till(valkey, "a"), Till(valkey, "b")
    await first.kept.keep("job", row("x", 0))
    await second.kept.sweep(gone)
    assert [one["attempt"] for one in await rows(valkey)] == ["x"]


async def test_what_a_store_that_fell_has_forgotten_is_kept_anew(valkey: Store) -> None:
    """It came back without what was written last: the attempt is its replica's again, and would have no row."""
    till = Till(valkey, "a")
    hold = await kept(till, "x", 300)
    assert await till.kept.stands("x")
    account = f"total usd {TOTAL.name}"
    await valkey.call("DEL", "gw:{money}:kept", "gw:{money}:slices:kept")
    (slices,) = await valkey.call("KEYS", "gw:{money}:slices:a.*")
    await valkey.call("HINCRBY", slices, account, 300)
    await valkey.call("HDEL", slices, "#keep")
    assert not await till.kept.stands("x")
    assert await till.kept.stands("x")
    till.book(row("x", 300, 120), hold)
    await till.kept.told()
    await till.aclose()
    assert await count(till, TOTAL) == (120, 0)
    assert [(one["attempt"], one["cost"]) for one in await rows(valkey)] == [("x", 120)]


async def test_an_attempt_that_was_kept_and_not_made_costs_nothing(valkey: Store) -> None:
    till = Till(valkey, "a")
    hold = await kept(till, "x", 300)
    till.give(hold)
    await till.kept.told()
    assert await count(till, TOTAL) == (0, 0)
    assert await rows(valkey) == []


async def test_who_was_believed_dead_keeps_nothing(valkey: Store) -> None:
    clock = Clock()
    first, second = (Till(valkey, name, clock=clock.monotonic, store_ms=clock.store) for name in ("a", "b"))
    hold = await held(first, "x", (TOTAL, 300), row=row("x", 300))
    await found_dead(second, clock)
    with pytest.raises(StoreFault):
        await first.kept.keep("job", row("x", 300), hold)
    first.book(row("x", 300, 0), hold)
    await first.kept.told()
    assert [(one["attempt"], one["state"]) for one in await rows(valkey)] == [("x", "unreconciled")]


async def test_a_store_that_lost_its_data_is_told_what_was_used(valkey: Store) -> None:
    till = Till(valkey, "a")
    hold = await kept(till, "x", 300)
    await valkey.call("FLUSHALL")
    till.book(row("x", 300, 120), hold)
    await till.tick()
    await till.kept.told()
    assert [(one["attempt"], one["cost"]) for one in await rows(valkey)] == [("x", 120)]


@dataclass
class Attempt:
    """`holds`: of each process that worked on it, the last one is the one that has the job."""

    id: str
    amount: int
    holds: list[tuple[Till, Hold]] = field(default_factory=list)
    bill: int | None = None


class Machine(RuleBasedStateMachine):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.loop, self.clock, self.names = asyncio.new_event_loop(), Clock(), 0
        self.attempts: list[Attempt] = []
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
        replica=REPLICAS,
        amount=st.integers(1, 900),
        of=st.sampled_from([(TOTAL,), (DAY,), (TOTAL, DAY), ()]),
        faults=st.lists(st.sampled_from(["before", "after", "late"]), max_size=2),
    )
    def keep(self, replica: int, amount: int, of: tuple[Quota, ...], faults: list[str]) -> None:
        self.names += 1
        till, one = self.tills[replica], Attempt(f"attempt {self.names}", amount)
        open_ = row(one.id, amount)

        async def sent() -> Hold | None:
            hold = None
            if of:
                try:
                    got = await till.hold(one.id, [(each, amount) for each in of], open_)
                except StoreFault:
                    return None
                if not isinstance(got, Hold):
                    return None
                hold = got
                await till.on_the_wire()
            self.stores[replica].faults += faults
            try:
                return await till.kept.keep("job", open_, hold)
            except StoreFault:
                if hold is not None:
                    till.book(row(one.id, amount, 0), hold)
                return None

        if (hold := self.run(sent())) is not None:
            one.holds.append((till, hold))
            self.attempts.append(one)

    @precondition(lambda self: self.attempts)
    @rule(replica=REPLICAS, data=st.data())
    def adopt(self, replica: int, data: st.DataObject) -> None:
        one, till = data.draw(st.sampled_from(self.attempts)), self.tills[replica]
        try:
            hold = self.run(till.kept.adopt(one.id))
        except StoreFault:
            return
        if hold is not None and one.bill is None:
            one.holds.append((till, hold))

    @precondition(lambda self: any(one.bill is None for one in self.attempts))
    @rule(data=st.data(), part=st.floats(0, 1), zombies=st.booleans())
    def settle(self, data: st.DataObject, part: float, zombies: bool) -> None:
        """`zombies`: whoever worked on it before wakes up, and tells the worst."""
        one = data.draw(st.sampled_from([one for one in self.attempts if one.bill is None]))
        one.bill = int(one.amount * part)
        till, hold = one.holds[-1]
        till.book(row(one.id, one.amount, one.bill), hold)
        for other, held_ in one.holds[:-1] if zombies else ():
            if other is not till:
                other.book(row(one.id, one.amount, one.amount), held_)

    @rule(replica=REPLICAS)
    def flush(self, replica: int) -> None:
        self.run(self.tills[replica].flush())

    @rule(replica=REPLICAS)
    def tick(self, replica: int) -> None:
        self.run(self.tills[replica].tick())

    @rule(seconds=st.sampled_from([0.2, 1.0, SILENCE]))
    def wait(self, seconds: float) -> None:
        self.clock.pass_(seconds)

    @rule(replica=REPLICAS, faults=st.lists(st.sampled_from(["before", "after", "late"]), min_size=1, max_size=3))
    def lose(self, replica: int, faults: list[str]) -> None:
        self.stores[replica].faults += faults

    @rule(replica=REPLICAS)
    def deliver(self, replica: int) -> None:
        self.run(self.stores[replica].deliver())

    @rule(replica=REPLICAS)
    def kill(self, replica: int) -> None:
        self.tills[replica] = self._till(replica)

    @rule(replica=REPLICAS)
    def sweep(self, replica: int) -> None:
        try:
            self.run(self.tills[replica].kept.sweep(there))
        except StoreFault:
            return

    def teardown(self) -> None:
        try:
            self.run(self._end())
        finally:
            for store in self.stores:
                self.run(store.aclose())
            self.loop.close()

    async def _end(self) -> None:
        for store in self.stores:
            store.faults.clear()
            await store.deliver()
        for till in self.tills:
            await till.flush()
            await till.tick()
            await till.flush()
        for till in self.tills:
            await till.aclose()
        watch = self._till(0)
        for _ in range(4):
            await watch.tick()
            self.clock.pass_(2)
        await watch.kept.sweep(gone)
        await self._check(watch)

    async def _check(self, watch: Till) -> None:
        entries = await self.stores[0].call("XRANGE", STREAM, "-", "+")
        told = [json.loads(encoded) for _, fields in entries for encoded in fields[1::2]]
        times = Counter(one["attempt"] for one in told)
        cost = {one["attempt"]: one["reserved"] if one["cost"] is None else one["cost"] for one in told}
        for one in self.attempts:
            assert times[one.id] == 1, (one, times[one.id])
            assert cost[one.id] >= (one.bill or 0)
        assert await self.stores[0].call("EXISTS", "gw:{money}:kept", "gw:{money}:slices:kept") == 0
        for each in (TOTAL, DAY):
            used, holding = await count(watch, each)
            assert holding == 0
            assert used <= each.cap


def test_no_order_of_deaths_books_an_attempt_twice_or_below_its_bill(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tills, "PAUSES", (0.0,))
    monkeypatch.setattr(keeping, "PAUSE_SECONDS", 0.0)
    Machine.url = embedded.url
    run_state_machine_as_test(Machine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))
