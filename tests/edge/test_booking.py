"""The row of one attempt: what it costs, on which ground, and who pays."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest

from gateway.edge.account import CLIENT_LEFT, CLIENT_STALLED, LOST, RESCUED, Account, Attempt, Cost
from gateway.edge.booking import FREE, booking, cost_of, rent, row_of, set_aside
from gateway.model import Hold, Lease, Price, Quota, Reservation, Row, Share, Tenant, Usage, pico
from gateway.model.money import Origin
from gateway.routing.bill import bill, most
from gateway.routing.decide import decide
from gateway.routing.learn import PRIOR
from tests.worlds import PRICE, board, request

USAGE = Usage(1000, 100, 200, reasoning_tokens=10)
CONTRACT = replace(Price.of(0.1, 0.3), listed=PRICE, origin=Origin(marks=("old",)))
NOW = 1_800_000_000_000_000


def desk(bought: bool = True, price: Price | None = PRICE, **asked: Any) -> tuple[Account, Lease]:
    account = Account(request(**asked), "v1")
    decision = decide(account.request, board(), Random(1))
    group = (decision.overflow if bought else decision.primary)[0]
    candidate = group.candidates[0]
    if bought:
        candidate = candidate._replace(served=replace(candidate.served, price=price))
    account.lease = lease = Lease("l", candidate, group, "s", decision)
    return account, lease


def held(lease: Lease, *amounts: int) -> Lease:
    quota = Quota("q", "usd", 10**6, "day")
    tokens = Share(Quota("t", "tokens", 10**6, "day"), 10**9, "d")
    return replace(lease, hold=Hold("l", (tokens, *(Share(quota, amount, "d") for amount in amounts))))


def attempted(result: str = "answered", usage: Usage | None = None, **more: Any) -> Attempt:
    return Attempt("a1", "attempt-1", 10.0, ended=11.5, result=result, usage=usage, free=False, **more)


def made(account: Account, lease: Lease, attempt: Attempt) -> Row:
    return row_of(account, lease, attempt, booking(lease, attempt, account.request, PRIOR), NOW)


def test_a_row_in_full() -> None:
    tenant = Tenant("acme", key="ci", tags=frozenset({"b", "a"}))
    account, lease = desk(price=CONTRACT, tenant=tenant, pipeline="nightly")
    row = made(account, lease, attempted(usage=USAGE, status=200))
    assert row == Row(
        attempt="attempt-1",
        request="r1",
        began=NOW - 1_500_000,
        ended=NOW,
        tenant="acme",
        key="ci",
        tags=("a", "b"),
        pipeline="nightly",
        model="m",
        endpoint="chat/completions",
        rule="chat",
        backend="api",
        upstream="a1",
        served_as="real-api",
        kind="managed",
        role="asked",
        outcome=lease.group.outcome,
        reason=lease.group.reason,
        result="answered",
        status=200,
        policy="v1",
        input_tokens=1000,
        output_tokens=100,
        cached_tokens=200,
        reasoning_tokens=10,
        cost=130,
        list_cost=325,
        basis="contract",
        price_marks=("old",),
    )
    assert msgspec.json.decode(msgspec.json.encode(row), type=Row) == row


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        (PRICE, USAGE, Cost(325, "list")),
        (CONTRACT, USAGE, Cost(130, "contract")),
        (Price.of(0.000001), Usage(1, 0), Cost(1, "list")),  # rounded up once
        (Price.of(), USAGE, Cost(0, "list")),
        (None, USAGE, Cost(None, "unknown")),
        (PRICE, replace(USAGE, absurd=True), Cost(325, "list")),  # nothing was set aside: at the clamp
    ],
)
def test_what_is_bought(price: Price | None, usage: Usage, cost: Cost) -> None:
    assert cost_of(desk(price=price)[1], usage) == cost


def test_a_lie_is_booked_at_what_was_set_aside() -> None:
    account, lease = desk()
    row = made(account, held(lease, 700, 900), attempted(usage=replace(USAGE, absurd=True)))
    assert (row.cost, row.reserved, row.basis, row.absurd) == (None, 900, "reserved", True)
    assert (row.input_tokens, row.output_tokens) == (1000, 100)


def test_what_was_set_aside_is_the_most_of_budgets_and_hour() -> None:
    _, lease = desk()
    assert set_aside(lease) == 0
    assert set_aside(held(lease)) == 0, "a share of tokens is no money"
    assert set_aside(replace(held(lease, 700), reservation=Reservation("chat", 800, 1))) == 800
    assert set_aside(replace(held(lease, 900), reservation=Reservation("chat", 800, 1))) == 900


@pytest.mark.parametrize(
    ("work", "hourly", "cost"),
    [(0, 2.0, 0), (1, 2.0, 1), (1800, 2.0, 1), (1801, 2.0, 2), (3_600_000_000, 2.6, 2_600_000)],
)
def test_gpu_time_is_rent_rounded_up(work: int, hourly: float, cost: int) -> None:
    assert rent(work, hourly) == cost


@pytest.mark.parametrize(
    ("result", "role", "chosen", "payer"),
    [
        ("answered", "asked", True, "tenant"),
        (RESCUED, "rescue", True, "tenant"),
        ("passed_on", "asked", True, "tenant"),
        ("broke_off", "asked", True, "tenant"),
        (CLIENT_LEFT, "asked", True, "tenant"),
        (CLIENT_STALLED, "asked", True, "tenant"),
        ("answered", "hedge", True, "tenant"),
        (CLIENT_LEFT, "hedge", False, "operator"),
        (LOST, "asked", False, "operator"),
        (LOST, "hedge", False, "operator"),
        ("cancelled", "asked", True, "operator"),
        ("Reset", "asked", True, "operator"),
        ("UpstreamTimeout", "asked", True, "operator"),
        ("TooLong", "asked", True, "operator"),
    ],
)
def test_who_pays(result: str, role: Any, chosen: bool, payer: str) -> None:
    account, lease = desk()
    if not chosen:
        account.lease = desk()[1]
    assert made(account, lease, attempted(result, role=role)).payer == payer


def test_what_was_never_sent_costs_nothing_and_says_why() -> None:
    for bought in (False, True):
        account, lease = desk(bought)
        attempt = attempted("ConnectFailed")
        attempt.free = True
        row = made(account, held(lease, 900), attempt)
        assert (row.cost, row.basis, row.input_tokens, row.gpu_us, row.reserved) == (0, "none", 0, 0, 900)
        assert booking(lease, attempt, account.request, PRIOR).cost == FREE


@pytest.mark.parametrize(
    ("asked", "cost"),
    [
        ({}, most(PRICE, len(request().body), 100)),
        ({"n": 3}, most(PRICE, len(request().body), 300)),
        ({"text_only": False}, most(PRICE, 95, 100)),
        ({"max_tokens": None}, most(PRICE, 95, 211)),
    ],
)
def test_an_unknown_outcome_is_the_most_it_can_cost(asked: dict[str, Any], cost: int) -> None:
    account, lease = desk(**asked)
    row = made(account, lease, attempted("UpstreamTimeout"))
    assert (row.cost, row.basis, row.estimated, row.payer) == (cost, "list", True, "operator")
    row = made(account, held(lease, 900), attempted("UpstreamTimeout"))
    assert (row.cost, row.basis, row.reserved) == (None, "reserved", 900)
    assert made(*desk(price=None), attempted("UpstreamTimeout")).basis == "unknown"


def test_a_guess_is_not_booked_under_a_hard_budget() -> None:
    account, lease = desk()
    left = attempted(CLIENT_LEFT, usage=replace(USAGE, estimated=True))
    cost = bill(PRICE, USAGE)
    soft = replace(lease, hold=Hold("l", (Share(Quota("q", "usd", 10**6, "day", hard=False), 900, "d"),)))
    assert [made(account, one, left).cost for one in (lease, soft, held(lease, 900))] == [cost, cost, None]
    assert made(account, held(lease, 900), left).basis == "reserved"
    assert made(account, held(lease, 900), attempted(usage=USAGE)).cost == cost


@pytest.mark.parametrize("bought", [True, False])
def test_nothing_is_booked_beyond_what_a_hard_budget_had_set_aside(bought: bool) -> None:
    """Reasoning has no bound of its own: 900,000 tokens of it were told for an answer of 100."""
    told = Usage(100, 900_000, reasoning_tokens=899_950)
    account, lease = desk(bought, max_tokens=100)
    cost = made(account, lease, attempted(usage=told)).cost
    assert cost is not None
    row = made(account, held(lease, 79), attempted(usage=told))
    assert (row.cost, row.basis, row.reserved, row.absurd, row.estimated) == (None, "reserved", 79, True, True)
    assert (row.input_tokens, row.output_tokens) == (100, 900_000), "what was told can be read"
    row = made(account, held(lease, cost), attempted(usage=told))
    assert (row.cost, row.absurd) == (cost, False), "to the micro-dollar"
    soft = replace(lease, hold=Hold("l", (Share(Quota("q", "usd", 10**6, "day", hard=False), 79, "d"),)))
    assert made(account, soft, attempted(usage=told)).cost == cost


def test_a_failure_of_our_own_is_the_prompt_and_what_passed() -> None:
    account, lease = desk(bought=False)
    row = made(account, lease, attempted(LOST, tokens=10))
    assert (row.input_tokens, row.output_tokens, row.estimated, row.basis) == (95, 10, True, "amortised")
    assert row.cost == rent(row.gpu_us, 2.0) > 0


def test_the_parts_of_an_answer_add_up() -> None:
    account, _ = desk()
    account.book(attempted(), Cost(3, "list"))
    account.book(attempted(), Cost(4, "list"))
    assert account.cost == Cost(7, "list")
    account.book(attempted(), Cost(None, "unknown"))
    assert account.cost == Cost(None, "unknown")


def test_money_of_a_row_is_the_bill_of_its_tokens() -> None:
    account, lease = desk()
    for tokens in (1, 7, 1001):
        row = made(account, lease, attempted(usage=Usage(tokens, tokens)))
        assert row.cost == bill(PRICE, Usage(tokens, tokens)) == -(-tokens * (pico("0.25") + pico("0.75")) // 10**12)
