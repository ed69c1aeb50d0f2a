from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import StoreFault
from gateway.money.budgets import Budgets
from gateway.store.connection import Store


async def test_what_is_reserved_counts_and_what_is_given_back_is_free_again(store: Store) -> None:
    budgets = Budgets(store)
    held = await budgets.reserve("r", 0.6, 1.0)
    assert held is not None
    assert await budgets.reserve("r", 0.6, 1.0) is None
    assert await budgets.reserve("other", 0.6, 1.0) is not None
    budgets.settle_later(held, 0.1)
    await budgets.aclose()
    assert await budgets.reserve("r", 0.9, 1.0) is not None
    assert await budgets.reserve("r", 0.001, 1.0) is None


async def test_what_is_spent_can_be_asked_without_spending(store: Store) -> None:
    budgets = Budgets(store)
    assert await budgets.spent("r") == 0.0
    assert await store.call("EXISTS", "gw:budget:{r}") == 0
    assert await budgets.reserve("r", 0.25, 1.0) is not None
    assert [await budgets.spent("r"), await budgets.spent("r")] == [0.25, 0.25]


async def test_a_hundred_at_once_do_not_overspend(store: Store) -> None:
    budgets = Budgets(store)
    held = await asyncio.gather(*(budgets.reserve("r", 0.03, 1.0) for _ in range(100)))
    assert sum(one is not None for one in held) == 33


async def test_without_the_store_nothing_new_is_spent(store: Store) -> None:
    budgets = Budgets(store)
    await store.aclose()
    with pytest.raises(StoreFault):
        await budgets.reserve("r", 0.01, 1.0)


async def test_no_hour_however_it_is_cut_holds_more_than_the_cap(store: Store) -> None:
    now = 12 * 3600 + 59
    budgets = Budgets(store, lambda: now)
    assert await budgets.reserve("r", 1.0, 1.0) is not None
    now = 13 * 3600 + 58
    assert await budgets.reserve("r", 0.01, 1.0) is None, "59 minutes and 59 seconds later it is still the same hour"
    now = 13 * 3600 + 120
    assert await budgets.reserve("r", 1.0, 1.0) is not None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spends=st.lists(st.tuples(st.integers(1, 400_000), st.floats(0, 1)), max_size=12), cap=st.integers(1, 1_000_000))
async def test_booked_money_never_passes_the_cap(store: Store, spends: list[tuple[int, float]], cap: int) -> None:
    """Whatever is reserved, and settled for at most what was reserved, the hour's sum stays under the cap."""
    await store.call("FLUSHALL")
    budgets, booked = Budgets(store), 0
    for micro, share in spends:  # micro-dollars
        held = await budgets.reserve("r", micro / 1e6, cap / 1e6)
        assert (held is not None) == (booked + micro <= cap)
        if held is not None:
            budgets.settle_later(held, int(micro * share) / 1e6)
            await budgets.aclose()
            booked += int(micro * share)
        flat = await store.call("HVALS", "gw:budget:{r}")
        assert sum(map(int, flat)) == booked <= cap
