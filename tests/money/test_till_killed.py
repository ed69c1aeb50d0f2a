"""A real process that draws slices, sends attempts and is killed in the midst of it."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from gateway.money.till import STREAM, Till
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT
from tests.money.tills import Clock, quota, rows

CAP = 1_000_000
BUDGET = quota("budget all", CAP, per="total")
SPENDER = """
import asyncio, sys
from gateway.money.till import Till
from gateway.store.connection import Store
from tests.money.tills import quota, row

BUDGET = quota("budget all", 1_000_000, per="total")

async def main(url):
    store = Store(url, timeout=5.0)
    await store.check()
    till = Till(store, "dead")
    running = asyncio.create_task(till.run())
    for n in range(10**6):
        id, amount = f"a{n}", 50 + n % 50
        hold = till.take(id, [(BUDGET, amount)], row(id, amount)) or await till.hold(
            id, [(BUDGET, amount)], row(id, amount))
        await asyncio.sleep(0)  # what is open is told
        print(amount, flush=True)  # the provider bills it
        if n % 3:
            till.book(row(id, amount, amount), hold)

asyncio.run(main(sys.argv[1]))
"""
SETTLED_BATCHES = 5


async def test_a_killed_process_leaves_no_bill_that_the_ledger_does_not_know(own_server: Embedded) -> None:
    spender = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SPENDER, own_server.url), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    store = Store(own_server.url, timeout=PATIENT)
    await store.check()
    assert spender.stdout is not None
    billed = []
    while await store.call("XLEN", STREAM) < SETTLED_BATCHES:
        billed.append(int(await spender.stdout.readline()))
    spender.send_signal(signal.SIGKILL)
    billed += [int(line) for line in (await spender.stdout.read()).splitlines(keepends=True) if line.endswith(b"\n")]
    await spender.wait()

    seconds, _ = await store.call("TIME")
    clock = Clock(int(seconds) * 1000)
    watch = Till(store, "alive", store_ms=clock.store)
    for _ in range(5):
        await watch.tick()
        clock.pass_(2.0)
    ledger = await rows(store)
    (usage,) = await watch.report([BUDGET])
    known = sum(one["reserved"] if one["cost"] is None else one["cost"] for one in ledger)
    assert (usage.used, usage.held) == (known, 0)
    assert sum(billed) <= known <= CAP
    assert {one["state"] for one in ledger} == {"settled", "unreconciled"}
    await store.aclose()
