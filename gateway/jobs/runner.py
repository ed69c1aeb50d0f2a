"""Takes jobs and sees that each is worked on until it has its one end, whichever process that takes."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

from gateway.errors import StoreFault
from gateway.jobs.durable import Durable
from gateway.jobs.fences import Claim, Fences
from gateway.jobs.log import JobLog
from gateway.jobs.running import Running
from gateway.jobs.shelf import Shelf
from gateway.jobs.work import Money, Work
from gateway.telemetry import Telemetry

MOST_RUNNING = 256
BEAT_SECONDS = 1.0
HAND_OVER_SECONDS = 4.0
"""For orders that are just being placed to say their tickets; within what a process has to end (`cli.workers`)."""
RELEASE_SECONDS = 1.0
"""A store that is away does not hold up the end of the process."""
HAND_OVER_BEAT = 0.25
SPARED = 4
"""One part in so many of what a process works on is not for a tenant that has all the rest: its jobs may all wait for
one model."""
MONEY_BEATS = 30
"""Money of jobs that are gone is looked for with every so manieth beat."""
Gone = Callable[[Sequence[str]], Awaitable[None]]
"""Takes away what lies elsewhere of jobs that are about to be forgotten, by their ids: their artefacts."""
_log = logging.getLogger("gateway")


class Runner:
    """Of one replica: at most `most` jobs at once. What `gone` raises keeps the records until the next time."""

    def __init__(
        self,
        fences: Fences,
        shelf: Shelf,
        durable: Durable,
        work: Work,
        telemetry: Telemetry,
        *,
        money: Money | None = None,
        gone: Gone | None = None,
        most: int = MOST_RUNNING,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self._fences, self._shelf, self._durable, self._work = fences, shelf, durable, work
        self._telemetry, self._money, self._gone = telemetry, money, gone
        self._most, self._beat_seconds = most, beat_seconds
        telemetry.jobs_slots.set(most)
        self._running: dict[str, tuple[Running, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._beats = 0

    def heard(self, message: str) -> None:
        """A message of CHANNEL: subscribe with this and `gap`."""
        word, _, id = message.partition(" ")
        if word == "work":
            self._wake.set()
        elif word == "cancel" and id in self._running:
            self._running[id][0].stop("cancel")

    def gap(self) -> None:
        """Messages may have been missed: what they said is found with the next beat."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; then all jobs are handed over."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while True:
                with suppress(StoreFault):  # then the next beat finds out
                    if loop.time() >= due:
                        due = loop.time() + self._beat_seconds
                        await self._beat()
                    await self._take()
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, due - loop.time())):
                        await self._wake.wait()
        finally:
            await asyncio.shield(self._hand_over())

    async def _take(self) -> None:
        self._wake.clear()
        free = self._most - len(self._running)
        if free <= 0:
            return
        tenants = Counter(one.log.job.tenant for one in self._all())
        claims, freed = await self._fences.take(free, self._most - self._most // SPARED, tenants)
        self._freed(freed)
        for claim in claims:
            self._begin(claim)

    def _begin(self, claim: Claim) -> None:
        if (before := self._running.pop(claim.fence.id, None)) is not None:
            before[0].stop("lost")  # this replica was believed dead meanwhile
        one = Running(JobLog(self._fences, self._durable, claim), self._work, self._money)
        task = asyncio.create_task(one.run(claim.left))
        self._running[claim.fence.id] = one, task
        self._telemetry.jobs_running.set(len(self._running))
        task.add_done_callback(lambda _: self._ended(one))

    def _ended(self, one: Running) -> None:
        """One that cannot go on here is no longer named by the beat, so others may."""
        there = self._running.get(one.log.fence.id)
        if there is not None and there[0] is one:
            del self._running[one.log.fence.id]
        self._telemetry.jobs_running.set(len(self._running))
        if one.ended is not None:
            self._telemetry.count_job("unknown_outcome" if one.log.job.unknown else one.ended.state)
            self._wake.set()

    async def _beat(self) -> None:
        """This replica lives, and hears what it may have missed."""
        freed, words = await self._fences.beat(one.log.fence for one in self._all())
        self._freed(freed)
        self._telemetry.jobs_waiting.set(sum(one.log.job.open is None for one in self._all()))
        for id, word in words.items():
            if id in self._running:
                self._running[id][0].stop(word)
        expired, due = await self._fences.sweep()
        for _ in range(expired):
            self._telemetry.count_job("expired")
        if due:
            await self._forget(due)
        self._beats += 1
        if self._money is not None and self._beats % MONEY_BEATS == 0:
            await self._money.sweep(self._shelf.fate)

    async def _forget(self, due: Sequence[str]) -> None:
        try:
            if self._gone is not None:
                await self._gone(due)
        except Exception:
            _log.exception("artefacts of old jobs could not be taken away")
        else:
            await self._shelf.forget(due)

    async def _hand_over(self) -> None:
        """Others go on with what this replica had as soon as its work has stopped: one that is just placing an order
        says its ticket before."""
        loop, pairs = asyncio.get_running_loop(), list(self._running.values())
        for one, _ in pairs:
            one.stop("handover")
        until = loop.time() + HAND_OVER_SECONDS
        while (busy := [task for _, task in pairs if not task.done()]) and loop.time() < until:
            await asyncio.wait(busy, timeout=HAND_OVER_BEAT)
            with suppress(StoreFault, TimeoutError):  # a beat frees what it does not name
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._fences.beat(one.log.fence for one, task in pairs if not task.done())
        for one, _ in pairs:
            one.log.stopped = "lost"  # what is still on its way to an upstream by now is not to leave any more
        with suppress(StoreFault, TimeoutError):  # its fences end without it soon after
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._fences.release([one.log.fence for one, _ in pairs if one.ended is None], leaving=True)

    def _all(self) -> Iterable[Running]:
        return [one for one, _ in self._running.values()]

    def _freed(self, freed: int) -> None:
        if freed:
            self._telemetry.jobs_freed.inc(by=freed)
            _log.warning("jobs of replicas that are gone", extra={"fields": {"jobs": freed}})
