"""Leases, one behaviour at a time: life and death of owners, write-back, recovery after a flush, lives of a worker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.errors import StoreFault
from gateway.fleet.leases import BEAT_SECONDS, WRITE_BACK_SECONDS, Leases, new_owner
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.store.scripts import load

from .leasing import BACKEND, LIMIT, Books, Clock, books, candidate, replica

EXPIRY_MS, RECOVERY_MS, BEAT_MS = 4000, 2000, 1000


async def settled(store: Store, clock: Clock) -> Leases:
    """A replica on a store that has recovered."""
    one = replica(store, clock, fresh=True)
    await one.loads([BACKEND])
    await one.tick()
    return one


async def take(leases: Leases, work: int = 10, name: str = "a", life: int = 0) -> str:
    lease_id = leases.new_id()
    grant = await leases.acquire(BACKEND, lease_id, [candidate(name, work=work, life=life)])
    assert grant.index == 0
    return lease_id


async def lives_on(leases: Leases, clock: Clock, ms: int = EXPIRY_MS + 1) -> None:
    """This one beats, and no other."""
    end = clock.ms + ms
    while clock.ms < end:
        clock.ms = min(end, clock.ms + 1000)
        await leases.tick()


async def test_acquire_and_release(store: Store) -> None:
    leases = await settled(store, Clock())
    first, second = await take(leases, 10), await take(leases, 20)
    assert (await books(store)).leases == {first: ("a@0", 10, leases.owner), second: ("a@0", 20, leases.owner)}
    assert await leases.loads([BACKEND]) == {"a@0": (30, 2)}
    leases.release(BACKEND, first)
    leases.release(BACKEND, first)
    assert leases.live == {BACKEND: {second: ("a@0", 20)}}
    await leases.drain()
    assert await leases.loads([BACKEND]) == {"a@0": (20, 1)}
    leases.release(BACKEND, second)
    await leases.drain()
    assert await books(store) == Books({}, {}, {})


async def test_a_lease_gives_back_part_of_its_work(store: Store) -> None:
    leases = await settled(store, Clock())
    first, second = await take(leases, 60), await take(leases, 20)
    leases.resize(BACKEND, first, 15)
    leases.resize(BACKEND, "nobody:1", 15)
    await leases.drain()
    assert leases.live[BACKEND][first] == ("a@0", 15)
    assert (await books(store)).leases[first] == ("a@0", 15, leases.owner)
    assert await leases.loads([BACKEND]) == {"a@0": (35, 2)}
    leases.resize(BACKEND, second, 5)
    leases.release(BACKEND, second)
    leases.release(BACKEND, first)
    await leases.drain()
    assert await books(store) == Books({}, {}, {})


async def test_a_resize_that_the_store_missed_is_written_back(own_server: Embedded) -> None:
    clock, store = Clock(), Store(own_server.url)
    await store.check()
    leases = await settled(store, clock)
    lease = await take(leases, 60)
    await store.aclose()
    leases.resize(BACKEND, lease, 15)
    await leases.drain()
    again = Store(own_server.url)
    await again.check()
    leases._store = again
    await leases.tick()
    assert (await books(again)).leases[lease] == ("a@0", 15, leases.owner)
    await again.aclose()


async def test_a_grant_tells_what_was_there(store: Store) -> None:
    leases = await settled(store, Clock())
    await take(leases, 70, "a")
    grant = await leases.acquire(BACKEND, leases.new_id(), [candidate("a", work=40), candidate("b", work=40)])
    assert (grant.index, grant.leased, grant.counts, grant.recovering) == (1, (70, 0), (1, 0), False)
    full = await leases.acquire(BACKEND, leases.new_id(), [candidate("a", work=40)])
    assert (full.index, full.leased, full.counts) == (None, (70,), (1,))
    assert (await leases.acquire(BACKEND, leases.new_id(), [])).index is None


async def test_work_is_clamped_to_the_limit(store: Store) -> None:
    leases = await settled(store, Clock())
    lease_id = await take(leases, 5 * LIMIT)
    assert leases.live[BACKEND][lease_id] == ("a@0", LIMIT)
    assert (await books(store)).load == {"a@0": LIMIT}


async def test_concurrent_replicas_never_share_the_last_seat(store: Store) -> None:
    clock = Clock()
    replicas = [await settled(store, clock) for _ in range(4)]
    grants = await asyncio.gather(
        *(one.acquire(BACKEND, one.new_id(), [candidate(work=30)]) for one in replicas for _ in range(5))
    )
    assert sum(grant.index is not None for grant in grants) == LIMIT // 30
    (await books(store)).check()


async def test_late_releases_of_an_old_life_change_nothing_of_the_new(store: Store) -> None:
    leases = await settled(store, Clock())
    old = await take(leases, 60, life=1)
    new = await take(leases, 60, life=2)
    leases.release(BACKEND, old)
    await leases.drain()
    seen = await books(store)
    assert seen.leases == {new: ("a@2", 60, leases.owner)}
    assert seen.load == {"a@2": 60}


async def test_owners_are_the_living(store: Store) -> None:
    clock = Clock()
    first, second = await settled(store, clock), await settled(store, clock)
    assert await first.owners(BACKEND) == 2
    await lives_on(second, clock)
    assert await second.owners(BACKEND) == 1


@pytest.mark.parametrize("sweeper", ["acquire", "beat", "write-back"])
async def test_a_dead_owners_leases_go_and_no_others(store: Store, sweeper: str) -> None:
    clock = Clock()
    dead, living = await settled(store, clock), await settled(store, clock)
    await take(dead, 60)
    kept = await take(living, 30)
    await lives_on(living, clock, EXPIRY_MS)
    assert (await books(store)).load == {"a@0": 90}  # not a ms too early
    clock.ms += 1
    if sweeper == "acquire":
        await living.acquire(BACKEND, living.new_id(), [candidate(work=LIMIT)])
    else:
        await living.tick(clock.seconds() + (WRITE_BACK_SECONDS if sweeper == "write-back" else BEAT_SECONDS))
    seen = await books(store)
    assert list(seen.leases) == [kept]
    seen.check()


async def test_an_owner_that_was_swept_by_mistake_writes_back(store: Store) -> None:
    clock = Clock()
    stalled, other = await settled(store, clock), await settled(store, clock)
    lost = await take(stalled, 30)
    await lives_on(other, clock)
    assert (await books(store)).leases == {}
    # Before it has written back it is granted nothing more: its own leases are missing from the sums.
    grant = await stalled.acquire(BACKEND, stalled.new_id(), [candidate(work=80)])
    assert (grant.index, grant.recovering) == (None, True)
    await stalled.tick()
    assert (await books(store)).of(stalled.owner) == {lost: ("a@0", 30)}
    assert (await stalled.acquire(BACKEND, stalled.new_id(), [candidate(work=80)])).index is None


async def test_after_a_flush_nothing_is_granted_until_all_have_written_back(store: Store) -> None:
    clock = Clock()
    first, second = await settled(store, clock), await settled(store, clock)
    await take(first, 90)
    await store.call("FLUSHALL")
    grant = await second.acquire(BACKEND, second.new_id(), [candidate(work=80)])
    assert (grant.index, grant.recovering) == (None, True)
    clock.ms += RECOVERY_MS - 1
    await first.tick()
    await second.tick()
    assert (await second.acquire(BACKEND, second.new_id(), [candidate(work=5)])).recovering
    clock.ms += 1
    grant = await second.acquire(BACKEND, second.new_id(), [candidate(work=80)])
    assert (grant.index, grant.recovering, grant.leased) == (None, False, (90,))
    assert (await second.acquire(BACKEND, second.new_id(), [candidate(work=10)])).index == 0


@pytest.mark.parametrize("step_ms", [3_200, 5_000, 86_400_000, -86_400_000])
async def test_when_the_clock_is_set_all_write_back_before_anything_is_granted(store: Store, step_ms: int) -> None:
    """3,200: enough to let one of them run out, who beat earlier, and not the other."""
    clock = Clock()
    holder, other = await settled(store, clock), await settled(store, clock)
    held = await take(holder, 90)
    clock.ms += 900
    await other.tick()
    clock.ms += step_ms
    grant = await other.acquire(BACKEND, other.new_id(), [candidate(work=80)])
    assert (grant.index, grant.recovering) == (None, True)
    clock.ms += BEAT_MS
    await holder.tick()
    await other.tick()
    assert (await books(store)).of(holder.owner) == {held: ("a@0", 90)}
    clock.ms += RECOVERY_MS - BEAT_MS
    grant = await other.acquire(BACKEND, other.new_id(), [candidate(work=80)])
    assert (grant.index, grant.recovering, grant.leased) == (None, False, (90,))
    assert (await other.acquire(BACKEND, other.new_id(), [candidate(work=10)])).index == 0


async def test_an_owner_dead_before_the_clock_was_set_back_does_not_live_on(store: Store) -> None:
    clock = Clock()
    dead, living = await settled(store, clock), await settled(store, clock)
    await take(dead, 90)
    kept = await take(living, 10)
    clock.ms -= 3_600_000
    await lives_on(living, clock, BEAT_MS)
    assert list((await books(store)).leases) == [kept]
    assert await living.owners(BACKEND) == 1


async def test_a_clock_set_back_while_nobody_beats_delays_grants_once(store: Store) -> None:
    clock = Clock()
    await settled(store, clock)
    await store.call("DEL", f"gw:{{{BACKEND}}}:beats")
    clock.ms -= 3_600_000
    new = replica(store, clock)
    assert (await new.acquire(BACKEND, new.new_id(), [candidate()])).recovering
    clock.ms += RECOVERY_MS
    assert (await new.acquire(BACKEND, new.new_id(), [candidate()])).index == 0


async def test_only_a_fresh_store_grants_at_once(store: Store) -> None:
    clock = Clock()
    unsure = replica(store, clock)
    assert (await unsure.acquire(BACKEND, unsure.new_id(), [candidate()])).recovering
    await store.call("FLUSHALL")
    sure = replica(store, clock, fresh=True)
    assert (await sure.acquire(BACKEND, sure.new_id(), [candidate()])).index == 0
    await store.call("FLUSHALL")  # fresh is said once: a later flush is a flush
    assert (await sure.acquire(BACKEND, sure.new_id(), [candidate()])).recovering


@pytest.mark.parametrize("forget_scripts", [True, False])
@pytest.mark.parametrize("acquire_first", [True, False])
async def test_a_write_back_leaves_leases_under_way_alone(
    store: Store, acquire_first: bool, forget_scripts: bool
) -> None:
    clock = Clock()
    leases = await settled(store, clock)
    kept = await take(leases)
    for _ in range(3):
        if forget_scripts:
            await store.call("SCRIPT", "FLUSH")
        clock.ms += 1000
        pair = [take(leases), leases.tick(clock.seconds() + WRITE_BACK_SECONDS)]
        await asyncio.gather(*(pair if acquire_first else reversed(pair)))
    assert (await books(store)).of(leases.owner) == leases.live[BACKEND]
    assert kept in leases.live[BACKEND]
    assert len(leases.live[BACKEND]) == 4


async def test_a_write_back_that_was_held_up_does_not_judge_what_came_after(store: Store) -> None:
    """It may lie in the socket of a connection that was given up, and run when newer leases exist."""
    clock = Clock()
    leases = await settled(store, clock)
    before = await take(leases)
    old_list = [leases.owner, clock.ms, 0, 2, 0]
    leases.release(BACKEND, before)
    after = await take(leases)
    keys = [f"gw:{{{BACKEND}}}:{name}" for name in ("leases", "load", "count", "beats", "epoch")]
    await store.eval(load("gateway.fleet", "lib", "reconcile"), keys, old_list)
    assert list((await books(store)).leases) == [after]


async def test_a_write_back_makes_the_store_exact(store: Store) -> None:
    clock = Clock()
    leases, other = await settled(store, clock), await settled(store, clock)
    kept, foreign = await take(leases, 10), await take(other, 20)
    key = f"gw:{{{BACKEND}}}:"
    ghost, stranger = leases.new_id(), "nobody:1"
    for name, owner in ((ghost, leases.owner), (stranger, "nobody")):
        await store.call("HSET", key + "leases", name, f"a@0 40 {owner}")
    await store.call("HSET", key + "load", "a@0", -7, "b@0", 1)
    await leases.tick(clock.seconds() + WRITE_BACK_SECONDS)
    seen = await books(store)
    assert set(seen.leases) == {kept, foreign}
    seen.check()


async def test_a_cancelled_acquire_leaves_nothing(store: Store) -> None:
    leases = await settled(store, Clock())
    for turns in range(4):
        task = asyncio.ensure_future(leases.acquire(BACKEND, leases.new_id(), [candidate()]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await leases.drain()
    assert await books(store) == Books({}, {}, {})
    assert leases.live[BACKEND] == {}


async def test_an_acquire_that_timed_out_is_released_by_id(own_server: Embedded) -> None:
    store = Store(own_server.url, timeout=0.05)
    await store.check()
    leases = await settled(store, Clock())
    os.kill(own_server.pid, signal.SIGSTOP)
    with pytest.raises(StoreFault):
        await leases.acquire(BACKEND, leases.new_id(), [candidate()])
    os.kill(own_server.pid, signal.SIGCONT)
    await leases.drain()
    assert await books(store) == Books({}, {}, {})
    await store.aclose()


async def test_releases_of_one_turn_are_one_call(store: Store) -> None:
    leases = await settled(store, Clock())
    ids = [await take(leases, 1) for _ in range(5)]
    await store.call("CONFIG", "RESETSTAT")
    for lease_id in ids:
        leases.release(BACKEND, lease_id)
    await leases.drain()
    calls = [line for line in (await store.call("INFO", "commandstats")).decode().split() if "_eval" in line]
    assert sum(int(line.partition("calls=")[2].partition(",")[0]) for line in calls if "failed_calls=0" in line) == 1
    assert await books(store) == Books({}, {}, {})


async def test_keys_of_an_abandoned_backend_expire(store: Store) -> None:
    leases = await settled(store, Clock())
    await take(leases)
    await leases.tick()
    day = 24 * 3600
    for name in ("leases", "load", "count", "beats", "epoch"):
        assert day - 60 < await store.call("TTL", f"gw:{{{BACKEND}}}:{name}") <= day


HOLDER = """
import asyncio, sys
from gateway.fleet.leases import Leases, new_owner
from gateway.store.connection import Store
from leasing import candidate

async def main():
    store = Store(sys.argv[1])
    await store.check()
    leases = Leases(store, new_owner())
    for n in range(3):
        await leases.acquire("h100", leases.new_id(), [candidate()])
    print(leases.owner, flush=True)
    await leases.beat_forever()

asyncio.run(main())
"""


async def test_a_killed_process_loses_its_leases_within_five_seconds_and_nobody_else(embedded: Embedded) -> None:
    store = Store(embedded.url, timeout=5.0)
    await store.check()
    await store.call("FLUSHALL")
    leases = Leases(store, new_owner(), fresh=True)
    mine = await take(leases)
    heart = asyncio.ensure_future(leases.beat_forever())
    command = [sys.executable, "-c", HOLDER, embedded.url]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    holder = subprocess.Popen(  # noqa: ASYNC220  # it returns at once
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    try:
        assert holder.stdout is not None
        owner = (await asyncio.to_thread(holder.stdout.readline)).strip()
        assert len((await books(store)).of(owner)) == 3
    finally:
        holder.kill()
        holder.communicate()
    killed = time.monotonic()
    while (seen := await books(store)).of(owner):
        assert time.monotonic() - killed < 5.0
        assert mine in seen.leases
        await asyncio.sleep(0.25)
        await leases.loads([BACKEND])  # as a snapshot does
    assert seen.leases.keys() == {mine}
    assert time.monotonic() - killed > 2.5  # it was not swept while it lived
    heart.cancel()
    await store.aclose()
