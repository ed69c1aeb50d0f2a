"""Without the store: how much each replica may still admit, and that nothing is lost when the store is back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import StoreFault
from gateway.fleet.book import degraded_room
from gateway.fleet.leases import ABSENCE_SECONDS
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.polling import until

from .leasing import BACKEND, Clock, books, candidate, replica

ROOMS = {
    "all of it": ((100, 0, 1, 0), 100),
    "a share": ((100, 40, 3, 0), 20),
    "less what it admitted": ((100, 40, 3, 15), 5),
    "plus what its own freed": ((100, 100, 3, -30), 30),
    "overdrawn": ((100, 40, 3, 25), -5),
    "a limit that sank below the load": ((50, 80, 2, 0), 0),
    "nobody known yet": ((100, 0, 0, 0), 100),
    "rounded down": ((100, 1, 2, 0), 49),
}


@pytest.mark.parametrize("case", ROOMS)
def test_degraded_room(case: str) -> None:
    arguments, expected = ROOMS[case]
    assert degraded_room(*arguments) == expected


@given(
    limit=st.integers(1, 1000),
    snapshot=st.lists(st.integers(0, 50), min_size=1, max_size=5),
    since=st.lists(st.integers(1, 50), max_size=6),
    seed=st.integers(),
)
def test_over_admission_is_bounded(limit: int, snapshot: list[int], since: list[int], seed: int) -> None:
    """At most the work granted since the snapshot, and one request for each replica."""
    rng, replicas, largest = Random(seed), len(snapshot), 50
    leased = sum(snapshot)
    held = [[amount] if amount else [] for amount in snapshot]
    admitted = [0] * replicas
    for work in since:  # granted by the store after the snapshot, before it went away
        who = rng.randrange(replicas)
        held[who].append(work)
        admitted[who] += work
    for _ in range(200):
        who, work = rng.randrange(replicas), rng.randint(1, largest)
        if held[who] and rng.random() < 0.3:
            admitted[who] -= held[who].pop(rng.randrange(len(held[who])))
        elif degraded_room(limit, leased, replicas, admitted[who]) > 0:
            held[who].append(work)
            admitted[who] += work
        in_use = sum(map(sum, held))
        assert in_use <= max(limit, leased) + sum(since) + replicas * largest


async def lose(admin: Store, stores: Sequence[Store]) -> None:
    """Their connections break; returns when all are back."""
    back = [asyncio.Event() for _ in stores]
    for store, event in zip(stores, back, strict=True):
        store.listen(lambda degraded, _, event=event: None if degraded else event.set())  # type: ignore[misc]
    await admin.call("CLIENT", "KILL", "TYPE", "normal")
    async with asyncio.timeout(5):
        await asyncio.gather(*(event.wait() for event in back))


async def test_room_counts_from_the_last_complete_view(store: Store) -> None:
    clock = Clock()
    mine, other = replica(store, clock, fresh=True), replica(store, clock, fresh=True)
    way = candidate(work=10)
    assert mine.room(BACKEND, way) == 0  # nothing seen yet
    for one in (mine, other):
        await one.loads([BACKEND])
        await one.tick()
    await other.acquire(BACKEND, other.new_id(), [candidate(work=40)])
    await mine.acquire(BACKEND, held := mine.new_id(), [way])
    await mine.tick()
    await mine.loads([BACKEND])
    assert mine.room(BACKEND, way) == (100 - 50) // 2
    assert mine.room(BACKEND, candidate(outside=20)) == (100 - 50 - 20) // 2
    assert mine.room(BACKEND, candidate(life=1)) == 100 // 2
    mine.adopt(BACKEND, mine.new_id(), way)
    assert mine.room(BACKEND, way) == 25 - 10
    mine.release(BACKEND, held)
    await mine.drain()
    assert mine.room(BACKEND, way) == 25
    # After a flush the sums are empty until all have written back; the view from before still holds.
    await store.call("FLUSHALL")
    await mine.loads([BACKEND])
    await mine.tick()
    await mine.loads([BACKEND])
    assert mine.room(BACKEND, way) == 25


async def test_seats_are_shared_like_work(store: Store) -> None:
    leases = replica(store, Clock(), fresh=True)
    await leases.loads([BACKEND])
    await leases.tick()
    await leases.loads([BACKEND])
    way = candidate(work=1, seats=2)
    for _ in range(2):
        assert leases.room(BACKEND, way) > 0
        leases.adopt(BACKEND, leases.new_id(), way)
    assert leases.room(BACKEND, way) == 0


async def test_a_replica_that_is_back_at_the_store_waits_for_the_others(own_server: Embedded) -> None:
    """Until then the sums lack what they admitted alone."""
    clock, stores = Clock(), [Store(own_server.url, timeout=5.0) for _ in range(3)]
    for each in stores:
        await each.check()
    mine, other = (replica(each, clock, fresh=True) for each in stores[:2])
    for one in (mine, other, mine):
        await one.loads([BACKEND])
        await one.tick()
    clock.ms += 10
    await lose(stores[2], stores[:2])
    other.adopt(BACKEND, other.new_id(), candidate(work=60))
    clock.ms += 100
    await mine.tick()
    await mine.loads([BACKEND])
    assert (await mine.acquire(BACKEND, mine.new_id(), [candidate(work=50)])).recovering
    assert mine.room(BACKEND, candidate()) == 100 // 2, "its share of the last complete view"
    clock.ms += 100
    await other.tick()
    await mine.loads([BACKEND])
    grant = await mine.acquire(BACKEND, mine.new_id(), [candidate(work=50)])
    assert (grant.index, grant.leased, grant.recovering) == (None, (60,), False)
    for each in stores:
        await each.aclose()


async def test_a_replica_that_does_not_come_back_is_not_waited_for_for_ever(own_server: Embedded) -> None:
    clock, store, admin = Clock(), Store(own_server.url, timeout=5.0), Store(own_server.url, timeout=5.0)
    await store.check()
    await admin.check()
    mine, gone = replica(store, clock, fresh=True), replica(admin, clock, fresh=True)
    for one in (mine, gone, mine):
        await one.loads([BACKEND])
        await one.tick()
    clock.ms += 10
    await lose(admin, [store])
    for expected in (True, False):
        await mine.tick()
        await mine.loads([BACKEND])
        assert (await mine.acquire(BACKEND, mine.new_id(), [candidate()])).recovering is expected
        for _ in range(int(ABSENCE_SECONDS)):
            clock.ms += 1000
            await mine.tick()
        await mine.loads([BACKEND])
    await store.aclose()
    await admin.aclose()


async def test_what_was_admitted_and_freed_alone_is_true_in_the_store_again(
    own_server: Embedded, tmp_path: Path
) -> None:
    store = Store(own_server.url)
    await store.check()
    leases = replica(store, Clock(), fresh=True)
    ids = [leases.new_id() for _ in range(3)]
    await leases.acquire(BACKEND, ids[0], [candidate(work=10)])
    await leases.acquire(BACKEND, ids[1], [candidate(work=20)])
    heart = asyncio.ensure_future(leases.beat_forever())
    os.kill(own_server.pid, signal.SIGKILL)
    with pytest.raises(StoreFault):
        await leases.acquire(BACKEND, leases.new_id(), [candidate()])
    assert store.degraded
    leases.release(BACKEND, ids[0])
    leases.adopt(BACKEND, ids[2], candidate(work=30))
    own_server.stop()
    again = Embedded.start(tmp_path / "store")
    try:
        await until(lambda: not store.degraded)
        expected = {ids[1]: ("a@0", 20), ids[2]: ("a@0", 30)}
        async with asyncio.timeout(1):
            while (await books(store)).of(leases.owner) != expected:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        (await books(store)).check()
    finally:
        heart.cancel()
        await store.aclose()
        again.stop()
