"""Steps 6 and 7: a decision becomes a lease. Admit, wait, spill, or shed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Protocol

from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    StoreFault,
)
from gateway.fleet.book import slot_name
from gateway.fleet.leases import Leases
from gateway.granting import Counter
from gateway.model import (
    RANK,
    Bound,
    Decision,
    GenRequest,
    Group,
    Kept,
    Lease,
    Look,
    Reservation,
    Snapshot,
    Spill,
    Visit,
)
from gateway.money.keeping import held_back, open_to, refusal
from gateway.money.spending import AWAY, Spending
from gateway.queueing import asked, work_of_group
from gateway.routing.below import fullness
from gateway.routing.candidates import uncapped
from gateway.routing.order import WAITED_SECONDS, order, spill_reason, why_full
from gateway.routing.quotas import home_first
from gateway.waiting.lines import Found, Lines, Waiter

GRACE_SECONDS = 0.005
"""A place that was left to another replica is looked at by our own line after so long: where nobody took it, we do."""


class Reserver(Protocol):
    async def reserve(self, rule: str, usd: float, bounds: Spill) -> Reservation | Bound: ...


@dataclass(slots=True)
class _Course:
    """The newest decision for a request that is being admitted. All that is done for it from then on is done by that
    one: an older decision may let its data go where the newer one does not."""

    decision: Decision
    again: Callable[[], Decision]

    def anew(self) -> Sequence[Group]:
        """Who may serve at home as things are now; nobody where the new decision is a refusal: it waits on, for one
        that is none."""
        try:
            self.decision = self.again()
        except GatewayError:
            return ()
        return self.decision.primary


class Admission:
    """The only place where leases are taken and given back."""

    def __init__(
        self,
        leases: Leases,
        budgets: Reserver,
        snapshot: Callable[[], Snapshot],
        lines: Lines | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
        spending: Spending | None = None,
    ) -> None:
        """`lines`: where others look at them too; `rng` says which of several replicas a free place is for. Without
        `spending` no budget but the rules' own is kept."""
        self._leases, self._budgets, self.spending = leases, budgets, spending
        self._snapshot, self._clock, self._counter = snapshot, clock, Counter(leases, snapshot)
        self.lines = Lines(clock) if lines is None else lines
        self.lines.on_wait = leases.wait
        self._rng = Random() if rng is None else rng

    async def admit(
        self,
        request: GenRequest,
        decision: Decision,
        visit: Visit | None = None,
        again: Callable[[], Decision] | None = None,
    ) -> Lease:
        """The lease under which `request` may be sent; the caller gives it back with `release`.

        `again` decides anew on the snapshot of that moment: a worker that comes back while the request waits is found.
        The lease tells by which decision it was taken; that one must hold for whatever is done under it.
        Raises FleetSaturated, BudgetExceeded, InvalidRequest (no budget can be sure of what it costs) or
        DeadlineExceeded, and what `again` raises at the end of a wait: then it is neither bought nor kept by an older
        decision.
        """
        visit = Visit() if visit is None else visit
        visit.kept, visit.crowded, visit.stays = None, False, False
        visit.unpaid.clear()
        course = self._course(request, decision, visit, again or (lambda: decision))
        decision = course.decision
        for groups in order(decision):
            if groups is decision.overflow:
                lease = await self._overflow(request, course.decision, visit)
            else:
                lease = await self._primary(request, course, visit)
            if lease is not None:
                return lease if groups is decision.overflow else _told(lease, visit)
        visit.stays, newest = True, course.decision
        if not visit.crowded and (newest.cheap or newest.kept_wait > visit.waited):
            lease = await self._primary(request, course, visit)
            if lease is not None:
                return _told(lease, visit)
        raise self._shed(request, course.decision, visit)

    async def affords(self, request: GenRequest, decision: Decision) -> None:
        """Whether anybody who may serve it could be paid now: what that may cost is set aside and given back. Raises
        BudgetExceeded, and InvalidRequest, as `admit`."""
        if self.spending is None:
            return
        unpaid: dict[str, Kept] = {}
        for group in (*decision.primary, *decision.overflow):
            held = await self.spending.hold(request, Lease("", group.candidates[0], group, "", decision))
            if not isinstance(held, Kept):
                if held is not None:
                    self.spending.give(held)
                return
            unpaid[group.backend] = held
        if unpaid:
            raise refusal(unpaid.values(), self._clock())

    async def take(self, request: GenRequest, decision: Decision, visit: Visit) -> Lease | None:
        """A lease that is free now, or None: nobody waits for it, and it goes before nobody who waits; nor does it
        begin where its class would have to wait. At home or, within the bounds of `spill`, beyond."""
        decision = self._course(request, decision, visit, lambda: decision).decision
        free = [group for group in decision.primary if not self.lines.size(group.backend)]
        lease = await self._first(request, decision, self._may_begin(request, decision, free), visit)
        bought = lease is None and decision.overflow and visit.past is None
        return await self._overflow(request, decision, visit) if bought else lease

    def shrink(self, lease: Lease, work: int) -> None:
        """Part of it is done: the lease holds at most `work` from now on, and who waits may use the rest."""
        if work < lease.candidate.work:
            backend, leave = lease.group.backend, self._leaves_to_others(lease.group.backend)
            self._freed(backend, self._leases.resize(backend, lease.id, work, tell=leave), leave)

    def end(self, lease: Lease) -> None:
        """`release`, of a lease under which nothing is sent any more: what it holds of budgets and was not booked by
        now is free again."""
        self.release(lease)
        if lease.hold is not None and self.spending is not None:
            self.spending.give(lease.hold)

    def release(self, lease: Lease) -> None:
        """Gives back exactly what was taken, once however often it is called; safe in a `finally` when cancelled."""
        backend, leave = lease.group.backend, self._leaves_to_others(lease.group.backend)
        freed = self._leases.release(backend, lease.id, tell=leave)
        if freed is not None:
            self._freed(backend, freed, leave)

    def _leaves_to_others(self, backend: str) -> bool:
        """Whether what comes free is for another replica, if one waits: where requests wait here as well, each of the
        waiting replicas has the same chance."""
        if not self.lines.size(backend):
            return True
        others = self._leases.elsewhere(backend)
        return others > 0 and self._rng.random() * (others + 1) < others

    def _freed(self, backend: str, work: int, leave: bool) -> None:
        self.lines.freed(backend, work)
        if not leave:
            self.lines.wake(backend)
        elif self.lines.size(backend):
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self.lines.wake, backend)

    def _course(self, request: GenRequest, decision: Decision, visit: Visit, again: Callable[[], Decision]) -> _Course:
        """Past a soft budget our own workers come first, whatever is decided anew meanwhile."""
        soft = None if self.spending is None else self.spending.past(request, decision)
        if soft is None:
            return _Course(decision, again)
        visit.past = soft.name
        return _Course(home_first(decision), lambda: home_first(again()))

    async def _primary(self, request: GenRequest, course: _Course, visit: Visit) -> Lease | None:
        """Room now, or room within the rule's wait. Newcomers stand behind those who wait already."""
        decision = course.decision
        if not decision.primary:
            return None
        at_once = [
            self._beside_kept(request, decision, group)
            for group in decision.primary
            if not self.lines.behind(group.backend, partial(asked, request, decision, (group,)))
        ]
        tried = {group.backend: self.lines.wakes(group.backend) for group in at_once}
        at_home = self._may_begin(request, decision, at_once)
        if at_once and (lease := await self._first(request, decision, at_home, visit)):
            self.lines.came(
                lease.group.backend, asked(request, decision, (lease.group,))._replace(work=lease.candidate.work)
            )
            return lease
        wait = decision.kept_wait - visit.waited if visit.stays else decision.max_wait
        return await self._line_up(request, wait, course, visit, tried)

    async def _line_up(
        self, request: GenRequest, wait: float, course: _Course, visit: Visit, tried: Mapping[str, int]
    ) -> Lease | None:
        """Room at home within `wait` seconds, and the caller's deadline. `tried`: backends where it found none just
        now, and what `Lines.wakes` was as it began to look."""
        decision, began = course.decision, self._clock()
        until = began + wait
        if request.deadline is not None:
            until = min(until, request.deadline)
        if until <= began:
            return None
        home = open_to(decision.primary, visit.unpaid)
        if not home:
            return None  # room is not what it lacks
        # A class that waits until others ask for less never goes before them.
        patient = decision.rule.classes[request.priority].below < 1
        starves = math.inf if patient else began - visit.waited + decision.rule.starve_after
        ask = asked(request, decision, home, until, starves)
        homes = {group.backend: work_of_group(group) for group in home}
        if visit.expected is None:
            visit.expected = self.lines.expected(ask, homes)
        waiter = self.lines.join(ask, homes, decision.rule.max_queue, tried)
        if waiter is None:
            visit.crowded = True
            return None
        lease = None
        try:
            lease = await self._wait(request, waiter, course, visit)
            if lease is None:
                course.decision = course.again()  # where its data may go now; a refusal is one for all that is left
            return lease
        finally:
            visit.crowded = waiter.gone
            self.lines.leave(waiter, None if lease is None else lease.group.backend)
            visit.waited += self._clock() - began

    async def _wait(self, request: GenRequest, waiter: Waiter, course: _Course, visit: Visit) -> Lease | None:
        while not waiter.gone and (left := waiter.ask.deadline - self._clock()) > 0:
            waiter.turn.clear()
            if waiter.called and (lease := await self._try(request, waiter, course, visit)):
                return lease
            if visit.unpaid.keys() >= waiter.places.keys():
                return None
            # Not wait_for: before Python 3.12 it swallows a cancellation that meets a turn.
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await waiter.turn.wait()
        return None

    async def _try(self, request: GenRequest, waiter: Waiter, course: _Course, visit: Visit) -> Lease | None:
        """The turn of one waiter, at all backends that call it. An overdue one may fill what the highest class may."""
        called = frozenset(waiter.called)
        home = open_to(course.anew(), visit.unpaid)
        for group in home:
            self.lines.stand(waiter, group.backend, work_of_group(group))
        mine = [group for group in home if group.backend in called]
        if waiter.ask.starves <= self._clock():
            mine = [uncapped(group) for group in mine]
        asked = [group for group in self._may_begin(request, course.decision, mine) if group.candidates]
        beside = [self._beside_kept(request, course.decision, group) for group in asked]
        lease = await self._first(request, course.decision, beside, visit)
        if lease is None:
            full = {group.backend: frozenset([one.upstream.name for one in group.candidates]) for group in asked}
            for backend in called:
                self.lines.answer(waiter, backend, Found.FULL if backend in full else Found.NOBODY, full.get(backend))
        return lease

    def _beside_kept(self, request: GenRequest, decision: Decision, group: Group) -> Group:
        """Without the workers that are kept for somebody who asks for another model, or with another demand."""
        kept = self.lines.reserved(group.backend, (request.model, decision.demand), RANK[request.priority])
        if not kept:
            return group
        last = None if group.last is None else [one for one in group.last if one.upstream.name not in kept]
        return replace(group, candidates=[one for one in group.candidates if one.upstream.name not in kept], last=last)

    def _may_begin(self, request: GenRequest, decision: Decision, groups: Sequence[Group]) -> Sequence[Group]:
        """Those whose workers are, by the last snapshot and what this replica took since, less full than the class
        demands (`below`)."""
        below = decision.rule.classes[request.priority].below
        if below >= 1:
            return groups
        states, taken = self._snapshot().states, self._leases.taken
        return [group for group in groups if fullness(group, states, partial(taken, group.backend)) < below]

    async def _overflow(self, request: GenRequest, decision: Decision, visit: Visit) -> Lease | None:
        """The first overflow group with room whose money is not used up. What it leaves behind at home is seen too."""
        snapshot = self._snapshot()
        states = snapshot.states
        home = [one for group in decision.primary for one in group.candidates if one.upstream.name in states]
        full = why_full([(one, states[one.upstream.name]) for one in home], waited=visit.waited >= WAITED_SECONDS)
        for one in home:
            state = states[one.upstream.name]
            visit.looks.setdefault(one.upstream.name, Look(one, state.leased, state.reading, snapshot.at))
        for group in decision.overflow:
            told = replace(group, reason=spill_reason(decision, group, full))
            lease = await self._first(request, decision, (told,), visit)
            if lease is None:
                continue
            paid = await self._pay(decision, lease, visit)
            if paid is not None:
                visit.kept = None  # a dearer backend may have been beyond the budget
                return paid
            self.end(lease)
        return None

    async def _pay(self, decision: Decision, lease: Lease, visit: Visit) -> Lease | None:
        """Its part of the rule's share and its money are set aside before anything is sent, for fallback as for spill.
        What goes to another worker of ours does not leave."""
        spill = decision.rule.spill
        bounded = spill is not None and not (spill.budget_usd_per_hour is None and spill.max_share is None)
        if spill is None or not bounded or lease.candidate.upstream.kind == "local" or lease.group.outcome == "managed":
            return lease
        try:
            held = await self._budgets.reserve(decision.rule.name, lease.candidate.price_most or 0.0, spill)
        except StoreFault:
            held = "store"
        except BaseException:
            self.end(lease)
            raise
        if not isinstance(held, Reservation):
            visit.kept = held
            return None
        return replace(lease, reservation=held)

    async def _set_aside(self, request: GenRequest, lease: Lease, visit: Visit) -> Lease | None:
        """The lease with what it holds of budgets; without it, it is given back: nothing is sent on credit."""
        if self.spending is None:
            return lease
        try:
            held = await self.spending.hold(request, lease, visit.role, uncounted=visit.uncounted)
        except BaseException:
            self.release(lease)
            raise
        if not isinstance(held, Kept):
            return lease if held is None else replace(lease, hold=held)
        self.release(lease)
        visit.unpaid[lease.group.backend], visit.kept = held, "store" if held is AWAY else "quota"
        return None

    async def _first(
        self, request: GenRequest, decision: Decision, groups: Sequence[Group], visit: Visit
    ) -> Lease | None:
        for group in [one.whole() for one in groups] if visit.stays else groups:
            if group.backend in visit.unpaid:
                continue
            lease_id = self._leases.new_id()
            grant = await self._counter.grant(group, lease_id)
            snapshot = self._snapshot()
            for one, leased in zip(group.candidates, grant.leased, strict=False):
                state = snapshot.states.get(one.upstream.name)
                visit.looks[one.upstream.name] = Look(one, leased, state.reading if state else None, snapshot.at)
            if grant.index is not None:
                chosen = group.candidates[grant.index]
                full = (grant.leased[grant.index] + chosen.outside + chosen.work) / chosen.limit * chosen.ramp
                lease = Lease(
                    lease_id,
                    chosen,
                    group,
                    slot_name(chosen.upstream.name, chosen.life),
                    decision,
                    0.0 if grant.alone else full,
                )
                if (paid := await self._set_aside(request, lease, visit)) is not None:
                    return paid
        return None

    def _shed(self, request: GenRequest, decision: Decision, visit: Visit) -> GatewayError:
        now = self._clock()
        if request.deadline is not None and now >= request.deadline:
            return DeadlineExceeded("the deadline passed while waiting for capacity")
        groups = (*decision.primary, *decision.overflow)
        wanted = decision.primary or groups
        wait = self.lines.retry_after(asked(request, decision, wanted), [group.backend for group in wanted])
        full = f"every upstream of {', '.join(group.backend for group in decision.primary or groups)} is full"
        return held_back(full, decision, visit, time.monotonic(), wait)


def _told(lease: Lease, visit: Visit) -> Lease:
    """A lease at home; what had to stay there says so."""
    return lease if visit.kept is None else replace(lease, group=replace(lease.group, reason="budget"))
