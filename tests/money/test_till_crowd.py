"""Many clients at once on several replicas, by the real clock: what interleaves inside one replica, too."""

from __future__ import annotations

import asyncio
from random import Random

from gateway.errors import StoreFault
from gateway.model import Hold
from gateway.money.till import Till
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT
from tests.money.test_till import listening
from tests.money.tills import Faulty, held, quota, row, rows, short

CLIENTS = 24
CAP = 600_000
ALL = quota("budget all", CAP, per="total")
TENANT = quota("tenant a: usd per total", CAP * 2 // 3, per="total")
SEATS = quota("key k: concurrent", CLIENTS // 2, unit="concurrent", per="total")
LEAST, MOST = 100, 900
LOST = 0.02
"""So many of the scripts have no answer."""


async def spend(till: Till, store: Faulty, random: Random, name: str, bills: list[int]) -> None:
    """Until there seems to be no room for the least."""
    for number in range(10_000):
        id, amount = f"{name} {number}", random.randint(LEAST, MOST)
        both = random.random() < 0.5
        wanted = [(ALL, amount), (TENANT, amount), (SEATS, 1)] if both else [(ALL, amount)]
        if random.random() < LOST:
            store.faults.append(random.choice(["before", "after", "late"]))
        told = row(id, amount)
        try:
            got = till.take(id, wanted, told) or await till.hold(id, wanted, told)
        except StoreFault:
            continue
        if isinstance(got, Hold):
            await asyncio.sleep(random.random() * 0.002)
            bills.append(bill := random.randint(0, amount))
            till.book(row(id, amount, bill), got)
        elif got.quota is ALL and got.left < LEAST:
            return


async def test_a_crowd_spends_no_more_and_the_rest_is_there_to_the_cent(embedded: Embedded, valkey: Store) -> None:
    random, bills = Random(6), list[int]()
    stores = [Faulty(embedded.url, timeout=PATIENT) for _ in range(3)]
    tills = [Till(store, f"r{index}") for index, store in enumerate(stores)]
    for store in stores:
        await store.check()
    async with listening(valkey, tills[0], "r0"), listening(valkey, tills[1], "r1"), listening(valkey, tills[2], "r2"):
        await asyncio.gather(
            *(spend(tills[n % 3], stores[n % 3], random, f"client {n}", bills) for n in range(CLIENTS))
        )
        for till, store in zip(tills, stores, strict=True):
            store.faults.clear()
            await store.deliver()
            await till.tick()
    ledger = await rows(valkey)
    (usage, tenant, seats) = await tills[0].report([ALL, TENANT, SEATS])
    assert sum(bills) == sum(one["cost"] for one in ledger) == usage.used
    assert (usage.held, tenant.held, seats.held, seats.used) == (0, 0, 0, 0)
    assert tenant.used <= TENANT.cap
    last = await held(tills[2], "last", (ALL, CAP - usage.used))
    assert (await short(tills[0], (ALL, 1))).left == 0
    tills[2].give(last)
    assert await valkey.call("KEYS", "gw:{money}:open:*") == []
    for store in stores:
        await store.aclose()
