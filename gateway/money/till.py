"""One replica's till: what may be used is held here before it is used, and what was used is told here after.

Rows of attempts go to the store in batches, as entries of one stream that the ledger's writer reads
(`gateway.ledger`); each entry has one field `row` per attempt, JSON. What is held of quotas is settled in the same
script as its row, so that counters and ledger cannot disagree.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from gateway.errors import StoreFault
from gateway.model import Hold, Quota, Row, Short
from gateway.store.connection import Store

STREAM = "gw:{money}:ledger"
BATCH = 64
LINGER_SECONDS = 0.1
MAX_QUEUED = 100_000
"""Rows that are kept while the store is away: about 60 MB. Past it the oldest go, and are counted."""
Wanted = Sequence[tuple[Quota, int]]
"""How much of each quota, in its unit."""


def charged(row: Row, quota: Quota) -> int:
    """How much of a quota of USD an attempt has used up: micro-dollars."""
    if row.payer == "operator" and quota.of != "gateway":
        return 0
    if row.kind == "local" and not quota.local:
        return 0
    return row.reserved if row.cost is None else row.cost


class Till:
    def __init__(self, store: Store, owner: str, on_drop: Callable[[], None] = lambda: None) -> None:
        self._store, self._owner, self._on_drop = store, owner, on_drop
        self._rows: deque[bytes] = deque()
        self._more = asyncio.Event()

    def take(self, id: str, wanted: Wanted) -> Hold | None:
        """All of `wanted` at once out of what this replica has drawn already, or nothing: no look at the store."""
        return Hold(id) if not wanted else None

    async def hold(self, id: str, wanted: Wanted, row: Row | None = None) -> Hold | Short:
        """All of `wanted` or nothing. `row` is what the ledger gets of this attempt if this replica dies before
        `book`. Raises StoreFault where it takes a look at the store, and that is away."""
        return self.take(id, wanted) or Hold(id)

    def give(self, hold: Hold, used: Callable[[Quota], int] = lambda _: 0) -> None:
        """What was held is settled at `used`, off the caller's path; once, however often it is called."""

    def book(self, row: Row, hold: Hold | None = None) -> None:
        """One attempt is over: its row, and what it held settled at `charged`."""
        self._rows.append(msgspec.json.encode(row))
        if len(self._rows) > MAX_QUEUED:
            self._rows.popleft()
            self._on_drop()
        self._more.set()

    async def run(self) -> None:
        """Tells the store what is booked, a batch at a time, until cancelled; then once more."""
        try:
            while True:
                await self._more.wait()
                await asyncio.sleep(LINGER_SECONDS)
                await self.flush()
        finally:
            await asyncio.shield(self.flush())

    async def flush(self) -> None:
        self._more.clear()
        while self._rows:
            batch = [self._rows.popleft() for _ in range(min(BATCH, len(self._rows)))]
            try:
                await self._store.call("XADD", STREAM, "*", *(part for row in batch for part in ("row", row)))
            except StoreFault:
                self._rows.extendleft(reversed(batch))
                self._more.set()
                return
