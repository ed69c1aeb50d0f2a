"""One job under way in this process: what its last process left open is looked into, its work is done, its end told."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gateway.errors import GatewayError, StoreFault, UpstreamFault
from gateway.jobs.log import JobLog
from gateway.jobs.record import Try
from gateway.jobs.work import Anew, FenceLost, FenceOld, Money, Outcome, Stop, Work
from gateway.model import NOT_SENT

TIDY_SECONDS = 10.0
"""For a work that was stopped to cancel its order upstream."""
FIND_SECONDS, FIND_PAUSE = 60.0, 2.0
"""How long an order whose answer was lost is looked for while its API does not answer."""
SETTLE_SECONDS = 5.0
"""So long an order may be on its way after whoever sent it was found dead, or be placed and not yet listed: no list is
believed before that says that it is not there."""
LEAVE_IT = frozenset({"handover", "lost"})
"""Reasons to stop for which the job goes on elsewhere."""
DIED = "gateway_died"
"""How a try ended of which its own process could not tell."""
_log = logging.getLogger("gateway")


class Running:
    """`run` returns once the job is over, or none of ours. `ended` is its end, once the store has it; `released`: this
    process cannot go on with it, another one may."""

    def __init__(self, log: JobLog, work: Work, money: Money | None) -> None:
        self.log, self._work, self._money = log, work, money
        self.ended: Outcome | None = None
        self.released = False
        self._task: asyncio.Task[Outcome] | None = None
        """What a stop cancels: the work."""
        self._looking = False
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Set where the work did not end although it was stopped."""
        log.on_lost = self._goes_on_elsewhere
        if money is not None:
            log.stands = money.stands

    def stop(self, why: Stop) -> None:
        """The first reason counts, but who has lost a job need not tidy up. A look for a lost order is not broken off
        by the caller: there may be something to cancel."""
        before = self.log.stopped
        if before is not None and (before == "lost" or why not in LEAVE_IT):
            return
        self.log.stopped = why
        if why in LEAVE_IT:
            self._goes_on_elsewhere()
        if self._task is None or (self._looking and why not in LEAVE_IT):
            return
        self._task.cancel()
        asyncio.get_running_loop().call_later(TIDY_SECONDS, self._leave)

    async def run(self, left: float) -> None:
        """`left`: seconds until its deadline."""
        if self.log.job.cancel:
            self.log.stopped = "cancel"
        elif left <= 0:
            self.log.stopped = "expired"
        watchdog = asyncio.get_running_loop().call_later(max(0.0, left), self.stop, "expired")
        try:
            outcome = await self._outcome()
            if outcome is not None:
                await self._finish(outcome)
        except FenceOld:
            self.released = await self._nothing_left()
        except FenceLost:
            self.log.stopped = "lost"
        except StoreFault:
            self.released = True
        finally:
            watchdog.cancel()
            self._left.cancel()

    async def _finish(self, outcome: Outcome) -> None:
        """Its money first: what is in the books before its end need not be guessed by those who find it over."""
        self._task = None
        if self._money is not None:
            with suppress(StoreFault):  # what is missing then is swept, at what was set aside
                await self._money.told()
        await self.log.finish(outcome)
        self.ended = outcome

    async def _outcome(self) -> Outcome | None:
        """None: it goes on elsewhere. Raises FenceLost."""
        task = self._task = asyncio.create_task(self._worked())
        ends: list[asyncio.Future[Any]] = [task, self._left]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if task.done() and not task.cancelled():
            return await self._told(task)
        why = self.log.stopped
        if why in LEAVE_IT:
            return None
        if why is None:
            return Outcome.failed(GatewayError.code, "the job was broken off")
        return _of_stop(why)

    async def _told(self, task: asyncio.Task[Outcome]) -> Outcome:
        try:
            return await task
        except GatewayError as error:
            return Outcome.failed(error.code, error.message)
        except (FenceLost, StoreFault):
            raise
        except Exception:
            _log.exception("a job failed", extra={"fields": {"job": self.log.job.id}})
            return Outcome.failed(GatewayError.code, "the gateway failed")

    async def _worked(self) -> Outcome:
        log, one = self.log, self.log.job.open
        if one is not None and one.ticket is None:
            self._looking = True
            if not await self._looked(one):
                # No write of its own says that the try is over: who died after that would leave a job that another
                # process orders anew.
                return replace(Outcome.unknown(), tried=Anew.UNKNOWN.value)
            self._looking = False
        if log.stopped is not None and log.job.open is None:
            return _of_stop(log.stopped)
        if log.stopped is not None:
            asyncio.get_running_loop().call_later(TIDY_SECONDS, self._leave)
        return await self._work.run(log.job, log)

    async def _looked(self, one: Try) -> bool:
        """What became of an order that may have been sent by a process that is gone; False: nobody can say. Only what
        is not paid for is given up without a look: a worker of ours may do it twice."""
        found = await self._find(one) if one.managed else None
        if isinstance(found, str):
            await self.log.ticket(found)
        elif found is Anew.NOT_THERE:
            await self._unsent(one)
        else:
            if self._money is not None:
                with suppress(StoreFault):  # it is swept later
                    await self._money.lost(one.attempt)
            if found is Anew.UNKNOWN:
                return False
            await self.log.tried(DIED)
        return True

    async def _unsent(self, one: Try) -> None:
        """The record says so before its money does: who died in between would leave an attempt that costs nothing, and
        that the next look may find."""
        await self.log.tried(NOT_SENT)
        if self._money is not None:
            with suppress(StoreFault):  # it is swept later
                await self._money.unsent(one.attempt)

    async def _nothing_left(self) -> bool:
        """Of an order that this process came too late to send: whether it was still the one to say so."""
        if (one := self.log.job.open) is None:
            return True
        try:
            async with asyncio.timeout(TIDY_SECONDS):
                await self._unsent(one)
        except (FenceLost, TimeoutError):
            return False
        return True

    async def _find(self, one: Try) -> str | Anew:
        loop = asyncio.get_running_loop()
        until, settled = loop.time() + FIND_SECONDS, loop.time() + SETTLE_SECONDS
        while True:
            try:
                found = await self._work.find(self.log.job, one)
                if found is not Anew.NOT_THERE or loop.time() >= settled:
                    return found
            except UpstreamFault:
                if loop.time() > until:
                    return Anew.UNKNOWN
            await asyncio.sleep(FIND_PAUSE)

    def _goes_on_elsewhere(self) -> None:
        if self._money is not None and (one := self.log.job.open) is not None:
            self._money.leave(one.attempt)

    def _leave(self) -> None:
        if not self._left.done():
            self._left.set_result(None)


def _of_stop(why: Stop) -> Outcome:
    return Outcome("expired" if why == "expired" else "cancelled")
