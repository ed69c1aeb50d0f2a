"""Several replicas on one store: what one gives back serves who waits at another, without polling."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter

import pytest

from gateway.model import Policy, Tenant
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.waiting.lines import SAFETY_SECONDS
from tests.conftest import PATIENT
from tests.fleet.leasing import Clock
from tests.polling import until
from tests.waiting.replicas import Replica, replicas
from tests.worlds import policy, rule, upstream


def seats(number: int) -> Policy:
    return policy((upstream("w1", "gpu", seats=number, limit=10**9),), (rule(spill=None, max_wait=30.0),))


async def published(one: Replica) -> int:
    """How many messages the store was ever told to publish."""
    stats = (await one.store.call("INFO", "commandstats")).decode()
    return next((int(line.split("calls=")[1].split(",")[0]) for line in stats.splitlines() if "_publish:" in line), 0)


async def cancelled(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_one_replica_gives_back_serves_at_once_who_waits_at_another(embedded: Embedded) -> None:
    async with replicas(embedded, seats(1), 2) as (one, other):
        held = await one.admit()
        waits = asyncio.create_task(other.admit())
        await until(lambda: other.waiting() == 1)
        await other.leases.drain()
        began = time.monotonic()
        one.admission.release(held)
        lease = await asyncio.wait_for(waits, 5)
        assert time.monotonic() - began < SAFETY_SECONDS / 2, "it was told, it did not look now and then"
        first_work = lease.candidate.work
        waits = asyncio.create_task(one.admit())
        await until(lambda: one.waiting() == 1)
        await one.leases.drain()
        other.admission.shrink(lease, first_work - 1)
        other.admission.release(lease)
        assert (await asyncio.wait_for(waits, 5)).candidate.upstream.name == "w1"


async def test_who_waits_nowhere_is_told_nothing_and_costs_nothing(embedded: Embedded) -> None:
    async with replicas(embedded, seats(1), 2) as (one, other):
        before = await published(one)
        one.admission.release(await one.admit())
        held = await one.admit()
        waits = asyncio.create_task(other.admit())
        await until(lambda: other.waiting() == 1)
        await cancelled(waits)
        await other.leases.drain()
        one.admission.release(held)
        await one.leases.drain()
        assert await published(one) == before
        assert await one.store.call("EXISTS", "gw:{gpu}:waits") == 0


async def test_one_freed_place_makes_about_one_waiter_in_the_cluster_try(embedded: Embedded) -> None:
    async with replicas(embedded, seats(2), 4) as (one, *others):
        held = [await one.admit() for _ in range(2)]
        waits = [asyncio.create_task(other.admit()) for other in others for _ in range(20)]
        await until(lambda: all(other.waiting() == 20 for other in others))
        for other in others:
            await other.leases.drain()
            await until(lambda other=other: not any(waiter.called for waiter in other.admission.lines.waiters("gpu")))  # type: ignore[misc]
        tries = Counter[str]()
        for other in others:
            acquire = other.leases.acquire

            async def counted(*given: object, acquire: object = acquire) -> object:
                tries["all"] += 1
                return await acquire(*given)  # type: ignore[operator]

            other.leases.acquire = counted  # type: ignore[assignment,method-assign]
        one.admission.release(held[0])
        await until(lambda: any(task.done() for task in waits))
        await one.leases.drain()
        assert tries["all"] == 2, "the one that was served, and the next, which found nothing"
        await cancelled(*waits)


async def test_lost_news_strand_nobody(embedded: Embedded) -> None:
    """A replica that hears nothing finds what came free when it looks at all anyway."""
    async with replicas(embedded, seats(1), 2, ears=False) as (one, other):
        held = await one.admit()
        waits = asyncio.create_task(other.admit())
        await until(lambda: other.waiting() == 1)
        one.admission.release(held)
        lease = await asyncio.wait_for(waits, SAFETY_SECONDS + 4)
        assert lease.candidate.upstream.name == "w1"


async def test_what_a_dead_replica_held_serves_who_waits(embedded: Embedded) -> None:
    clock = Clock()
    async with replicas(embedded, seats(1), 2, store_ms=clock) as (one, other):
        await one.admit()
        await other.leases.tick()
        waits = asyncio.create_task(other.admit())
        await until(lambda: other.waiting() == 1)
        for _ in range(5):  # one beats no more
            clock.ms += 1000
            await other.leases.tick()
        assert (await asyncio.wait_for(waits, SAFETY_SECONDS + 4)).candidate.upstream.name == "w1"


async def test_a_subscription_that_broke_is_made_again_and_what_it_missed_is_looked_for(embedded: Embedded) -> None:
    async with replicas(embedded, seats(1), 2) as (one, other):
        gaps = list[bool]()
        ears = other.store.subscription("gw:room:x", lambda _: None, lambda: gaps.append(True))
        other.tasks.append(asyncio.create_task(ears.run()))
        await until(lambda: len(gaps) == 1)
        await one.store.call("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: len(gaps) == 2)
        await until(lambda: not one.store.degraded)


@pytest.mark.parametrize("crowd", [(12, 4), (24, 2)])
async def test_replicas_that_wait_have_equal_turns_and_tenants_their_shares(
    embedded: Embedded, crowd: tuple[int, int]
) -> None:
    """Two replicas, at each of which both tenants wait, one of them with many more requests. Each replica is fair for
    itself, and a place that comes free is for either of them with the same chance: so both tenants have half, to
    within what chance does."""
    grants, many, few = 400, *crowd
    async with replicas(embedded, seats(4), 2) as both:
        had, at, done = Counter[str](), Counter[int](), asyncio.Event()

        async def client(number: int, tenant: str) -> None:
            while not done.is_set():
                lease = await both[number].admit(tenant=Tenant(tenant))
                had[tenant] += 1
                at[number] += 1
                if sum(had.values()) >= grants:
                    done.set()
                await asyncio.sleep(0.001)
                both[number].admission.release(lease)

        async def looking() -> None:
            while not done.is_set():
                await asyncio.gather(*(one.look() for one in both))
                await asyncio.sleep(0.02)

        clients = [
            asyncio.create_task(client(number, tenant))
            for number, tenant, size in ((0, "x", many), (0, "y", few), (1, "x", few), (1, "y", many))
            for _ in range(size)
        ]
        watch = asyncio.create_task(looking())
        await asyncio.wait_for(done.wait(), 20)
        await cancelled(*clients, watch)
        total = sum(had.values())
        assert abs(at[0] / total - 0.5) <= 0.15, at
        assert abs(had["x"] / total - 0.5) <= 0.1, had


async def test_a_user_without_rights_to_channels_loses_the_news_and_nothing_else(
    own_server: Embedded, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says so, once."""
    root = Store(own_server.url, timeout=PATIENT)
    await root.check()
    await root.call("ACL", "SETUSER", "gateway", "on", ">secret", "~gw:*", "resetchannels", "+@all")
    async with replicas(own_server, seats(1), 2, ears=False, login="gateway:secret@") as (one, other):
        ears = one.store.subscription("gw:room:x", lambda _: None, lambda: None)
        one.tasks.append(asyncio.create_task(ears.run()))
        held = await one.admit()
        waits = asyncio.create_task(other.admit())
        await until(lambda: other.waiting() == 1)
        await other.leases.drain()
        one.admission.release(held)
        await one.leases.drain()
        stats = (await root.call("INFO", "errorstats")).decode()
        assert "errorstat_NOPERM:count=" in stats, "the news were refused"
        assert not await failed_scripts(root), "and the release was not"
        lease = await asyncio.wait_for(waits, SAFETY_SECONDS + 4)
        assert lease.candidate.upstream.name == "w1"
        attempts = await refused(root)
        await until(lambda: "refuses a subscription" in caplog.text)
        async with asyncio.timeout(PATIENT):
            while await refused(root) < attempts + 2:  # noqa: ASYNC110 - the store signals no refusals
                await asyncio.sleep(0.01)
        assert caplog.text.count("refuses a subscription") == 1
    await root.aclose()


async def failed_scripts(root: Store) -> int:
    """How many calls of scripts ended with an error, but for those that the store did not have yet."""
    commands, errors = [(await root.call("INFO", section)).decode() for section in ("commandstats", "errorstats")]
    failed = sum(int(found) for found in re.findall(r"cmdstat_eval(?:sha)?:.*failed_calls=(\d+)", commands))
    return failed - sum(int(found) for found in re.findall(r"errorstat_NOSCRIPT:count=(\d+)", errors))


async def refused(root: Store) -> int:
    """How many subscriptions the store refused."""
    stats = (await root.call("INFO", "commandstats")).decode()
    line = next((line for line in stats.splitlines() if line.startswith("cmdstat_subscribe:")), "rejected_calls=0,")
    return int(line.split("rejected_calls=")[1].split(",")[0])
