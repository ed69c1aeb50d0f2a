"""The record of one job, in the hands of the one process that works on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from gateway.errors import StoreFault
from gateway.jobs.durable import Durable
from gateway.jobs.fences import Claim, Fences
from gateway.jobs.record import Job, Try
from gateway.jobs.work import FenceLost, FenceOld, Outcome, Stop
from gateway.model import NOT_SENT

PAUSE_SECONDS = 0.2
"""Between two tries to reach a store that is away."""
PROGRESS_SECONDS = 1.0


class JobLog:
    """`work.Log`, and `finish` for the runner. One write at a time; each is repeated until the store says either."""

    def __init__(self, fences: Fences, durable: Durable, claim: Claim) -> None:
        self._fences, self._durable = fences, durable
        self.fence, self._job = claim.fence, claim.job
        self.stopped: Stop | None = None
        self.on_lost: Callable[[], None] = lambda: None
        """Called before FenceLost is raised to whoever works."""
        self.stands: Callable[[str], Awaitable[bool]] = _nothing_kept
        """`Money.stands`, for a bought attempt."""
        self._leaving = ""
        """The newest attempt of which something may have left."""
        self._writing = asyncio.Lock()
        self._progressed = time.monotonic()
        self._telling: asyncio.Task[None] | None = None

    @property
    def job(self) -> Job:
        return self._job

    async def intent(self, one: Try) -> None:
        try:
            await self._write(lambda job: msgspec.structs.replace(job, state="running", tries=(*job.tries, one)))
            if one.managed:
                kept = False
                while not kept:
                    await self._insist(self._durable.sync)
                    # A store that went down before the sync came back without the intent, and the sync told of another
                    # file; or this process was paused, and another one has the job. A write under the next version
                    # finds either. It may also have come back without the money, which was written before.
                    await self._write(lambda job: job)
                    kept = await self.stands(one.attempt)
        except (asyncio.CancelledError, StoreFault):
            with suppress(FenceLost):
                await self._write(lambda job: _unsent(job, one.attempt))
            raise

    def may_send(self) -> None:
        """Of an order without a ticket, just before the first byte of each of its calls: raises FenceLost where this
        process was paused, or cut off from the store, for so long that another one may have its job; FenceOld where no
        call has left before."""
        one = self._job.open
        if one is None or one.ticket is not None:
            return
        if self.stopped == "lost" or not self._fences.fresh(self.fence):
            self.on_lost()
            raise (FenceLost if self._leaving == one.attempt else FenceOld)(self.fence.id)
        self._leaving = one.attempt

    async def ticket(self, ticket: str) -> None:
        await self._newest(ticket=ticket)

    async def progress(self, percent: int) -> None:
        now = time.monotonic()
        if percent <= self._job.percent or now - self._progressed < PROGRESS_SECONDS or self._writing.locked():
            return
        self._progressed = now
        self._telling = asyncio.create_task(self._progress(min(percent, 100)))

    async def tried(self, result: str) -> None:
        await self._newest(result=result)

    async def finish(self, outcome: Outcome) -> None:
        """Its one end, and that of a try that was broken off with it. Raises FenceLost where another process has it, or
        has ended it."""
        result = outcome.tried or (None if outcome.state == "succeeded" else outcome.state)
        await self._write(
            lambda job: msgspec.structs.replace(
                job if job.open is None or result is None else _changed(job, result=result),
                state=outcome.state,
                percent=100 if outcome.state == "succeeded" else job.percent,
                artefacts=outcome.artefacts,
                error=outcome.error,
                seconds=outcome.seconds or job.seconds,
                size=outcome.size or job.size,
            )
        )

    async def _newest(self, **changes: object) -> None:
        await self._write(lambda job: _changed(job, **changes))

    async def _progress(self, percent: int) -> None:
        try:
            await self._write(lambda job: msgspec.structs.replace(job, percent=max(job.percent, percent)))
        except FenceLost:
            return

    async def _write(self, changed: Callable[[Job], Job]) -> None:
        """What was begun is ended, also where whoever waits for it is cancelled: the version counts every write."""
        await asyncio.shield(asyncio.create_task(self._change(changed)))

    async def _change(self, changed: Callable[[Job], Job]) -> None:
        async with self._writing:
            job = changed(self._job)
            try:
                await self._insist(lambda: self._fences.write(self.fence, job))
            except FenceLost:
                self.on_lost()
                raise
            self._job = job

    async def _insist(self, call: Callable[[], Awaitable[None]]) -> None:
        """Until the store has answered, or the runner has been told that this is no job of ours any more."""
        while True:
            try:
                return await call()
            except StoreFault:
                if self.stopped == "lost":
                    raise FenceLost(self.fence.id) from None
                await asyncio.sleep(PAUSE_SECONDS)


async def _nothing_kept(_: str) -> bool:
    return True


def _changed(job: Job, **changes: object) -> Job:
    *before, newest = job.tries
    return msgspec.structs.replace(job, tries=(*before, msgspec.structs.replace(newest, **changes)))


def _unsent(job: Job, attempt: str) -> Job:
    """Who was stopped before it sent says so: else the next one could not tell."""
    return _changed(job, result=NOT_SENT) if job.open is not None and job.open.attempt == attempt else job
