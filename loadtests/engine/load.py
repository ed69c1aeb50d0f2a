"""Checks 2 and 3: who leaves frees the engine; what the engine says of its load is known everywhere."""

from __future__ import annotations

import asyncio
import time

from gateway.fleet.outside import LAG_SECONDS
from gateway.fleet.probes import INTERVAL_SECONDS
from loadtests.engine import policy
from loadtests.engine.ledger import Ledger
from loadtests.engine.stand import LOCAL, POLL_SECONDS, Stand, until
from loadtests.engine.streams import flowing, leave
from loadtests.engine.waits import (
    all_taken,
    fate,
    holds,
    idle,
    is_idle,
    no_outside,
    outside_share,
    queueing,
    reached,
    reading_says,
)

FREED_SECONDS = 5.0
"""Until an engine has dropped a request whose client left, and says so."""
STARTED_SECONDS = 30.0
WARM_SECONDS = 5.0
FRESH_SECONDS = 10.0
WATCHED_SECONDS = 3.0
LOADED = 4
QUEUED = 2 * policy.SEATS
"""Requests more than the engine has seats: whenever a batch ends, the next one is there already."""
SEEN_SECONDS = 10.0
CAUGHT_UP_SECONDS = 2.0
"""For one scrape and one look at the store after a whole window."""


async def warm_up(stand: Stand, ledger: Ledger) -> None:
    """A cold engine stands still for seconds when its batch first grows; none of what follows is about that."""
    async with flowing(stand.direct, stand, policy.SEATS):
        count, took = await until(lambda: reached(stand, policy.SEATS), STARTED_SECONDS)
        await asyncio.sleep(WARM_SECONDS)
    await idle(stand)
    seen = f"{count or 'never so many'} after {took:.1f} s"
    ledger.add(f"{policy.SEATS} streams straight to the engine: running", policy.SEATS, seen, bool(count))


async def aborts(stand: Stand, ledger: Ledger) -> None:
    """A client that leaves: the engine stops writing for it, and the lease is gone."""
    asked = [("a long stream", True)]
    if stand.about.kind.aborts_plain:
        asked.append(("a long plain answer", False))
    for what, stream in asked:
        body = stand.long(stream=stream)
        task = asyncio.create_task(stand.http.post("/v1/chat/completions", json=body, headers=LOCAL))
        held, _ = await until(lambda: holds(stand, 1), STARTED_SECONDS)
        seen = "both 1" if held else f"running {await stand.running()}, leases {await stand.leases()}"
        ledger.add(f"{what}: engine's running, leases", "both 1", seen, held)
        await leave(task)
        freed, took = await until(lambda: is_idle(stand), FREED_SECONDS)
        seen = "both 0" if freed else f"running {await stand.running()}, leases {await stand.leases()}"
        ledger.add(
            f"{what}, its client gone: both 0", f"within {FREED_SECONDS:g} s", f"{seen} after {took:.1f} s", freed
        )


async def gauges(stand: Stand, ledger: Ledger) -> None:
    """The engine's gauges, in the store and on our page, while it is loaded."""
    async with flowing(stand.http, stand, LOADED, LOCAL):
        await until(lambda: holds(stand, LOADED), STARTED_SECONDS)
        await until(lambda: reading_says(stand, running=LOADED, waiting=0), SEEN_SECONDS)
        reading, shown = await stand.reading(), await stand.shown()
        tells = stand.about.kind.tells_kv
        seen = (reading.running, reading.waiting, (reading.kv or 0) > 0)
        ledger.add("reading in the store: running, waiting, kv above 0", (LOADED, 0, tells), seen)
        told = (shown.get("running"), shown.get("queue_depth"), shown.get("kv_utilisation", 0) > 0)
        ledger.add("our /metrics: running, queue depth, kv above 0", (LOADED, 0, tells), told)
        ledger.add("our /metrics: leases", LOADED, shown.get("leases"))
        oldest, end = 0.0, time.monotonic() + WATCHED_SECONDS
        while time.monotonic() < end:
            oldest = max(oldest, (await stand.shown())["reading_age_seconds"])
            await asyncio.sleep(POLL_SECONDS)
        said = f"under {FRESH_SECONDS:g} s"
        ledger.add("oldest reading seen under load", said, f"{oldest:.2f} s", oldest < FRESH_SECONDS)
        ledger.add("our own load, taken for outside load", 0, (await stand.shown()).get("outside_share", 0))
    await idle(stand)


async def outside(stand: Stand, ledger: Ledger) -> None:
    """Load that holds no lease of ours."""
    window = 2 * LAG_SECONDS + INTERVAL_SECONDS + CAUGHT_UP_SECONDS
    async with flowing(stand.direct, stand, policy.SEATS + QUEUED):
        # A page may stand still for many seconds when a batch fills: what it has not said nobody can know.
        waiting, _ = await until(lambda: queueing(stand), STARTED_SECONDS)
        said = f"{policy.SEATS}, above 0"
        ledger.add("a queue in the engine: running, waiting in the store", said, waiting or "no queue", bool(waiting))
        share, took = await until(lambda: outside_share(stand), window)
        said = f"above 0 within 2 x {LAG_SECONDS:g} s and a scrape"
        ledger.add("outside share", said, f"{share or 0:.2f}, {took:.1f} s after the reading", bool(share))
        await until(lambda: all_taken(stand), SEEN_SECONDS)
        answer = await stand.http.post("/v1/chat/completions", json=stand.body(max_tokens=4))
        ledger.add("a request meanwhile: outcome, reason", ("spilled", "outside_load"), fate(answer.headers))
    await idle(stand)
    gone, took = await until(lambda: no_outside(stand), SEEN_SECONDS)
    ledger.add("outside share once it is gone", "0", f"{'0' if gone else 'more'} after {took:.1f} s", bool(gone))
