"""A lease lives as long as its request, be it hours; a fleet that restarts leaves nothing behind."""

from __future__ import annotations

from random import Random

from gateway.fleet.leases import Leases
from gateway.store.connection import Store

from .leasing import BACKEND, Books, Clock, books, candidate, replica

LONG_MS = 10 * 60 * 1000
"""Some 150 lives of a lease that nobody renews."""
BEAT_MS = 1000
WORKERS, REPLICAS, HELD = 4, 3, 30


async def test_a_long_job_keeps_its_lease(store: Store) -> None:
    """The other replica's beats sweep whoever is late: 600 chances to lose it."""
    clock = Clock()
    holder, other = replica(store, clock, fresh=True), replica(store, clock, fresh=True)
    await holder.loads([BACKEND])
    await holder.tick()
    job = holder.new_id()
    assert (await holder.acquire(BACKEND, job, [candidate(work=40)])).index == 0
    await other.loads([BACKEND])
    end = clock.ms + LONG_MS
    while clock.ms < end:
        clock.ms += BEAT_MS
        await holder.tick()
        await other.tick()
    assert (await books(store)).leases == {job: ("a@0", 40, holder.owner)}
    assert await other.loads([BACKEND]) == {"a@0": (40, 1)}
    assert holder.release(BACKEND, job)
    await holder.drain()
    assert await books(store) == Books({}, {}, {})


async def test_a_restart_of_the_whole_fleet_leaves_nothing_behind(store: Store) -> None:
    """Every worker begins a new life while requests run: what was taken on the old ones is given back to the old ones,
    in any order, and no sum is below zero or left over at any time."""
    rng, clock = Random(5), Clock()
    replicas = [replica(store, clock, fresh=True) for _ in range(REPLICAS)]
    for one in replicas:
        await one.loads([BACKEND])
        await one.tick()
    held: list[tuple[Leases, str]] = []
    for life in range(4):
        for _ in range(HELD):
            one = rng.choice(replicas)
            lease = one.new_id()
            workers = [candidate(f"w{n}", work=rng.randint(1, 9), seats=HELD, life=life) for n in range(WORKERS)]
            if (await one.acquire(BACKEND, lease, workers)).index is not None:
                held.append((one, lease))
        rng.shuffle(held)
        for one, lease in held[HELD // 2 :]:
            one.release(BACKEND, lease)
        del held[HELD // 2 :]
        clock.ms += BEAT_MS
        for one in replicas:
            await one.drain()
            await one.tick()
        seen = await books(store)
        seen.check()
        assert min(seen.load.values()) > 0
    for one, lease in held:
        one.release(BACKEND, lease)
    for one in replicas:
        await one.drain()
        await one.tick()
    assert await books(store) == Books({}, {}, {})
