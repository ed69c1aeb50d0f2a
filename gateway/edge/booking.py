"""One attempt's money: what it costs, who pays, and the row that stays of it. Pure: no clock, no I/O.

Every attempt gets a row, once: also those that were refused, cancelled, lost a race or never reached anybody. Where
nothing can have been charged the row says so (`cost=0`, `basis="none"`); where nobody knows, it is booked at what was
set aside (`cost=None`, `basis="reserved"`) or, with nothing set aside, at the most that it can have cost (of a
part that nothing bounds: at what is usual).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from gateway.edge.account import CLIENT_LEFT, CLIENT_STALLED, RESCUED, Account, Attempt, Cost
from gateway.edge.metering import counted
from gateway.model import GenRequest, Learned, Lease, Payer, Price, Row, Usage
from gateway.money.rows import begun
from gateway.routing.bill import bill, most
from gateway.routing.estimate import amortised_price, gpu_us, longest_prompt, output_tokens, prompt_tokens, rent
from gateway.routing.units import most_of_media

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
    one = lease.candidate
    if one.ask.work:
        hourly = one.upstream.usd_per_hour
        return _UNKNOWN if hourly is None else Cost(rent(one.ask.work, hourly), "amortised")
    own = amortised_price(one.upstream, usage)
    return _UNKNOWN if own is None else Cost(own, "amortised")


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
    """Of bought work of which nobody knows what became of it: the longest prompt and answer, or the usual one where
    nothing bounds it, at the dearest rates."""
    price = lease.candidate.served.price
    if reserved:
        return Cost(reserved, "reserved")
    if price is None:
        return _UNKNOWN
    if request.media is not None:
        dearest = most_of_media(price, request.endpoint, request.media, lease.candidate.served.offer)
        return _UNKNOWN if dearest is None else Cost(dearest, _basis(price))
    prompt = longest_prompt(request) if request.text_only else prompt_tokens(request, learned)
    cap = request.max_tokens
    output = output_tokens(request, learned) if cap is None else cap * request.n
    return Cost(most(price, prompt, output), _basis(price))


def set_aside(lease: Lease) -> int:
    """Micro-dollars that were held for this attempt before it was sent, by its budgets or by its rule's hour."""
    held = lease.reservation.micro_usd if lease.reservation is not None else 0
    if lease.hold is None:
        return held
    return max([held, *(share.amount for share in lease.hold.shares if share.quota.unit == "usd")])


def _budgeted(lease: Lease) -> bool:
    return lease.hold is not None and any(share.quota.hard and share.quota.unit == "usd" for share in lease.hold.shares)


def payer(account: Account, lease: Lease, attempt: Attempt) -> Payer:
    """The tenant for what it got or broke off; the operator for what we tried beside or before it."""
    if attempt.role == "hedge" and account.lease is not lease:
        return "operator"
    return "tenant" if attempt.result in _TENANT_PAYS else "operator"


def row_of(account: Account, lease: Lease, attempt: Attempt, booked: Booking, ended: int) -> Row:
    """`ended`: microseconds since the epoch. The length of the attempt is by the clock that is never set."""
    upstream, price, cost = lease.candidate.upstream, lease.candidate.served.price, booked.cost
    usage = booked.usage or _UNUSED
    row = begun(attempt.id, account.request, lease, attempt.role, ended)
    row.began -= round((attempt.ended - attempt.began) * 1e6)
    row.result, row.status = attempt.result, attempt.status
    row.input_tokens, row.output_tokens = usage.input_tokens, usage.output_tokens
    row.cached_tokens, row.cache_write_tokens = usage.cached_tokens, usage.cache_write_tokens
    row.reasoning_tokens = usage.reasoning_tokens
    row.images, row.seconds, row.characters = usage.images, usage.seconds, usage.characters
    row.estimated, row.absurd = usage.estimated, usage.absurd
    row.cost = None if cost.basis == "reserved" else cost.micro
    row.list_cost = bill(price.listed, usage) if cost.basis == "contract" and price and price.listed else None
    row.basis, row.reserved, row.payer = cost.basis, booked.reserved, payer(account, lease, attempt)
    if upstream.kind == "local" and booked.usage is not None:
        row.gpu_us = lease.candidate.ask.work or gpu_us(upstream, usage)
    return row


_UNUSED = Usage(0, 0)


def _basis(price: Price) -> str:
    return "list" if price.listed is None else "contract"
