"""What replicas learn together, through the real store."""

from __future__ import annotations

import pytest

from gateway.fleet.lessons import RULE_SECONDS, Forgetting, Lessons
from gateway.model import Learned
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT, learn
from gateway.store.connection import Store
from gateway.store.embedded import Embedded

from .leasing import Clock

POOL, WIDE = ("gpu", "org/m:8b"), (0.01, 100.0)
FORGETTING = Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY)


def replicas(store: Store, clock: Clock | None = None) -> tuple[Lessons, Lessons]:
    time = clock or Clock()
    return Lessons(store, FORGETTING, time), Lessons(store, FORGETTING, time)


async def exchange(*all_of_them: Lessons) -> None:
    for _ in range(2):  # the second round brings everybody what the last one told
        for one in all_of_them:
            await one.exchange(["gpu"])


async def test_votes_of_two_replicas_multiply(store: Store) -> None:
    one, other = replicas(store)
    one.vote(POOL, 0.5, WIDE)
    one.vote(POOL, 0.5, WIDE)
    other.vote(POOL, 3.0, WIDE)
    assert (one.scale(POOL), other.scale(POOL)) == (0.25, 3.0), "a replica's own votes hold at once"
    await exchange(one, other)
    assert one.scale(POOL) == other.scale(POOL) == pytest.approx(0.75)
    assert one.scale(("gpu", "other")) == 1.0


async def test_a_vote_between_two_exchanges_is_counted_once(store: Store) -> None:
    one, other = replicas(store)
    for _ in range(3):
        one.vote(POOL, 0.9, WIDE)
        await one.exchange(["gpu"])
    one.vote(POOL, 0.9, WIDE)
    assert one.scale(POOL) == pytest.approx(0.9**4)
    await exchange(one, other)
    assert other.scale(POOL) == pytest.approx(0.9**4)


async def test_the_scale_stays_within_its_bounds(store: Store) -> None:
    one, other = replicas(store)
    one.vote(POOL, 1e-9, (0.2, 5.0))
    assert one.scale(POOL) == 0.2
    await exchange(one, other)
    assert other.scale(POOL) == 0.2
    other.vote(POOL, 1e9, (0.2, 5.0))
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
        one.met(POOL, "chat")
        one.finished("m", 4200, 1000, 20)
        await one.exchange(["gpu"])
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
    one.met(POOL, "batch")
    await exchange(one, other)
    clock.ms += int(RULE_SECONDS * 1000) - 1000
    other.met(POOL, "chat")
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
