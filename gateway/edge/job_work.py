"""The work of a job: the same request, built again, through the same `Forward`, with its record for a client."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from itertools import count
from typing import Any

from gateway.edge.cycle import WIRE
from gateway.edge.elsewhere import engine_of
from gateway.edge.forward import Forward
from gateway.edge.job_ask import Asked, asked
from gateway.edge.job_checks import may_be_kept
from gateway.edge.job_wire import JobWire
from gateway.edge.ordering import order_of
from gateway.edge.services import Services
from gateway.errors import GatewayError, OrderLost, UpstreamFault
from gateway.jobs.artefacts import Artefacts, Lies
from gateway.jobs.record import Job, Try
from gateway.jobs.shelf import Shelf
from gateway.jobs.work import Anew, Log, Outcome, Stop
from gateway.model import Candidate, Decision
from gateway.routing.decide import decide
from gateway.routing.plan import plan_of
from gateway.routing.residency import strictest
from gateway.upstreams.desk import ClientDesk
from gateway.upstreams.dialects.ordered import dialect_of
from gateway.upstreams.orders import LOOK_SECONDS, look_for

PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds until a job that found no room tries again; the last one for ever. It ends with its deadline."""

GONE_SECONDS = 15.0
"""A worker of ours that cannot be asked for so long was restarted: its orders went with its process."""


class JobWork:
    """`jobs.work.Work`; one per process."""

    def __init__(self, services: Services, shelf: Shelf, artefacts: Artefacts, lies: Lies) -> None:
        self._s, self._shelf, self._artefacts, self._lies = services, shelf, artefacts, lies

    async def run(self, job: Job, log: Log) -> Outcome:
        """A GatewayError fails the job with its code."""
        policy, one = self._s.policy, await self._asked(job)
        began, tries = time.monotonic(), count()
        while True:
            if not await self._reachable(log, time.monotonic() - began):
                return Outcome.unknown()
            if policy is not self._s.policy:  # nothing is waited for from here until it decides
                policy, one = self._s.policy, await self._asked(job)
                continue
            wire = JobWire(log, self._artefacts, self._s.settings.artefact_bytes, self._lies)
            placed = log.job.open
            await self._forward(one, wire)
            if log.stopped is not None:
                break
            if wire.failed and placed is not None and not placed.managed:
                await wire.tried()  # a worker of ours has lost it: it is placed anew
                continue
            if not wire.busy:
                break
            if wire.failed:
                await wire.tried()
            await asyncio.sleep(PAUSES[min(next(tries), len(PAUSES) - 1)])
        stopped = log.stopped or ("expired" if wire.late else None)
        if stopped is None and wire.unknown:
            outcome = Outcome.unknown()
        else:
            outcome = await wire.outcome() if stopped is None or wire.kept else _taken_back(stopped)
        # Its try ends in the same write as the job: a process that dies between the two would leave a try that is over
        # and a job that is not, and whoever goes on would order once more.
        return replace(outcome, tried=wire.result)

    async def _asked(self, job: Job) -> Asked:
        """Under the policy in force. Raises ResidencyRefused where that demands more of its data than the one that
        accepted it did, and results must not lie where they are kept."""
        one = await asked(self._s, job, await self._shelf.body(job))
        board = self._s.board()
        may_be_kept(self._lies, strictest(one.request.residency, plan_of(one.request, board).demand), board.policy)
        return one

    async def _reachable(self, log: Log, waited: float) -> bool:
        """False where a bought order is with somebody whom the policy no longer has: nobody can say what becomes of it.
        An order that lies with a worker of ours that is gone is given up, and placed anew."""
        one = log.job.open
        if one is None or one.ticket is None:
            return True
        there = one.upstream in self._s.board().policy.upstreams
        if one.managed:
            return there
        if not there or waited > GONE_SECONDS:
            await log.tried(OrderLost.__name__)
        return True

    async def _forward(self, one: Asked, wire: JobWire) -> None:
        """An order that is placed has its money: nothing is set aside for it once more."""
        services, request = self._s, one.request
        if wire.bound is not None:
            request = replace(request, tenant=replace(request.tenant, quotas=()))
        forward = Forward(
            services,
            one.call,
            request,
            one.body.fields,
            services.board(),
            one.body.pictures,
            entered=True,
            bound=wire.bound,
        )
        wire.account = forward.account
        await forward({"type": "http", "extensions": {WIRE: wire}}, _nothing, _nobody)

    async def find(self, job: Job, one: Try) -> str | Anew:
        """By the list of the API's own. Raises UpstreamFault where that does not answer."""
        request = await asked(self._s, job, await self._shelf.body(job))
        board = self._s.board()
        try:
            decision = decide(request.request, board, self._s.rng)
        except GatewayError:
            return Anew.UNKNOWN
        candidate = _candidate(decision, one.upstream)
        if candidate is None:
            return Anew.UNKNOWN
        upstream, endpoint = candidate.upstream, job.endpoint
        dialect = dialect_of(upstream, endpoint, engine_of(candidate, board))
        order = order_of(request.request, request.body.fields, request.body.pictures, candidate.served, one.attempt)
        if dialect is None or dialect.find(upstream, order) is None:
            return Anew.UNKNOWN
        desk = ClientDesk(
            client=self._s.client,
            permit=decision.permit,
            policy=decision.policy,
            request=request.request.id,
            attempt=one.attempt,
            upstream=upstream,
            timeouts=decision.rule.timeouts,
            until=time.monotonic() + LOOK_SECONDS,
            most=self._s.settings.result_bytes,
        )
        try:
            told = await look_for(desk, dialect, upstream, order)
        except OrderLost as lost:
            if isinstance(lost.__cause__, UpstreamFault):
                raise lost.__cause__ from None
            return Anew.UNKNOWN
        return Anew.NOT_THERE if told is None else told.ticket or Anew.UNKNOWN


def _taken_back(why: Stop) -> Outcome:
    """Of one that was resumed only to cancel its order."""
    return Outcome("expired" if why == "expired" else "cancelled")


def _candidate(decision: Decision, upstream: str) -> Candidate | None:
    groups = (*decision.primary, *decision.overflow)
    return next((one for group in groups for one in group.candidates if one.upstream.name == upstream), None)


async def _nothing() -> dict[str, Any]:
    """What a client sends whose end is its record: nothing, ever."""
    await asyncio.Event().wait()
    return {}


async def _nobody(message: Any) -> None:
    """To it nothing is sent: it is answered by its wire."""
