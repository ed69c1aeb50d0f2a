"""Steps 6 and 7: a decision becomes a lease. Admit, wait, spill, or shed."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway.errors import BudgetExceeded, DeadlineExceeded, FleetSaturated, GatewayError, StoreFault
from gateway.fleet.leases import Grant, Leases, slot_name
from gateway.model import (
    Candidate,
    Decision,
    GenRequest,
    Group,
    Lease,
    Priority,
    Reservation,
    Seen,
    Snapshot,
)
from gateway.routing.order import order, spill_reason, why_full
from gateway.routing.pickers import pick

POLL_SECONDS = 0.1
"""How often a waiter looks for room that another replica freed; our own releases wake it at once."""
RETRY_AFTER_SECONDS = (1, 60)
DRAIN_MEMORY_SECONDS = 10.0
Looks = dict[str, Seen]
"""Upstream -> the last look at it."""
_RANK: Mapping[Priority, int] = {"interactive": 0, "standard": 1, "batch": 2}


class Reserver(Protocol):
    async def reserve(self, rule: str, usd: float, usd_per_hour: float) -> Reservation | None: ...


@dataclass(order=True, slots=True)
class Waiter:
    """A place in the queue of a backend: higher classes first, then first come."""

    rank: int
    number: int
    turn: asyncio.Event = field(compare=False, default_factory=asyncio.Event)


@dataclass(slots=True)
class Line:
    """Who waits for one backend, and how fast it frees leases (per second, forgetting over DRAIN_MEMORY_SECONDS)."""

    waiters: list[Waiter] = field(default_factory=list)
    rate: float = 0.0
    last: float = 0.0

    def behind(self, rank: int) -> bool:
        """Whether a newcomer of this class has to stand behind somebody."""
        return bool(self.waiters) and self.waiters[0].rank <= rank

    def wake(self) -> None:
        if self.waiters:
            self.waiters[0].turn.set()

    def released(self, now: float) -> None:
        if self.last:
            gap = max(now - self.last, 1e-6)
            weight = min(1.0, gap / DRAIN_MEMORY_SECONDS)
            self.rate += weight * (1 / gap - self.rate)
        self.last = now

    def retry_after(self, now: float) -> int:
        """Seconds until a newcomer is likely to find room: those before it, at the rate at which leases come free."""
        low, high = RETRY_AFTER_SECONDS
        rate = min(self.rate, 1 / max(now - self.last, 1e-6)) if self.last else 0.0
        return high if rate <= 0 else min(high, max(low, math.ceil((len(self.waiters) + 1) / rate)))


class Admission:
    """The only place where leases are taken and given back."""

    def __init__(
        self,
        leases: Leases,
        budgets: Reserver,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases, self._budgets, self._snapshot, self._clock = leases, budgets, snapshot, clock
        self._lines: dict[str, Line] = {}
        self._numbers = itertools.count()

    async def admit(self, request: GenRequest, decision: Decision, seen: Looks | None = None) -> Lease:
        """The lease under which `request` may be sent; the caller gives it back with `release`.

        `seen` is filled with what was looked at, also where nothing had room: a refusal has a receipt too.
        Raises FleetSaturated, BudgetExceeded or DeadlineExceeded.
        """
        began = self._clock()
        seen = {} if seen is None else seen
        for groups in order(decision):
            if groups is decision.overflow:
                lease = await self._overflow(decision, seen, self._clock() - began if decision.primary else 0.0)
            else:
                lease = await self._primary(request, decision, began, seen)
            if lease is not None:
                return lease
        raise self._shed(request, decision)

    def release(self, lease: Lease) -> None:
        """Gives back exactly what was taken, once; safe to call from a `finally` under cancellation."""
        self._leases.release(lease.group.backend, lease.id)
        line = self._line(lease.group.backend)
        line.released(self._clock())
        line.wake()

    async def _primary(self, request: GenRequest, decision: Decision, began: float, seen: Looks) -> Lease | None:
        """Room now, or room within the rule's wait. Newcomers stand behind those who wait already."""
        if not decision.primary:
            return None
        rank = _RANK[request.priority]
        line = self._line(decision.primary[0].backend)
        if not line.behind(rank) and (lease := await self._first(decision.primary, 0.0, seen)):
            return lease
        until = began + decision.max_wait
        if request.deadline is not None:
            until = min(until, request.deadline)
        return await self._wait(request, decision, line, rank, began, until, seen) if until > self._clock() else None

    async def _wait(
        self,
        request: GenRequest,
        decision: Decision,
        line: Line,
        rank: int,
        began: float,
        until: float,
        seen: Looks,
    ) -> Lease | None:
        waiter = Waiter(rank, next(self._numbers))
        heapq.heappush(line.waiters, waiter)
        try:
            while (left := until - self._clock()) > 0:
                waiter.turn.clear()
                if line.waiters[0] is waiter:
                    lease = await self._first(decision.primary, self._clock() - began, seen)
                    if lease is not None:
                        return lease
                # Not wait_for: before Python 3.12 it swallows a cancellation that meets a turn.
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, POLL_SECONDS)):
                        await waiter.turn.wait()
            return None
        finally:
            line.waiters.remove(waiter)
            heapq.heapify(line.waiters)
            line.wake()

    async def _overflow(self, decision: Decision, seen: Looks, waited: float) -> Lease | None:
        """The first overflow group with room whose money is not used up. What it leaves behind at home is seen too."""
        states = self._snapshot().states
        home = [one for group in decision.primary for one in group.candidates if one.upstream.name in states]
        full = why_full((states[one.upstream.name] for one in home), waited=waited >= POLL_SECONDS)
        for one in home:
            seen.setdefault(one.upstream.name, self._seen(one, states[one.upstream.name].leased))
        for group in decision.overflow:
            told = replace(group, reason=spill_reason(decision, group, full))
            lease = await self._first((told,), waited, seen)
            if lease is None:
                continue
            paid = await self._pay(decision, lease)
            if paid is not None:
                return paid
            self.release(lease)
        return None

    async def _pay(self, decision: Decision, lease: Lease) -> Lease | None:
        """Money is set aside before anything is sent; fallback spends from the same budget as spill."""
        spill = decision.rule.spill
        if spill is None or spill.budget_usd_per_hour is None:
            return lease
        try:
            held = await self._budgets.reserve(
                decision.rule.name, lease.candidate.price_most or 0.0, spill.budget_usd_per_hour
            )
        except BaseException:
            self.release(lease)
            raise
        return None if held is None else replace(lease, reservation=held)

    async def _first(self, groups: Sequence[Group], waited: float, seen: Looks) -> Lease | None:
        for group in groups:
            lease_id = self._leases.new_id()
            grant = await self._acquire(group, lease_id)
            for one, leased in zip(group.candidates, grant.leased, strict=False):
                seen[one.upstream.name] = self._seen(one, leased)
            if grant.index is not None:
                candidate = group.candidates[grant.index]
                return Lease(lease_id, candidate, group, _slot(candidate), tuple(seen.values()), waited)
        return None

    async def _acquire(self, group: Group, lease_id: str) -> Grant:
        try:
            grant = await self._leases.acquire(group.backend, lease_id, group.candidates)
        except StoreFault:
            return self._acquire_alone(group, lease_id)
        return self._acquire_alone(group, lease_id) if grant.recovering else grant

    def _acquire_alone(self, group: Group, lease_id: str) -> Grant:
        """Without the store: this replica's share of what was free when it last saw it, by the script's own formula."""
        states = self._snapshot().states
        leased, counts = [], []
        for one in group.candidates:
            room = self._leases.room(group.backend, one)
            # A share may be smaller than any request: while some of it is left, one more request may use it.
            leased.append(one.limit if room <= 0 else max(0, min(one.limit - room, one.limit - one.outside - one.work)))
            state = states.get(one.upstream.name)
            counts.append(state.inflight if state is not None else 0)
        index = pick(group.candidates, leased, counts)
        if index is not None:
            self._leases.adopt(group.backend, lease_id, group.candidates[index])
        return Grant(index, tuple(leased), tuple(counts))

    def _seen(self, candidate: Candidate, leased: int) -> Seen:
        snapshot = self._snapshot()
        load = (leased + candidate.outside) / candidate.limit
        seen = Seen(candidate.upstream.name, candidate.score, candidate.work, load, candidate.limit)
        state = snapshot.states.get(candidate.upstream.name)
        if state is None or state.reading is None:
            return seen
        reading = state.reading
        return replace(seen, queue_depth=reading.waiting, gpu=reading.gpu, age=max(0.0, snapshot.at - reading.at))

    def _shed(self, request: GenRequest, decision: Decision) -> GatewayError:
        now = self._clock()
        if request.deadline is not None and now >= request.deadline:
            return DeadlineExceeded("the deadline passed while waiting for capacity")
        spill = decision.rule.spill
        backends = ", ".join(group.backend for group in (*decision.primary, *decision.overflow))
        line = self._line((*decision.primary, *decision.overflow)[0].backend)
        if not decision.primary and decision.overflow and spill is not None and spill.budget_usd_per_hour is not None:
            return BudgetExceeded(
                f"rule `{decision.rule.name}` has spent its budget of this hour", retry_after=line.retry_after(now)
            )
        return FleetSaturated(f"every upstream of {backends} is full", retry_after=line.retry_after(now))

    def _line(self, backend: str) -> Line:
        return self._lines.setdefault(backend, Line())


def _slot(candidate: Candidate) -> str:
    return slot_name(candidate.upstream.name, candidate.life)
