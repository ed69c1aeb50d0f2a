"""Which workers were in the fleet, minute by minute: what they cost is owed whether or not they have work.

Every replica tells, the store takes the first (hours.lua), and the ledger's writer adds it up by the hour
(`gateway.ledger.hours`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec

from gateway.errors import StoreFault
from gateway.model import STATED, Snapshot, UpstreamState, WorkerMinute, micro_usd
from gateway.money.till import STREAM
from gateway.store.connection import Store
from gateway.store.scripts import load

TOLD = "gw:{money}:hours"
LOOK_SECONDS = 30.0
"""Twice a minute, so that none is missed between two looks."""
BATCH = 64
"""Workers in one field of the stream."""
_HOURS = load("gateway.money", "hours")
_MILLE = 1000


class Hours:
    def __init__(self, store: Store, snapshot: Callable[[], Snapshot]) -> None:
        self._store, self._snapshot = store, snapshot

    async def run(self) -> None:
        """Tells until cancelled. A minute in which the store is away is told by nobody."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(StoreFault):
                await self.tell()

    async def tell(self, now: float = 0.0) -> int | None:
        """The minute since the epoch that was told; None where another replica was first, or we have no workers.
        Raises StoreFault."""
        workers = list(minutes(self._snapshot()))
        if not workers:
            return None
        batches = [msgspec.json.encode(workers[at : at + BATCH]) for at in range(0, len(workers), BATCH)]
        minute = await self._store.eval(_HOURS, [TOLD, STREAM], [now, *batches])
        return int(minute) or None


def minutes(snapshot: Snapshot) -> Iterator[WorkerMinute]:
    """Our own workers as they are now; simulated ones too, which cost what the policy says."""
    return (_minute(state) for state in snapshot.states.values() if state.upstream.kind == "local")


def _minute(state: UpstreamState) -> WorkerMinute:
    upstream, reading = state.upstream, state.reading
    gpus, use = upstream.hardware, None if reading is None else reading.gpu
    return WorkerMinute(
        backend=upstream.backend,
        worker=upstream.name,
        gpu_kind=gpus.kind or "",
        gpus=gpus.count,
        rate=None if upstream.usd_per_hour is None else micro_usd(upstream.usd_per_hour),
        overhead=gpus.overhead,
        assumed=gpus.priced is not STATED,
        out=state.out is not None,
        busy=state.inflight > 0 or state.outside > 0,
        use_permille=None if use is None else round(use * _MILLE),
    )
