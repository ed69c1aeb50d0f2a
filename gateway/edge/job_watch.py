"""Who waits for a job to move: callers with `?wait=`, and readers of its events. The store tells; it is looked at now
and then all the same, since what it publishes comes at most once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.errors import StoreFault
from gateway.jobs.record import Job

LOOK_SECONDS = 2.0
_MOVED = "moved"


class Watch:
    """One per process. `read(id, tenant)` gives the record, or raises."""

    def __init__(self, read: Callable[[str, str], Awaitable[Job]], look_seconds: float = LOOK_SECONDS) -> None:
        self._read, self._look_seconds = read, look_seconds
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._closed = False

    def close(self) -> None:
        """The process is about to end: whoever waits is told how it is now, and may ask another one."""
        self._closed = True
        self.gap()

    def heard(self, message: str) -> None:
        """A message of the jobs' channel."""
        word, _, id = message.partition(" ")
        if word == _MOVED:
            for one in self._waiting.get(id, ()):
                one.set()

    def gap(self) -> None:
        """Messages may have been missed."""
        for waiting in self._waiting.values():
            for one in waiting:
                one.set()

    async def ended(self, id: str, tenant: str, seconds: float) -> Job:
        """The job once it is over, or as it is when so much time has passed."""
        last: Job | None = None
        async for job in self.follow(id, tenant, seconds):
            if job is not None:
                last = job
        return last if last is not None else await self._read(id, tenant)

    async def follow(
        self, id: str, tenant: str, seconds: float | None = None, silence: float | None = None
    ) -> AsyncIterator[Job | None]:
        """The job now, and whenever it may have moved, until it is over or `seconds` have passed. None after `silence`
        seconds without any: whoever reads this may want to say that it is still there."""
        loop, moved = asyncio.get_running_loop(), asyncio.Event()
        until = None if seconds is None else loop.time() + seconds
        self._waiting.setdefault(id, set()).add(moved)
        try:
            quiet = loop.time()
            while True:
                moved.clear()
                job = await self._look(id, tenant)
                if job is not None:
                    yield job
                left = self._look_seconds if until is None else min(self._look_seconds, until - loop.time())
                if left <= 0 or self._closed or (job is not None and job.over):
                    return
                if silence is not None and loop.time() - quiet >= silence:
                    quiet = loop.time()
                    yield None
                await _within(moved, left)
        finally:
            self._waiting[id].discard(moved)
            if not self._waiting[id]:
                del self._waiting[id]

    async def _look(self, id: str, tenant: str) -> Job | None:
        """None: the store is away, and whoever waits for a job can wait for that too."""
        try:
            return await self._read(id, tenant)
        except StoreFault:
            return None


async def _within(moved: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await moved.wait()
    except TimeoutError:
        return
