"""What replicas learn together, through the real store."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from gateway.fleet.lessons import RULE_SECONDS, Bounds, Forgetting, Lessons
from gateway.model import Learned
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT, learn
from gateway.store.connection import Store
from gateway.store.embedded import Embedded

from .leasing import Clock

POOL, OTHER = ("gpu", "org/m:8b"), ("gpu", "m")
WIDE = Bounds(0.0, 1000.0, 0.01, 100.0)
POOLS = {POOL, OTHER}
FORGETTING = Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY)


def replicas(store: Store, clock: Clock | None = None) -> tuple[Lessons, Lessons]:
    time = clock or Clock()
    return Lessons(store, FORGETTING, time), Lessons(store, FORGETTING, time)


async def exchange(*all_of_them: Lessons) -> None:
    for _ in range(2):  # the second round brings everybody what the last one told
        for one in all_of_them:
            await one.exchange(POOLS)


async def test_votes_of_two_replicas_multiply(store: Store) -> None:
    one, other = replicas(store)
    one.vote(POOL, 0.5, WIDE)
    one.vote(POOL, 0.5, WIDE)
    other.vote(POOL, 3.0, WIDE)
    assert (one.scale(POOL), other.scale(POOL)) == (0.25, 3.0), "a replica's own votes hold at once"
    await exchange(one, other)
    assert one.scale(POOL) == other.scale(POOL) == pytest.approx(0.75)
    assert one.scale(OTHER) == 1.0


async def test_a_vote_between_two_exchanges_is_counted_once(store: Store) -> None:
    one, other = replicas(store)
    for _ in range(3):
        one.vote(POOL, 0.9, WIDE)
        await one.exchange(POOLS)
    one.vote(POOL, 0.9, WIDE)
    assert one.scale(POOL) == pytest.approx(0.9**4)
    await exchange(one, other)
    assert other.scale(POOL) == pytest.approx(0.9**4)


async def test_the_scale_stays_within_its_bounds(store: Store) -> None:
    one, other = replicas(store)
    one.vote(POOL, 1e-9, Bounds(0.0, 1000.0, 0.2, 5.0))
    assert one.scale(POOL) == 0.2
    await exchange(one, other)
    assert other.scale(POOL) == 0.2
    other.vote(POOL, 1e9, Bounds(0.0, 1000.0, 0.2, 5.0))
    await exchange(one, other)
    assert one.scale(POOL) == 5.0


async def test_a_flushed_store_is_told_the_scale_again(store: Store) -> None:
    one, other = replicas(store)
    one.vote(POOL, 0.5, WIDE)
    await exchange(one, other)
    await store.call("FLUSHALL")
    other.vote(POOL, 0.9, WIDE)
    await exchange(one, other)
    assert one.scale(POOL) == pytest.approx(0.45)


async def test_without_the_store_nothing_is_lost(own_server: Embedded) -> None:
    away, store = Store(own_server.url), Store(own_server.url)
    await store.check()
    one, other = replicas(away)  # `away` was never opened
    for _ in range(2):
        one.vote(POOL, 0.5, WIDE)
        one.came(POOL, "chat")
        one.finished("m", 4200, 1000, 20)
        await one.exchange(POOLS)
    assert one.scale(POOL) == 0.25
    one.store = other.store = store
    await exchange(one, other)
    assert other.scale(POOL) == one.scale(POOL) == pytest.approx(0.25)
    assert other.rules == {POOL: ("chat",)}
    assert other.lengths["m"].seen == 2
    await store.aclose()


async def test_rules_are_remembered_for_ten_minutes_by_all(store: Store) -> None:
    clock = Clock()
    one, other = replicas(store, clock)
    one.came(POOL, "batch")
    await exchange(one, other)
    clock.ms += int(RULE_SECONDS * 1000) - 1000
    other.came(POOL, "chat")
    await exchange(one, other)
    assert one.rules == other.rules == {POOL: ("batch", "chat")}
    clock.ms += 2000
    await exchange(one, other)
    assert one.rules == {POOL: ("chat",)}


async def test_lengths_are_folded_as_one_replica_would_have(store: Store) -> None:
    one, other = replicas(store)
    rows = [(4200 + 10 * i, 1000 + i, 50 + i) for i in range(60)]
    alone = PRIOR
    for start in range(0, len(rows), 20):
        for i, row in enumerate(rows[start : start + 20]):
            (one, other)[i % 2].finished("m", *row)
            alone = learn(alone, *row)
        await exchange(one, other)
    told = one.lengths["m"]
    assert told == other.lengths["m"]
    assert told.seen == len(rows)
    for name in ("prompt", "text", "output"):
        assert getattr(told, name) == pytest.approx(getattr(alone, name), rel=0.05)


@pytest.mark.parametrize("row", [(0, 10, 10), (10, 0, 10), (10, 10, 0)])
async def test_a_request_without_prompt_or_answer_teaches_nothing(store: Store, row: tuple[int, int, int]) -> None:
    one, _ = replicas(store)
    one.finished("m", *row)
    await exchange(one)
    assert one.lengths == {}


async def test_what_another_version_wrote_is_unknown_and_replaced(store: Store) -> None:
    one, _ = replicas(store)
    await store.call("HSET", "gw:lengths", "m", "nonsense", "n", "1|2|3|4")
    await exchange(one)
    assert one.lengths == {"n": Learned(1, 2, 3, 4)}
    one.finished("m", 4200, 1000, 211)
    await exchange(one)
    assert one.lengths["m"].seen == 1


async def test_one_burst_seen_by_three_replicas_is_one_halving(store: Store) -> None:
    """Each replica's votes keep the floor of half of what the scale was; so do all of them together."""
    halving = Bounds(0.5, 1.1, 0.01, 100.0)
    three = [Lessons(store, FORGETTING) for _ in range(3)]
    for one in three:
        one.vote(POOL, 0.5, halving)
    await exchange(*three)
    assert [one.scale(POOL) for one in three] == [0.5] * 3
    for one in three:
        one.vote(POOL, 2.2, Bounds(0.5, 1.1, 0.01, 100.0))
    await exchange(*three)
    assert [one.scale(POOL) for one in three] == [pytest.approx(1.1)] * 3, "nor is the ceiling passed"


async def test_what_the_bounds_held_back_is_not_told_either(own_server: Embedded) -> None:
    """A long outage: misses that could not move the scale any further must not weigh on what came after them."""
    away, store = Store(own_server.url), Store(own_server.url)
    await store.check()
    one, other = replicas(away)
    bounds = Bounds(0.0, 1000.0, 0.2, 5.0)
    for _ in range(30_000):
        one.vote(POOL, 0.97, bounds)
    for _ in range(5_000):
        one.vote(POOL, 1.0003, bounds)
    before = one.scale(POOL)
    assert before > 0.8
    one.store = other.store = store
    await exchange(one, other)
    assert one.scale(POOL) == other.scale(POOL) == pytest.approx(before)
    await store.aclose()


async def test_votes_whose_telling_came_late_are_not_told_twice(own_server: Embedded) -> None:
    """The store ran the script although its answer came too late: what was told counts once."""
    store, other_store = Store(own_server.url, timeout=0.05), Store(own_server.url)
    await store.check()
    await other_store.check()
    one, other = Lessons(store, FORGETTING), Lessons(other_store, FORGETTING)
    await exchange(one)
    one.vote(POOL, 0.5, WIDE)
    one.finished("m", 4200, 1000, 20)
    os.kill(own_server.pid, signal.SIGSTOP)
    await one.exchange(POOLS)
    os.kill(own_server.pid, signal.SIGCONT)
    await exchange(other, one, other)
    assert other.scale(POOL) == one.scale(POOL) == 0.5
    assert other.lengths["m"].seen == 1
    await store.aclose()
    await other_store.aclose()


async def test_a_vote_cast_while_an_exchange_is_under_way_is_kept(store: Store) -> None:
    one, other = replicas(store)
    one.vote(POOL, 0.5, WIDE)
    exchanging = asyncio.create_task(one.exchange(POOLS))
    await asyncio.sleep(0)
    one.vote(POOL, 0.5, WIDE)
    await exchanging
    assert one.scale(POOL) == 0.25
    await exchange(one, other)
    assert other.scale(POOL) == 0.25


async def test_pools_that_the_policy_no_longer_names_are_forgotten(store: Store) -> None:
    one, other = replicas(store)
    gone = ("gpu", "gone")
    one.vote(gone, 0.5, WIDE)
    one.came(gone, "chat")
    one.vote(POOL, 0.5, WIDE)
    await exchange(one, other)
    assert one.scales.keys() == other.scales.keys() == {POOL}
    assert other.rules == {}


async def test_an_unreadable_scale_is_unknown_and_replaced(store: Store) -> None:
    one, other = replicas(store)
    await store.call("HSET", "gw:{gpu}:scales", POOL[1], "nonsense")
    await exchange(one)
    assert one.scale(POOL) == 1.0
    one.vote(POOL, 0.5, WIDE)
    await exchange(one, other)
    assert other.scale(POOL) == 0.5


@pytest.mark.parametrize("row", ["0|0|0|1", "1|2|-3|4", "nan|1|1|1", "1|2|3"])
async def test_lengths_that_cannot_be_are_unknown(store: Store, row: str) -> None:
    one, _ = replicas(store)
    await store.call("HSET", "gw:lengths", "m", row)
    await exchange(one)
    assert one.lengths == {}
