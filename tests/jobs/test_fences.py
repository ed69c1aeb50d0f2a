"""One replica has a job, and only its writes count, whoever was paused, killed or cut off before."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from gateway.errors import StoreFault
from gateway.jobs.fences import FENCE_SECONDS, Claim, Fence, Fences
from gateway.jobs.log import JobLog
from gateway.jobs.record import Job
from gateway.jobs.work import FenceLost, FenceOld
from gateway.model import ENDED
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT
from tests.jobs.shelves import Site, attempt
from tests.money.tills import Clock, Faulty

T = TypeVar("T")


async def the(fences: Fences) -> Claim:
    (claim,) = (await fences.take(5)).claims
    return claim


def running(job: Job, **more: Any) -> Job:
    return msgspec.structs.replace(job, state="running", **more)


async def test_a_job_is_taken_once_and_written_by_who_took_it(store: Store) -> None:
    site = Site(store)
    job = await site.accept(body=b"x")
    one, other = site.fences("one"), site.fences("other")
    claim = await the(one)
    assert (claim.job.id, await site.shelf.body(claim.job)) == (job.id, b"x")
    assert (await other.take(5)).claims == []
    await one.write(claim.fence, running(claim.job, tries=(attempt(),), percent=40))
    read = await site.shelf.read(job.id, "acme")
    assert (read.state, read.percent, read.tries, read.started is not None) == ("running", 40, (attempt(),), True)
    with pytest.raises(FenceLost):
        await other.write(claim.fence, running(claim.job))


async def test_no_tenant_has_all_that_a_process_works_on(store: Store) -> None:
    site, fences = Site(store), Site(store).fences("r")
    for _ in range(5):
        await site.accept("greedy")
    first = await fences.take(4, 3)
    assert [one.job.tenant for one in first.claims] == ["greedy"] * 3
    assert (await fences.take(1, 3, {"greedy": 3})).claims == []
    await site.accept("modest")
    assert [one.job.tenant for one in (await fences.take(1, 3, {"greedy": 3})).claims] == ["modest"]
    assert [one.job.tenant for one in (await fences.take(9, 3, {"greedy": 2, "modest": 1})).claims] == ["greedy"]
    assert [one.job.tenant for one in (await fences.take(9)).claims] == ["greedy"]


async def test_a_record_that_cannot_be_read_keeps_nobody_from_the_others(store: Store) -> None:
    site, fences = Site(store), Site(store).fences("r")
    odd, job = await site.accept(), await site.accept()
    await store.call("HSET", f"gw:{{jobs}}:job:{odd.id}", "job", '{"of": "a version to come"}')
    (claim,) = (await fences.take(5)).claims
    assert claim.job.id == job.id
    assert (await fences.beat([claim.fence]))[0] == 1


@pytest.mark.parametrize("record", ['{"of": "a version to come"}', "no JSON"])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_record_that_cannot_be_read_ends_at_its_time(store: Store, record: str, begun: bool) -> None:
    clock = Clock()
    site = Site(store, clock, longest=60.0)
    odd, other, fences = await site.accept(), await site.accept(), site.fences("r")
    if begun:
        for claim in (await fences.take(2)).claims:
            await fences.write(claim.fence, running(claim.job, tries=(attempt(),)))
        await fences.beat([])
    await store.call("HSET", f"gw:{{jobs}}:job:{odd.id}", "job", record)
    assert [one.job.id for one in (await fences.take(5)).claims] == [other.id]
    assert (await site.shelf.read(odd.id, "acme")).state == ("running" if begun else "queued")
    assert {one.id for one in (await site.shelf.page("acme"))[0]} == {odd.id, other.id}
    await fences.beat([])
    clock.pass_(61.0)
    await fences.sweep()
    await fences.take(5)
    ended = await site.shelf.read(odd.id, "acme")
    assert (ended.state, ended.unknown) == (("failed", True) if begun else ("expired", False))
    assert await site.shelf.fate(odd.id, "a1") == ("unknown" if begun else "unsent")
    assert [one.id for one in await site.shelf.unknown()] == ([odd.id] if begun else [])


async def test_a_replica_hears_of_thousands_that_it_lost(store: Store) -> None:
    fences = Site(store).fences("r")
    _, words = await fences.beat([Fence(f"job_{n}", 1, 0) for n in range(5000)])
    assert len(words) == 5000


async def test_who_may_be_believed_dead_by_now_sends_nothing(store: Store) -> None:
    site, now = Site(store), 100.0
    await site.accept()
    fences = Fences(store, "r", clock=lambda: now)
    claim = await the(fences)
    log = JobLog(fences, site.durable, claim)
    await log.intent(attempt())
    now += FENCE_SECONDS - 0.1
    log.may_send()
    await fences.beat([claim.fence])
    now += FENCE_SECONDS - 0.1
    log.may_send()
    now += 0.1
    with pytest.raises(FenceLost) as lost:
        log.may_send()
    assert not isinstance(lost.value, FenceOld), "the call before may have left"
    await log.ticket("t1")
    log.may_send()  # it is only looked at


async def test_who_hears_that_a_job_is_lost_sends_nothing_of_it_though_it_lives(store: Store) -> None:
    clock, now = Clock(), 100.0
    site = Site(store, clock)
    await site.accept()
    thawed, other = Fences(store, "thawed", store_ms=clock.store, clock=lambda: now), site.fences("other")
    claim = await the(thawed)
    log = JobLog(thawed, site.durable, claim)
    await log.intent(attempt())
    now += 6.0
    for _ in range(3):
        clock.pass_(2.0)
        await other.beat([])
    await the(other)
    await thawed.take(5)
    assert (await thawed.beat([claim.fence]))[1] == {claim.job.id: "lost"}
    with pytest.raises(FenceOld):
        log.may_send()


async def test_an_end_is_final(store: Store) -> None:
    site, fences = Site(store), Site(store).fences("r")
    await site.accept()
    claim = await the(fences)
    await fences.write(claim.fence, msgspec.structs.replace(claim.job, state="succeeded", percent=100))
    with pytest.raises(FenceLost):
        await fences.write(claim.fence, msgspec.structs.replace(claim.job, state="failed"))
    ended = await site.shelf.read(claim.job.id, "acme")
    assert ended.state == "succeeded"
    assert await store.call("EXISTS", "gw:{jobs}:work:acme", "gw:{jobs}:held:r") == 0


async def test_a_write_whose_answer_was_lost_is_repeated_and_an_older_one_is_refused(store: Store) -> None:
    site, fences = Site(store), Site(store).fences("r")
    await site.accept()
    claim = await the(fences)
    await fences.write(claim.fence, running(claim.job, percent=10))
    claim.fence.version -= 1
    await fences.write(claim.fence, running(claim.job, percent=10))
    await fences.write(claim.fence, running(claim.job, percent=20))
    claim.fence.version -= 2
    with pytest.raises(FenceLost):
        await fences.write(claim.fence, running(claim.job, percent=10))
    assert (await site.shelf.read(claim.job.id, "acme")).percent == 20


async def test_jobs_of_the_silent_are_taken_over_after_four_seconds(store: Store) -> None:
    clock = Clock()
    site = Site(store, clock)
    job = await site.accept()
    dead, alive = site.fences("dead"), site.fences("alive")
    claim = await the(dead)
    await dead.write(claim.fence, running(claim.job, tries=(attempt(),)))
    for _ in range(2):
        assert (await alive.take(5)) == ([], 0)
        clock.pass_(2.0)
    clock.pass_(0.1)
    taken = await alive.take(5)
    assert (taken.freed, [one.job.tries for one in taken.claims]) == (1, [(attempt(),)])
    assert (await dead.beat([claim.fence]))[1] == {job.id: "lost"}
    with pytest.raises(FenceLost):
        await dead.write(claim.fence, running(claim.job, percent=99))


async def test_a_store_that_was_away_takes_nobodys_jobs(store: Store) -> None:
    clock = Clock()
    site = Site(store, clock)
    await site.accept()
    one, other = site.fences("one"), site.fences("other")
    claim = await the(one)
    await other.beat([])
    clock.pass_(60)
    assert (await other.take(5)).claims == []
    assert await one.beat([claim.fence]) == (0, {})


async def test_what_is_handed_over_is_taken_at_once_and_before_new_work(store: Store) -> None:
    site = Site(store)
    first = await site.accept()
    one, other = site.fences("one"), site.fences("other")
    claim = await the(one)
    await site.accept()
    assert await one.release([claim.fence], leaving=True) == 1
    (again,) = (await other.take(1)).claims
    assert (again.job.id, again.fence.token) == (first.id, claim.fence.token + 1)
    assert await one.release([claim.fence]) == 0
    assert await store.call("ZRANGE", "gw:{jobs}:owners", 0, -1) == [b"other"]


async def test_what_was_taken_without_an_answer_is_given_back_with_the_next_beat(store: Store) -> None:
    site = Site(store)
    job = await site.accept()
    one, other = site.fences("one"), site.fences("other")
    await one.take(5)
    assert (await one.beat([]))[0] == 1
    assert (await the(other)).job.id == job.id


async def test_tenants_take_turns(store: Store) -> None:
    site = Site(store)
    for tenant, jobs in (("a", 5), ("b", 2), ("c", 1)):
        for _ in range(jobs):
            await site.accept(tenant)
    taken = [claim.job.tenant for claim in (await site.fences("r").take(8)).claims]
    assert taken == ["a", "b", "c", "a", "b", "a", "a", "a"]


class Machine(RuleBasedStateMachine):
    """Three replicas, any order of taking, writing, dying, pausing, losing answers, cancelling and waiting."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.loop, self.clock, self.names = asyncio.new_event_loop(), Clock(), 0
        self.ends: dict[str, str] = {}
        """What whoever ended a job was told."""
        self.run(self._begin())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def _begin(self) -> None:
        self.stores = [Faulty(self.url, timeout=PATIENT) for _ in range(3)]
        for store in self.stores:
            await store.check()
        await self.stores[0].call("FLUSHALL")
        self.site = Site(self.stores[0], self.clock)
        self.site.durable.kind = "weak"  # nothing here is about the disk
        self.replicas = [self._replica(index) for index in range(3)]
        self.claims: list[tuple[int, Fences, Claim]] = []

    def _replica(self, index: int) -> Fences:
        self.names += 1
        return Site(self.stores[index], self.clock).fences(f"r{self.names}")

    @rule(tenant=st.sampled_from(["a", "b"]))
    def accept(self, tenant: str) -> None:
        faults, self.stores[0].faults[:] = list(self.stores[0].faults), []
        self.run(self.site.accept(tenant))
        self.stores[0].faults += faults

    @rule(replica=st.integers(0, 2), most=st.integers(1, 3))
    def take(self, replica: int, most: int) -> None:
        try:
            claims = self.run(self.replicas[replica].take(most)).claims
        except StoreFault:
            return
        for claim in claims:
            assert claim.job.id not in self.ends
            self.claims.append((replica, self.replicas[replica], claim))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), state=st.sampled_from(["running", "running", "succeeded", "failed", "cancelled"]))
    def write(self, data: st.DataObject, state: str) -> None:
        """Also by who has been dead, or believed so, for long."""
        _, fences, claim = data.draw(st.sampled_from(self.claims))
        before = claim.fence.version
        job = msgspec.structs.replace(claim.job, state=state, tries=(attempt(f"{claim.fence.token}:{before}"),))
        for _ in range(4):
            try:
                self.run(fences.write(claim.fence, job))
            except StoreFault:
                continue
            except FenceLost:
                return
            if state in ENDED:
                assert self.ends.setdefault(claim.job.id, state) == state
            return
        self.claims.remove(next(one for one in self.claims if one[2] is claim))  # it gives up

    @rule(replica=st.integers(0, 2))
    def beat(self, replica: int) -> None:
        mine = [claim.fence for _, fences, claim in self.claims if fences is self.replicas[replica]]
        try:
            _, words = self.run(self.replicas[replica].beat(mine))
        except StoreFault:
            return
        lost = {id for id, word in words.items() if word == "lost"}
        self.claims = [one for one in self.claims if one[1] is not self.replicas[replica] or one[2].job.id not in lost]

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.stores[0].faults.clear()
        job = data.draw(st.sampled_from(self.claims))[2].job
        after = self.run(self.site.shelf.cancel(job.id, job.tenant))
        if after.over:
            assert self.ends.setdefault(job.id, after.state) == after.state

    @rule(
        replica=st.integers(0, 2), faults=st.lists(st.sampled_from(["before", "after", "late"]), min_size=1, max_size=3)
    )
    def lose(self, replica: int, faults: list[str]) -> None:
        self.stores[replica].faults += faults

    @rule(replica=st.integers(0, 2))
    def deliver(self, replica: int) -> None:
        self.run(self.stores[replica].deliver())

    @rule(replica=st.integers(0, 2))
    def kill(self, replica: int) -> None:
        self.replicas[replica] = self._replica(replica)

    @rule(seconds=st.sampled_from([0.2, 1.0, 2.0, 12.0]))
    def wait(self, seconds: float) -> None:
        self.clock.pass_(seconds)

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
        last, ended = self._replica(0), []
        for _ in range(6):
            await last.beat([])
            self.clock.pass_(2.0)
        await last.beat([])
        for claim in (await last.take(1000)).claims:
            assert claim.job.id not in self.ends
            ended.append(claim.job.id)
            await last.write(claim.fence, msgspec.structs.replace(claim.job, state="succeeded"))
        assert await self.site.shelf.unfinished() == []
        for tenant in ("a", "b"):
            for job in (await self.site.shelf.page(tenant, limit=100))[0]:
                assert job.over
                assert self.ends.get(job.id, job.state) == job.state
        assert await self.stores[0].call("KEYS", "gw:{jobs}:work:*") == []
        assert await self.stores[0].call("HGETALL", "gw:{jobs}:open") in ([], await self._turns())

    async def _turns(self) -> list[bytes]:
        return [b"#turn", await self.stores[0].call("HGET", "gw:{jobs}:open", "#turn")]


def test_no_order_of_events_ends_a_job_twice_or_loses_it(embedded: Embedded) -> None:
    Machine.url = embedded.url
    run_state_machine_as_test(Machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
