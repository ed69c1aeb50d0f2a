"""Runners over one store, with works that do as the test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from gateway.errors import ModelNotFound, Reset, StoreFault
from gateway.jobs import running
from gateway.jobs.durable import Durable
from gateway.jobs.fences import Fences
from gateway.jobs.log import JobLog
from gateway.jobs.record import Job, Try
from gateway.jobs.runner import Runner
from gateway.jobs.scripts import CHANNEL
from gateway.jobs.work import Anew, FateOf, FenceLost, Log, Outcome
from gateway.model import Artefact
from gateway.store.connection import Store
from gateway.telemetry import Telemetry
from tests.jobs.shelves import Site, attempt
from tests.polling import until

Script = Callable[[Job, Log], Awaitable[Outcome]]
DONE = Outcome("succeeded", (Artefact("f", "video/mp4", 3),), seconds=4.0)


@dataclass
class Scripted:
    """`work.Work`; `seen` are the jobs as they came."""

    script: Script
    finding: str | Anew | Exception = Anew.UNKNOWN
    seen: list[Job] = field(default_factory=list)
    stopped: list[str | None] = field(default_factory=list)
    looks: int = 0

    async def run(self, job: Job, log: Log) -> Outcome:
        self.seen.append(job)
        try:
            return await self.script(job, log)
        except asyncio.CancelledError:
            self.stopped.append(log.stopped)
            raise

    async def find(self, job: Job, one: Try) -> str | Anew:
        self.looks += 1
        if isinstance(self.finding, Exception):
            self.finding, fault = "found", self.finding
            raise fault
        return self.finding


@dataclass
class Books:
    """`work.Money`."""

    events: list[str] = field(default_factory=list)

    async def told(self) -> None:
        self.events.append("told")

    async def stands(self, attempt: str) -> bool:
        return True

    def leave(self, attempt: str) -> None:
        self.events.append(f"leave {attempt}")

    async def lost(self, attempt: str) -> None:
        self.events.append(f"lost {attempt}")

    async def unsent(self, attempt: str) -> None:
        self.events.append(f"unsent {attempt}")

    async def sweep(self, fate_of: FateOf) -> None:
        self.events.append("sweep")


async def quick(job: Job, log: Log) -> Outcome:
    await log.intent(attempt())
    await log.ticket("t1")
    return DONE


async def endless(job: Job, log: Log) -> Outcome:
    if job.open is None:
        await log.intent(attempt())
        await log.ticket("t1")
    await asyncio.Event().wait()
    raise AssertionError


class Cast:
    """Runners by name; `take` starts one, as a process would."""

    def __init__(self, store: Store) -> None:
        self.site, self.telemetry, self.books = Site(store), Telemetry(), Books()
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    def start(self, name: str, work: Scripted, **more: int) -> None:
        runner = Runner(
            self.site.fences(name),
            self.site.shelf,
            self.site.durable,
            work,
            self.telemetry,
            money=self.books,
            beat_seconds=0.1,
            **more,
        )
        news = self.site.store.subscription(CHANNEL, runner.heard, runner.gap)
        self._tasks[name] = [asyncio.create_task(runner.run()), asyncio.create_task(news.run())]

    async def stop(self, name: str) -> None:
        """As at SIGTERM."""
        tasks = self._tasks.pop(name)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        for name in list(self._tasks):
            await self.stop(name)

    async def over(self, job: Job) -> Job:
        async with asyncio.timeout(10):
            while not (now := await self.site.shelf.read(job.id, job.tenant)).over:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return now

    async def ordered(self, job: Job) -> None:
        """Returns once its order has a ticket."""
        async with asyncio.timeout(10):
            while not any(one.ticket for one in (await self.site.shelf.read(job.id, job.tenant)).tries):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def orphan(self, *tries: Try) -> Job:
        """A job whose process died as it had written these."""
        job, dead = await self.site.accept(), self.site.fences("dead")
        (claim,) = (await dead.take(1)).claims
        for count in range(len(tries)):
            changed = {**{name: getattr(claim.job, name) for name in claim.job.__struct_fields__}}
            await dead.write(claim.fence, Job(**{**changed, "state": "running", "tries": tries[: count + 1]}))
        await dead.release([claim.fence], leaving=True)
        return job


@asynccontextmanager
async def cast_of(store: Store) -> AsyncIterator[Cast]:
    cast = Cast(store)
    try:
        yield cast
    finally:
        await cast.aclose()


@pytest.fixture
async def cast(valkey: Store) -> AsyncIterator[Cast]:
    async with cast_of(valkey) as one:
        yield one


async def test_a_job_is_done_and_its_money_told_before_its_end(cast: Cast) -> None:
    cast.start("one", Scripted(quick))
    ended = await cast.over(await cast.site.accept())
    assert (ended.state, ended.percent, ended.artefacts, ended.seconds) == ("succeeded", 100, DONE.artefacts, 4.0)
    assert ended.tries[0].ticket == "t1"
    assert cast.books.events[0] == "told"
    assert await cast.site.shelf.unfinished() == []


async def refused(job: Job, log: Log) -> Outcome:
    raise ModelNotFound("no such model")


async def broken(job: Job, log: Log) -> Outcome:
    raise ValueError("secret words")


@pytest.mark.parametrize(
    ("script", "error"),
    [(refused, ("model_not_found", "no such model")), (broken, ("internal_error", "the gateway failed"))],
)
async def test_what_fails_says_why(cast: Cast, script: Script, error: tuple[str, str]) -> None:
    cast.start("one", Scripted(script))
    ended = await cast.over(await cast.site.accept())
    assert (ended.state, ended.error) == ("failed", error)


async def test_no_more_than_so_many_run_at_once(cast: Cast) -> None:
    now = most = 0

    async def counted(job: Job, log: Log) -> Outcome:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return DONE

    jobs = [await cast.site.accept(f"tenant {n % 3}") for n in range(8)]
    cast.start("one", Scripted(counted), most=2)
    for job in jobs:
        await cast.over(job)
    assert most == 2


async def test_those_that_wait_for_room_are_told_apart_from_those_with_an_order(cast: Cast) -> None:
    """A place is taken by either: one tenant's waiting jobs leave a quarter to others."""

    async def waiting(job: Job, log: Log) -> Outcome:
        if job.tenant == "other":
            return await endless(job, log)
        await asyncio.Event().wait()
        raise AssertionError

    for _ in range(6):
        await cast.site.accept()
    await cast.site.accept("other")
    cast.start("one", Scripted(waiting), most=4)
    levels = cast.telemetry
    async with asyncio.timeout(5):
        while (levels.jobs_running.value, levels.jobs_waiting.value) != (4, 3):  # noqa: ASYNC110 - metrics tell nobody
            await asyncio.sleep(0.01)
    assert levels.jobs_slots.value == 4


async def test_a_cancelled_job_ends_wherever_it_runs(cast: Cast) -> None:
    work = Scripted(endless)
    cast.start("one", work)
    job = await cast.site.accept()
    await cast.ordered(job)
    await cast.site.shelf.cancel(job.id, "acme")
    ended = await cast.over(job)
    assert (ended.state, [one.result for one in ended.tries]) == ("cancelled", ["cancelled"])
    assert work.stopped == ["cancel"]


async def test_a_job_ends_at_its_deadline(cast: Cast) -> None:
    work = Scripted(endless)
    cast.start("one", work)
    made = cast.site.job()
    job = await cast.site.accept(deadline=made.created + 0.3)
    assert (await cast.over(job)).state == "expired"
    assert work.stopped == ["expired"]


async def test_a_shutdown_hands_over_within_a_second(cast: Cast) -> None:
    first, second = Scripted(endless), Scripted(quick)
    cast.start("one", first)
    job = await cast.site.accept()
    await cast.ordered(job)

    async def resumed(job: Job, log: Log) -> Outcome:
        assert job.open is not None
        return Outcome("succeeded", size=job.open.ticket)

    second.script = resumed
    cast.start("two", second)
    began = time.monotonic()
    await cast.stop("one")
    ended = await cast.over(job)
    assert time.monotonic() - began < 1.0
    assert (first.stopped, ended.size, len(ended.tries)) == (["handover"], "t1", 1)
    assert cast.books.events[0] == "leave a1"


async def test_a_paid_order_of_unknown_outcome_is_never_sent_again(cast: Cast) -> None:
    work = Scripted(quick, Anew.UNKNOWN)
    job = await cast.orphan(attempt("lost"))
    cast.start("two", work)
    ended = await cast.over(job)
    assert (ended.state, ended.error and ended.error[0], ended.tries[0].result) == (
        "failed",
        "unknown_outcome",
        "unknown",
    )
    assert (work.seen, work.looks) == ([], 1)
    assert cast.books.events[:2] == ["lost lost", "told"]
    assert [one.id for one in await cast.site.shelf.unknown()] == [job.id]


async def test_no_list_is_believed_at_once_that_says_that_a_paid_order_is_not_there(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "FIND_PAUSE", 0.01)

    class Listed(Scripted):
        async def find(self, job: Job, one: Try) -> str | Anew:
            self.looks += 1
            return Anew.NOT_THERE if self.looks < 3 else "listed"

    async def resumed(job: Job, log: Log) -> Outcome:
        return Outcome("succeeded", size=job.open.ticket if job.open else "anew")

    job = await cast.orphan(attempt("sent a moment ago"))
    cast.start("two", Listed(resumed))
    assert (await cast.over(job)).size == "listed"


async def test_who_shuts_down_while_it_orders_says_its_ticket(cast: Cast) -> None:
    async def ordering(job: Job, log: Log) -> Outcome:
        await log.intent(attempt())
        ordered.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(2.2)  # the answer to the submit
            await log.ticket("late")
        raise AssertionError

    async def resumed(job: Job, log: Log) -> Outcome:
        return Outcome("succeeded", size=job.open.ticket if job.open else None)

    ordered = asyncio.Event()
    cast.start("one", Scripted(ordering))
    job = await cast.site.accept()
    async with asyncio.timeout(5):
        await ordered.wait()
    cast.start("two", Scripted(resumed))
    await cast.stop("one")
    ended = await cast.over(job)
    assert (ended.size, len(ended.tries)) == ("late", 1)


async def test_who_shuts_down_before_it_orders_says_that_nothing_left(cast: Cast) -> None:
    class Slow(Durable):
        async def sync(self) -> None:
            await asyncio.Event().wait()

    async def anew(job: Job, log: Log) -> Outcome:
        return DONE

    job = await cast.site.accept()
    cast.site.durable, durable = Slow(cast.site.store), cast.site.durable
    cast.start("one", Scripted(endless))
    async with asyncio.timeout(5):
        while not (await cast.site.shelf.read(job.id, "acme")).tries:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    cast.site.durable = durable
    cast.start("two", Scripted(anew))
    await cast.stop("one")
    ended = await cast.over(job)
    assert (ended.state, [one.result for one in ended.tries]) == ("succeeded", ["not_sent"])
    assert await cast.site.shelf.fate(job.id, "a1") == "unsent"


async def test_an_intent_that_went_with_the_store_sends_nothing(valkey: Store) -> None:
    """Its file was synced again, without what was written between its last sync and its fall."""
    site = Site(valkey)

    class Fallen(Durable):
        async def sync(self) -> None:
            await valkey.call("HSET", f"gw:{{jobs}}:job:{job.id}", "version", 0, "state", "queued")

    job, fences = await site.accept(), site.fences("one")
    (claim,) = (await fences.take(1)).claims
    with pytest.raises(FenceLost):
        await JobLog(fences, Fallen(valkey), claim).intent(attempt())


async def test_who_was_frozen_as_it_was_about_to_order_says_that_nothing_left(valkey: Store) -> None:
    site, books, now = Site(valkey), Books(), 0.0

    async def frozen(job: Job, log: Log) -> Outcome:
        nonlocal now
        await log.intent(attempt())
        now += 6.0
        log.may_send()
        raise AssertionError("it was sent")

    job, fences = await site.accept(), Fences(valkey, "one", clock=lambda: now)
    (claim,) = (await fences.take(1)).claims
    one = running.Running(JobLog(fences, site.durable, claim), Scripted(frozen), books)
    await one.run(claim.left)
    assert (one.released, one.ended) == (True, None)
    assert [each.result for each in (await site.shelf.read(job.id, "acme")).tries] == ["not_sent"]
    assert books.events == ["leave a1", "unsent a1"]


async def test_a_job_and_its_last_try_end_in_one_write(valkey: Store) -> None:
    site, fences = Site(valkey), Site(valkey).fences("one")
    job = await site.accept()
    (claim,) = (await fences.take(1)).claims
    log = JobLog(fences, site.durable, claim)
    await log.intent(attempt())
    before = claim.fence.version
    await log.finish(replace(DONE, tried="answered"))
    ended = await site.shelf.read(job.id, "acme")
    assert (claim.fence.version, ended.state, ended.tries[0].result) == (before + 1, "succeeded", "answered")


async def test_nothing_is_sent_before_its_money_is_on_the_disk_too(valkey: Store) -> None:
    site, fences, synced, answers = Site(valkey), Site(valkey).fences("one"), 0, [False, True]

    class Counted(Durable):
        async def sync(self) -> None:
            nonlocal synced
            synced += 1

    class Forgetful(Books):
        async def stands(self, attempt: str) -> bool:
            return answers.pop(0)

    await site.accept()
    (claim,) = (await fences.take(1)).claims
    one = running.Running(JobLog(fences, Counted(valkey), claim), Scripted(quick), Forgetful())
    await one.run(claim.left)
    assert (one.ended, synced, answers) == (DONE, 2, [])


async def test_an_attempt_whose_money_is_void_says_that_nothing_left(valkey: Store) -> None:
    site, fences = Site(valkey), Site(valkey).fences("one")

    class Void(Books):
        async def stands(self, attempt: str) -> bool:
            raise StoreFault("what was set aside is void")

    job = await site.accept()
    (claim,) = (await fences.take(1)).claims
    one = running.Running(JobLog(fences, site.durable, claim), Scripted(quick), Void())
    await one.run(claim.left)
    assert (one.released, one.ended) == (True, None)
    assert [each.result for each in (await site.shelf.read(job.id, "acme")).tries] == ["not_sent"]


async def test_a_paid_order_that_is_found_goes_on(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "FIND_PAUSE", 0.01)

    async def resumed(job: Job, log: Log) -> Outcome:
        return Outcome("succeeded", size=job.open.ticket if job.open else None)

    work = Scripted(resumed, Reset("gone"))
    job = await cast.orphan(attempt("lost"))
    cast.start("two", work)
    assert (await cast.over(job)).size == "found"
    assert work.looks == 2


@pytest.mark.parametrize(
    ("managed", "result"), [(True, "not_sent"), (False, "gateway_died")], ids=["surely not sent", "a worker of ours"]
)
async def test_what_may_be_sent_again_is(
    cast: Cast, managed: bool, result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SETTLE_SECONDS", 0.0)
    job = await cast.orphan(attempt("first", managed=managed))

    async def anew(job: Job, log: Log) -> Outcome:
        await log.intent(attempt("second", managed=managed))
        return DONE

    cast.start("two", Scripted(anew, Anew.NOT_THERE))
    ended = await cast.over(job)
    assert [(one.attempt, one.result) for one in ended.tries] == [("first", result), ("second", None)]
    assert cast.books.events[0] == ("unsent first" if managed else "lost first")


async def test_a_cancelled_job_whose_process_died_is_cancelled_upstream_by_the_next(cast: Cast) -> None:
    job = await cast.orphan(attempt(), Try(attempt="a1", upstream="u", backend="b", managed=True, at=0, ticket="t9"))
    await cast.site.shelf.cancel(job.id, "acme")
    tidied: list[str | None] = []

    async def tidy(job: Job, log: Log) -> Outcome:
        tidied.extend([log.stopped, job.tries[-1].ticket])
        return Outcome("cancelled")

    cast.start("two", Scripted(tidy))
    assert (await cast.over(job)).state == "cancelled"
    assert tidied == ["cancel", "t9"]


async def test_who_lost_a_job_stops_and_leaves_it(cast: Cast) -> None:
    work, other = Scripted(endless), cast.site.fences("other")
    cast.start("one", work)
    job = await cast.site.accept()
    await cast.ordered(job)
    await cast.site.store.call("HSET", f"gw:{{jobs}}:job:{job.id}", "owner", "other", "token", 77)
    await other.beat([])
    await until(lambda: work.stopped == ["lost"])
    assert cast.books.events == ["leave a1"]
    assert not (await cast.site.shelf.read(job.id, "acme")).over


async def test_a_work_without_a_store_goes_on_later(cast: Cast) -> None:
    calls = 0

    async def away(job: Job, log: Log) -> Outcome:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise StoreFault("away")
        return DONE

    cast.start("one", Scripted(away))
    assert (await cast.over(await cast.site.accept())).state == "succeeded"


async def test_progress_is_told_and_never_goes_back(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.jobs.log.PROGRESS_SECONDS", 0.0)

    async def slow(job: Job, log: Log) -> Outcome:
        await log.intent(attempt())
        for percent in (30, 20, 130):
            await log.progress(percent)
            while log.job.percent < min(percent, 30):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return Outcome.failed("x", "y")

    cast.start("one", Scripted(slow))
    assert (await cast.over(await cast.site.accept())).percent in (30, 100)


async def test_metrics(cast: Cast) -> None:
    cast.start("one", Scripted(quick))
    await cast.over(await cast.site.accept())
    await until(lambda: 'gateway_jobs_total{end="succeeded"} 1.0' in cast.telemetry.page([]).decode())
