from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import StoreFault
from gateway.model import Reservation, Spill
from gateway.money.budgets import Budgets, first_to_leave, may_leave
from gateway.store.connection import TIMEOUT, Store
from gateway.store.embedded import Embedded
from tests.fleet.gates import Gate
from tests.worlds import policy, rule

HALF = Spill(("api",), max_share=0.5)
FEWEST, WINDOW, HOUR = 10, 5, 61
"""As in spend.lua."""


def money(usd_per_hour: float) -> Spill:
    return Spill(("api",), usd_per_hour)


async def granted(budgets: Budgets, usd: float, bounds: Spill, rule: str = "r") -> Reservation:
    held = await budgets.reserve(rule, usd, bounds)
    assert isinstance(held, Reservation)
    return held


async def test_what_is_reserved_counts_and_what_is_settled_is_free_again(store: Store) -> None:
    budgets = Budgets(store)
    held = await granted(budgets, 0.6, money(1.0))
    assert await budgets.reserve("r", 0.6, money(1.0)) == "budget"
    await granted(budgets, 0.6, money(1.0), "other")
    budgets.settle_later(held, 100_000)
    await budgets.aclose()
    await granted(budgets, 0.9, money(1.0))
    assert await budgets.reserve("r", 0.001, money(1.0)) == "budget"


async def test_what_is_spent_can_be_asked_without_spending(store: Store) -> None:
    budgets = Budgets(store)
    assert (await budgets.booked("r")).usd == 0.0
    assert await store.call("EXISTS", "gw:budget:{r}") == 0
    await granted(budgets, 0.25, money(1.0))
    assert [(await budgets.booked("r")).usd for _ in range(2)] == [0.25, 0.25]


@pytest.mark.parametrize(("share", "arrived"), [(0.05, 19), (0.05, 20), (0.29, 100), (0.1, 1), (0.5, 12), (1.0, 3)])
async def test_who_may_leave_is_the_same_in_a_rehearsal(store: Store, share: float, arrived: int) -> None:
    """`may_leave` and `first_to_leave` against the script, one request after the other."""
    budgets, bounds = Budgets(store), Spill(("api",), max_share=share)
    for _ in range(arrived):
        budgets.arrived("r")
    before = await budgets.booked("r")
    assert (before.arrived, before.left) == (arrived, 0)
    assert may_leave(0, arrived, share) is (arrived >= first_to_leave(share))
    for _ in range(arrived):
        booked = await budgets.booked("r")
        left = isinstance(await budgets.reserve("r", 0.0, bounds), Reservation)
        assert left is may_leave(booked.left, booked.arrived, share), booked


async def test_what_was_spent_counts_for_an_hour(store: Store) -> None:
    now = 12 * 3600
    budgets = Budgets(store, lambda: now)
    await granted(budgets, 0.5, money(1.0))
    now = 13 * 3600
    assert (await budgets.booked("r")).usd == 0.5
    now = 13 * 3600 + 60
    assert (await budgets.booked("r")).usd == 0.0


async def test_a_hundred_at_once_do_not_overspend(store: Store) -> None:
    budgets = Budgets(store)
    held = await asyncio.gather(*(budgets.reserve("r", 0.03, money(1.0)) for _ in range(100)))
    assert sum(isinstance(one, Reservation) for one in held) == 33


async def test_without_the_store_nothing_new_is_spent(store: Store) -> None:
    budgets = Budgets(store)
    await store.aclose()
    with pytest.raises(StoreFault):
        await budgets.reserve("r", 0.01, money(1.0))


async def test_no_hour_however_it_is_cut_holds_more_than_the_cap(store: Store) -> None:
    now = 12 * 3600 + 59
    budgets = Budgets(store, lambda: now)
    await granted(budgets, 1.0, money(1.0))
    now = 13 * 3600 + 58
    assert await budgets.reserve("r", 0.01, money(1.0)) == "budget", "59 minutes and 59 seconds later: the same hour"
    now = 13 * 3600 + 120
    await granted(budgets, 1.0, money(1.0))


async def test_a_share_is_of_what_all_replicas_saw_arrive(store: Store) -> None:
    one, other = Budgets(store), Budgets(store)
    for _ in range(FEWEST):
        one.arrived("r")
        other.arrived("r")
    for _ in range(FEWEST // 2):
        await granted(one, 0.0, HALF)
    assert await one.reserve("r", 0.0, HALF) == "share", "the other's arrivals are not told yet"
    made = policy(rules=(rule("r", spill=HALF),))
    await other.exchange(made)
    for _ in range(FEWEST // 2):
        await granted(one, 0.0, HALF)
    assert await other.reserve("r", 0.0, HALF) == "share"
    await one.exchange(made)
    assert one.shares == {"r": 0.5}
    await one.exchange(policy())
    assert one.shares == {}, "a rule that has no share any more is not shown"


@pytest.mark.parametrize(("share", "few"), [(0.0, 0), (0.05, 0), (0.1, 1), (0.3, 3), (1.0, FEWEST)])
async def test_the_first_requests_count_as_ten(store: Store, share: float, few: int) -> None:
    budgets, bounds = Budgets(store), Spill(("api",), max_share=share)
    budgets.arrived("r")
    left = [await budgets.reserve("r", 0.0, bounds) for _ in range(FEWEST + 1)]
    assert sum(isinstance(one, Reservation) for one in left) == few


async def test_what_never_left_is_given_back_whole(store: Store) -> None:
    budgets, bounds = Budgets(store), Spill(("api",), 1.0, max_share=0.1)
    held = await granted(budgets, 1.0, bounds)
    assert await budgets.reserve("r", 0.0, bounds) == "share"
    budgets.give_back_later(held)
    await budgets.aclose()
    await granted(budgets, 1.0, bounds)


async def test_a_share_forgets_after_five_minutes(store: Store) -> None:
    now = 60_000
    budgets, bounds = Budgets(store, lambda: now), Spill(("api",), max_share=0.1)
    await granted(budgets, 0.0, bounds)
    now += (WINDOW - 1) * 60
    assert await budgets.reserve("r", 0.0, bounds) == "share"
    now += 60
    await granted(budgets, 0.0, bounds)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spends=st.lists(st.tuples(st.integers(1, 400_000), st.floats(0, 1)), max_size=12), cap=st.integers(1, 1_000_000))
async def test_booked_money_never_passes_the_cap(store: Store, spends: list[tuple[int, float]], cap: int) -> None:
    """Whatever is reserved, and settled for at most what was reserved, the hour's sum stays under the cap."""
    await store.call("FLUSHALL")
    budgets, booked = Budgets(store), 0
    for micro, share in spends:  # micro-dollars
        held = await budgets.reserve("r", micro / 1e6, money(cap / 1e6))
        assert isinstance(held, Reservation) == (booked + micro <= cap)
        if isinstance(held, Reservation):
            budgets.settle_later(held, int(micro * share))
            await budgets.aclose()
            booked += int(micro * share)
        flat = await store.call("HVALS", "gw:budget:{r}")
        assert sum(map(int, flat)) == booked <= cap


WHO = st.integers(0, 2)
STEP = st.one_of(
    st.tuples(st.just("arrive"), WHO, st.integers(1, 12)),
    st.tuples(st.just("leave"), WHO, st.integers(1, 300_000)),
    st.tuples(st.just("leave"), WHO, st.just(1)),
    st.tuples(st.just("all leave at once"), WHO, st.integers(1, 100_000)),
    st.tuples(st.just("give back"), WHO, st.integers(0, 9)),
    st.tuples(st.just("settle"), WHO, st.integers(0, 9)),
    st.tuples(st.just("tell"), WHO, st.just(0)),
    st.tuples(st.just("crash"), WHO, st.just(0)),
    st.tuples(st.just("pass"), st.just(0), st.integers(1, 200)),
)


class Rule:
    """Three replicas over one store, and beside them what is true: who arrived, left and spent in which minute."""

    def __init__(self, store: Store, bounds: Spill) -> None:
        self.store, self.bounds, self.now = store, bounds, 600_000
        self.replicas = [self.replica() for _ in range(3)]
        self.arrived, self.left, self.spent = Counter[int](), Counter[int](), Counter[int]()
        self.held: list[Reservation] = []

    def replica(self) -> Budgets:
        return Budgets(self.store, lambda: self.now)

    async def take(self, name: str, who: int, amount: int) -> None:
        one = self.replicas[who]
        if name == "arrive":
            for _ in range(amount):
                one.arrived("r")
                self.arrived[self.now // 60] += 1
        elif name == "leave":
            await self.leave([one], amount)
        elif name == "all leave at once":
            await self.leave(self.replicas * 4, amount)
        elif name in ("give back", "settle") and self.held:
            held = self.held.pop(amount % len(self.held))
            if name == "settle":
                one.settle_later(held, -(-held.micro_usd // 2))
                self.spent[held.minute] -= held.micro_usd - -(-held.micro_usd // 2)
            else:
                one.give_back_later(held)
                self.spent[held.minute] -= held.micro_usd
                self.left[held.minute] -= 1
            await one.aclose()
        elif name == "tell":
            await one.exchange(policy(rules=(rule("r", spill=self.bounds),)))
        elif name == "crash":
            self.replicas[who] = self.replica()
        elif name == "pass":
            for each in self.replicas:  # as they do four times a second
                await each.exchange(policy(rules=(rule("r", spill=self.bounds),)))
            self.now += amount

    async def leave(self, who: list[Budgets], micro: int) -> None:
        for held in await asyncio.gather(*(one.reserve("r", micro / 1e6, self.bounds) for one in who)):
            if isinstance(held, Reservation):
                self.held.append(held)
                self.left[held.minute] += 1
                self.spent[held.minute] += held.micro_usd
                self.check()

    def check(self) -> None:
        """As somebody leaves."""
        minute = self.now // 60
        left = sum(count for when, count in self.left.items() if when > minute - WINDOW)
        arrived = sum(count for when, count in self.arrived.items() if when > minute - WINDOW)
        spent = sum(micro for when, micro in self.spent.items() if when > minute - HOUR)
        assert self.bounds.max_share is not None
        assert self.bounds.budget_usd_per_hour is not None
        assert left <= self.bounds.max_share * max(FEWEST, arrived) + 1e-9
        assert spent <= self.bounds.budget_usd_per_hour * 1e6 + 1e-3


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(STEP, max_size=40),
    share=st.sampled_from([0.0, 0.1, 0.29, 0.5, 1.0]),
    usd=st.sampled_from([0.0, 0.5, 10.0]),
)
async def test_replicas_together_pass_neither_share_nor_budget(
    valkey: Store, steps: list[tuple[str, int, int]], share: float, usd: float
) -> None:
    await valkey.call("FLUSHALL")
    world = Rule(valkey, Spill(("api",), usd, max_share=share))
    for step in steps:
        await world.take(*step)


async def booked(store: Store) -> tuple[list[int], list[int]]:
    """Micro-dollars of the budget and requests of the share, as the store has them."""
    money, share = await store.call("HVALS", "gw:budget:{r}"), await store.call("HGETALL", "gw:share:{r}")
    left = [int(value) for key, value in zip(share[::2], share[1::2], strict=True) if key.startswith(b"l")]
    return [int(value) for value in money], left


@pytest.mark.parametrize("bounds", [money(1.0), HALF, Spill(("api",), 1.0, max_share=0.5)])
async def test_who_leaves_while_it_reserves_has_reserved_nothing(store: Store, bounds: Spill) -> None:
    """Cancelled after each number of turns of the loop until one is through; every interleaving is met on the way."""
    budgets, met = Budgets(store), Counter[bool]()
    for turns in range(200):
        task = asyncio.create_task(budgets.reserve("r", 0.1, bounds))
        for _ in range(turns // 10):
            await asyncio.sleep(0)
        task.cancel()
        held = await asyncio.gather(task, return_exceptions=True)
        if isinstance(held[0], Reservation):
            budgets.give_back_later(held[0])
        await budgets.aclose()
        met[task.cancelled()] += 1
        micro, left = await booked(store)
        assert (sum(micro), sum(left)) == (0, 0), f"after {turns // 10} turns"
    assert met[True]


async def test_a_reservation_whose_answer_comes_late_is_given_back(own_server: Embedded, tmp_path: Path) -> None:
    async with Gate(tmp_path / "gate", Path(own_server.url.removeprefix("unix://"))) as gate:
        store, look = Store(gate.url), Store(own_server.url)
        await store.check()
        await look.check()
        budgets, bounds = Budgets(store), Spill(("api",), 1.0, max_share=0.5)
        gate.delay = 2 * TIMEOUT
        with pytest.raises(StoreFault):
            await budgets.reserve("r", 0.1, bounds)
        gate.delay = 0.0
        async with asyncio.timeout(5):
            while await booked(look) != ([0], [0]):  # nothing at all would be ([], []): the script had run
                pass
        await budgets.aclose()
        await store.aclose()
        await look.aclose()
