"""One attempt's money: what it costs, who pays, and the row that stays of it. Pure: no clock, no I/O.

Every attempt gets a row, once: also those that were refused, cancelled, lost a race or never reached anybody. Where
nothing can have been charged the row says so (`cost=0`, `basis="none"`); where nobody knows, it is booked at what was
set aside (`cost=None`, `basis="reserved"`) or, with nothing set aside, at the most that it can have cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from gateway.edge.account import CLIENT_LEFT, CLIENT_STALLED, RESCUED, Account, Attempt, Cost
from gateway.edge.metering import counted
from gateway.model import GenRequest, Learned, Lease, Payer, Price, Row, Usage, micro_usd
from gateway.routing.bill import bill, most
from gateway.routing.estimate import gpu_us, output_tokens, prompt_tokens

US_PER_HOUR = 3_600_000_000
FREE = Cost(0, "none")
_UNKNOWN = Cost(None, "unknown")
_TENANT_PAYS: Mapping[str, bool] = dict.fromkeys(
    ("answered", RESCUED, "passed_on", "broke_off", CLIENT_LEFT, CLIENT_STALLED), True
)
"""Results of attempts that the client had something of, or broke off itself. All others are the operator's: a lost
race, a failure before the first byte, the end of a process."""


class Booking(NamedTuple):
    """What is to be booked of one attempt. `usage` None: it used nothing."""

    usage: Usage | None
    cost: Cost
    reserved: int


def cost_of(lease: Lease, usage: Usage) -> Cost:
    """Of known or guessed usage. A lie is booked at what was set aside, where something was; so is a guess under a hard
    budget: nobody knows when an API stops writing, and what it bills may not be more than what is counted. Nothing is
    booked at more than was set aside of a hard budget: that was the most that it could cost."""
    bought, budgeted = lease.candidate.upstream.kind == "managed", _budgeted(lease)
    if bought and (usage.absurd or (usage.estimated and budgeted)) and (reserved := set_aside(lease)):
        return Cost(reserved, "reserved")
    cost = _bought(lease, usage) if bought else _our_own(lease, usage)
    if budgeted and cost.micro is not None and cost.micro > (reserved := set_aside(lease)):
        return Cost(reserved, "reserved")
    return cost


def _our_own(lease: Lease, usage: Usage) -> Cost:
    upstream = lease.candidate.upstream
    if upstream.usd_per_hour is None:
        return _UNKNOWN
    return Cost(rent(gpu_us(upstream, usage), upstream.usd_per_hour), "amortised")


def _bought(lease: Lease, usage: Usage) -> Cost:
    price = lease.candidate.served.price
    due = None if price is None else bill(price, usage)
    return _UNKNOWN if price is None or due is None else Cost(due, _basis(price))


def booking(lease: Lease, attempt: Attempt, request: GenRequest, learned: Learned) -> Booking:
    """What the attempt used and costs, however it ended."""
    reserved = set_aside(lease)
    if attempt.usage is not None:
        cost = attempt.cost or cost_of(lease, attempt.usage)
        return Booking(_judged(attempt.usage, cost), cost, reserved)
    if attempt.free:
        return Booking(None, FREE, reserved)
    bought = lease.candidate.upstream.kind == "managed"
    usage = counted(request, learned, attempt.tokens, bought=bought)
    cost = _worst(lease, request, learned, reserved) if bought else cost_of(lease, usage)
    return Booking(usage, cost, reserved)


def _judged(usage: Usage, cost: Cost) -> Usage:
    """What was told and is not booked is no longer believed: it was more than a hard budget had set aside for."""
    told = cost.basis == "reserved" and not usage.estimated
    return replace(usage, estimated=True, absurd=True) if told else usage


def _worst(lease: Lease, request: GenRequest, learned: Learned, reserved: int) -> Cost:
    """Of bought work of which nobody knows what became of it."""
    price = lease.candidate.served.price
    if reserved:
        return Cost(reserved, "reserved")
    if price is None:
        return _UNKNOWN
    if request.text_only and request.max_tokens is not None:
        return Cost(most(price, len(request.body), request.max_tokens * request.n), _basis(price))
    return Cost(most(price, prompt_tokens(request, learned), output_tokens(request, learned)), _basis(price))


def set_aside(lease: Lease) -> int:
    """Micro-dollars that were held for this attempt before it was sent, by its budgets or by its rule's hour."""
    held = lease.reservation.micro_usd if lease.reservation is not None else 0
    if lease.hold is None:
        return held
    return max([held, *(share.amount for share in lease.hold.shares if share.quota.unit == "usd")])


def _budgeted(lease: Lease) -> bool:
    return lease.hold is not None and any(share.quota.hard and share.quota.unit == "usd" for share in lease.hold.shares)


@lru_cache(maxsize=1024)
def _hourly(usd_per_hour: float) -> int:
    return micro_usd(usd_per_hour)


def rent(work: int, usd_per_hour: float) -> int:
    """Micro-dollars of so much GPU time (us) of a worker, rounded up."""
    return -(-work * _hourly(usd_per_hour) // US_PER_HOUR)


def payer(account: Account, lease: Lease, attempt: Attempt) -> Payer:
    """The tenant for what it got or broke off; the operator for what we tried beside or before it."""
    if attempt.role == "hedge" and account.lease is not lease:
        return "operator"
    return "tenant" if attempt.result in _TENANT_PAYS else "operator"


def row_of(account: Account, lease: Lease, attempt: Attempt, booked: Booking, ended: int) -> Row:
    """`ended`: microseconds since the epoch. The length of the attempt is by the clock that is never set."""
    request, group, candidate = account.request, lease.group, lease.candidate
    upstream, served, tenant, cost = candidate.upstream, candidate.served, request.tenant, booked.cost
    usage, price, local = booked.usage or _UNUSED, served.price, upstream.kind == "local"
    return Row(
        attempt=attempt.id,
        request=request.id,
        began=ended - round((attempt.ended - attempt.began) * 1e6),
        ended=ended,
        tenant=tenant.name,
        key=tenant.key,
        tags=tuple(sorted(tenant.tags)) if tenant.tags else (),
        pipeline=request.pipeline or "",
        model=request.model,
        endpoint=request.endpoint,
        rule=lease.decision.rule.name,
        backend=group.backend,
        upstream=upstream.name,
        served_as=served.name,
        version=served.version or "",
        kind=upstream.kind,
        role=attempt.role,
        outcome=group.outcome,
        reason=group.reason,
        result=attempt.result,
        status=attempt.status,
        policy=account.policy,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        images=usage.images,
        seconds=usage.seconds,
        characters=usage.characters,
        estimated=usage.estimated,
        absurd=usage.absurd,
        cost=None if cost.basis == "reserved" else cost.micro,
        list_cost=bill(price.listed, usage) if cost.basis == "contract" and price and price.listed else None,
        basis=cost.basis,
        reserved=booked.reserved,
        payer=payer(account, lease, attempt),
        gpu_us=gpu_us(upstream, usage) if local else 0,
        gpu_kind=upstream.hardware.kind or "" if local else "",
        price_marks=candidate.price_marks,
        demo=upstream.simulated,
    )


_UNUSED = Usage(0, 0)


def _basis(price: Price) -> str:
    return "list" if price.listed is None else "contract"
