"""Who waits for a job hears of it at once, and finds it at the next look where nobody was told."""

from __future__ import annotations

import asyncio

import msgspec

from gateway.edge.job_watch import Watch
from gateway.errors import StoreFault
from gateway.jobs.record import Job
from gateway.model import JobState
from tests.edge.test_job_views import JOB
from tests.polling import until


class Shelf:
    def __init__(self) -> None:
        self.job, self.reads, self.away = JOB, 0, False

    async def read(self, id: str, tenant: str) -> Job:
        self.reads += 1
        if self.away:
            raise StoreFault("away")
        return self.job

    def becomes(self, state: JobState) -> None:
        self.job = msgspec.structs.replace(self.job, state=state)


async def test_the_end_is_heard_at_once() -> None:
    shelf = Shelf()
    watch = Watch(shelf.read, look_seconds=60)
    waiting = [asyncio.create_task(watch.ended(JOB.id, "acme", 60)) for _ in range(3)]
    await until(lambda: shelf.reads == 3)
    watch.heard("moved another")
    watch.heard("work")
    shelf.becomes("succeeded")
    watch.heard(f"moved {JOB.id}")
    assert [job.state for job in await asyncio.wait_for(asyncio.gather(*waiting), 5)] == ["succeeded"] * 3
    assert watch._waiting == {}, "nobody waits any more"


async def test_a_process_that_ends_keeps_nobody_waiting() -> None:
    shelf = Shelf()
    watch = Watch(shelf.read, look_seconds=60)
    waiting = asyncio.create_task(watch.ended(JOB.id, "acme", 60))
    await until(lambda: shelf.reads == 1)
    watch.close()
    assert (await asyncio.wait_for(waiting, 5)).state == "queued"
    assert (await asyncio.wait_for(watch.ended(JOB.id, "acme", 60), 5)).state == "queued", "who comes late neither"


async def test_what_was_not_heard_is_found() -> None:
    for told in (True, False):
        shelf = Shelf()
        watch = Watch(shelf.read, look_seconds=60 if told else 0.01)
        waiting = asyncio.create_task(watch.ended(JOB.id, "acme", 60))
        await until(lambda shelf=shelf: shelf.reads >= 1)  # type: ignore[misc]
        shelf.becomes("failed")
        if told:
            watch.gap()
        assert (await asyncio.wait_for(waiting, 5)).state == "failed"


async def test_it_waits_no_longer_than_asked_and_a_store_that_is_away_ends_nothing() -> None:
    shelf = Shelf()
    watch = Watch(shelf.read, look_seconds=0.005)
    assert (await watch.ended(JOB.id, "acme", 0.02)).state == "queued"
    seen: list[Job | None] = []

    async def follow() -> None:
        async for job in watch.follow(JOB.id, "acme"):
            seen.append(job)  # noqa: PERF401  # looked at while it grows

    following = asyncio.create_task(follow())
    await until(lambda: bool(seen))
    shelf.away = True
    before = shelf.reads
    await until(lambda: shelf.reads > before + 2)
    shelf.becomes("cancelled")
    shelf.away = False
    await asyncio.wait_for(following, 5)
    assert seen[-1] is not None
    assert seen[-1].state == "cancelled"


async def test_silence_is_told() -> None:
    shelf, told = Shelf(), 0
    watch = Watch(shelf.read, look_seconds=0.002)
    async for job in watch.follow(JOB.id, "acme", silence=0.001):
        told += job is None
        if told == 2:
            shelf.becomes("expired")
    assert told >= 2
