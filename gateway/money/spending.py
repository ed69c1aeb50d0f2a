"""What an attempt may cost is set aside before it leaves: of the budgets that are about it, at its worst case."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from secrets import token_hex

from gateway.errors import StoreFault
from gateway.model import (
    Candidate,
    Decision,
    GenRequest,
    Hold,
    Kept,
    Lease,
    Quota,
    Role,
    Row,
    Share,
    Short,
    Usage,
)
from gateway.money.keeping import NOT_TEXT, UNBOUND
from gateway.money.rows import begun
from gateway.money.till import Till
from gateway.routing.estimate import amortised_price, rent
from gateway.routing.quotas import Quotas, most_tokens

ATTEMPT_ID_BYTES = 16
AWAY = Kept("away")
_US_PER_SECOND = 10**6


class Spending:
    """One per process. `past` tells of a soft budget whether it is used up, `refused` hears of a hard one that
    is used up for an attempt; `now` is seconds since the epoch."""

    def __init__(
        self,
        till: Till,
        quotas: Quotas,
        past: Callable[[Quota], bool],
        refused: Callable[[Quota], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._till, self._quotas, self._past, self._refused, self._now = till, quotas, past, refused, now

    async def hold(
        self, request: GenRequest, lease: Lease, role: Role = "asked", *, uncounted: bool = False
    ) -> Hold | Kept | None:
        """What the attempt under `lease` holds, under the id that it will have; None where no budget is about it.
        `uncounted`: nothing is bought for it. Whoever is cancelled holds nothing.
        """
        one = lease.candidate
        if uncounted and one.upstream.kind == "managed":
            return AWAY
        quotas = self._of(request, lease.decision, one.upstream.backend)
        if not quotas or (one.upstream.kind == "local" and priceless(one)):  # nobody can say what that is worth
            return None
        amount = self._most(request, lease)
        if amount is None:
            hard = next((one for one in quotas if one.hard), None)
            if hard is not None:
                return self._unknown(request, lease, hard)
        id, wanted = token_hex(ATTEMPT_ID_BYTES), [(one, amount or 0) for one in quotas]
        row = skeleton(id, request, lease, role, amount or 0, self._now())
        held = self._till.take(id, wanted, row)
        if held is None:
            try:
                answer = await self._till.hold(id, wanted, row)
            except StoreFault:
                return AWAY
            if isinstance(answer, Short):
                quota, left, ends, resets, running = answer
                if not running:
                    self._refused(quota)
                return Kept("short", quota.name, left, amount or 0, ends, resets, running)
            return answer
        try:
            await self._till.on_the_wire()
        except BaseException:
            self._till.give(held)
            raise
        return held

    def give(self, hold: Hold) -> None:
        """Of an attempt that was not made."""
        self._till.give(hold)

    async def keep(self, job: str, attempt: str, request: GenRequest, lease: Lease, role: Role = "asked") -> Lease:
        """The lease, once what its attempt holds is kept for its job and outlives this process; call it before anything
        is sent. Raises StoreFault: then nothing may be."""
        reserved = max((one.amount for one in _shares(lease) if one.quota.unit == "usd"), default=0)
        row = skeleton(attempt, request, lease, role, reserved, self._now())
        return replace(lease, hold=await self._till.kept.keep(job, row, lease.hold))

    async def adopt(self, attempt: str, lease: Lease) -> Lease:
        """An attempt that another process began goes on under this lease: what was kept for it is held, and what was
        set aside anew goes back. Raises StoreFault."""
        kept = await self._till.kept.adopt(attempt)
        if lease.hold is not None:
            self._till.give(lease.hold)
        return replace(lease, hold=Hold(attempt) if kept is None else kept)

    def past(self, request: GenRequest, decision: Decision) -> Quota | None:
        """A soft budget that is used up, of those that something bought for this request would be charged to."""
        policy, quotas = decision.policy, request.tenant.quotas
        if not quotas and not policy.quotas:
            return None
        for group in (*decision.primary, *decision.overflow):
            for one in self._of(request, decision, group.backend) if policy.kind(group.backend) == "managed" else ():
                if not one.hard and self._past(one):
                    return one
        return None

    def _of(self, request: GenRequest, decision: Decision, backend: str) -> tuple[Quota, ...]:
        policy = decision.policy
        return self._quotas.of_attempt(
            request.tenant, policy.quotas, request.model, backend, policy.kind(backend), request.pipeline
        )

    @staticmethod
    def _unknown(request: GenRequest, lease: Lease, quota: Quota) -> Kept:
        if priceless(lease.candidate):
            return Kept("unpriced", quota.name)
        model = lease.decision.policy.models[request.model]
        capped = request.max_tokens is not None or model.output_cap is not None
        return Kept("unbound", quota.name, help=NOT_TEXT if capped else UNBOUND)

    def _most(self, request: GenRequest, lease: Lease) -> int | None:
        """Micro-dollars; None where no price is known, or nothing bounds what it is multiplied by."""
        model, one = lease.decision.policy.models[request.model], lease.candidate
        if one.upstream.kind == "managed":
            price, offer = one.served.price, one.served.offer
            return None if price is None else self._quotas.most_charged(request, model, price, offer)
        if one.ask.work:
            return None if one.upstream.usd_per_hour is None else rent(one.ask.work, one.upstream.usd_per_hour)
        tokens = most_tokens(request, model)
        if tokens is None:
            return None
        return amortised_price(one.upstream, Usage(*tokens))


def _shares(lease: Lease) -> tuple[Share, ...]:
    return () if lease.hold is None else lease.hold.shares


def priceless(one: Candidate) -> bool:
    """Nobody knows what it costs."""
    return (one.served.price if one.upstream.kind == "managed" else one.upstream.usd_per_hour) is None


def skeleton(id: str, request: GenRequest, lease: Lease, role: Role, reserved: int, now: float) -> Row:
    """What the ledger has of an attempt whose gateway dies before it is over: booked at what was set aside. `now`:
    seconds since the epoch."""
    row = begun(id, request, lease, role, round(now * _US_PER_SECOND))
    row.basis, row.reserved, row.state = "reserved", reserved, "unreconciled"
    return row
