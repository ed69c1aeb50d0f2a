"""What a serving process knows of the ledger: how much waits on the stream, for how long, and what its writers say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.errors import StoreFault
from gateway.money.till import STREAM
from gateway.store.connection import Store
from gateway.telemetry import Telemetry

STATE, REFUSED = "gw:{money}:ledger:state", "gw:{money}:ledger:refused"
LOOK_SECONDS = 2.0
SILENT_SECONDS = 30.0
"""A writer that has said nothing for so long is not counted on any more."""
SAMPLE = 2
"""Entries whose rows are counted: the others are taken to be like them."""


class Writer(msgspec.Struct, frozen=True):
    """What a writer last said of itself. `at` and `away_since` are epoch seconds; `fault` is None while all is well."""

    at: float
    host: str
    where: str
    schema: str | None = None
    fault: str | None = None
    away_since: float | None = None


@dataclass(frozen=True, slots=True)
class Lag:
    """`rows` wait, about, the oldest for `seconds`; `refused` were set aside."""

    rows: int = 0
    seconds: float = 0.0
    refused: int = 0
    writers: tuple[Writer, ...] = field(default=())

    def said(self) -> dict[str, Any]:
        """As /readyz?detail=1 tells it. No writer: nothing is written, and rows stay on the stream."""
        return {
            "lag_rows": self.rows,
            "lag_seconds": round(self.seconds, 3),
            "refused_rows": self.refused,
            "writers": [msgspec.to_builtins(each) for each in self.writers],
        }


_writer = msgspec.json.Decoder(Writer)


async def look(store: Store, now: Callable[[], float] = time.time) -> Lag:
    """Raises StoreFault."""
    entries, first, refused, told = await asyncio.gather(
        store.call("XLEN", STREAM),
        store.call("XRANGE", STREAM, "-", "+", "COUNT", SAMPLE),
        store.call("XLEN", REFUSED),
        store.call("HVALS", STATE),
    )
    rows, seconds = 0, 0.0
    if first:
        rows = max(entries, round(entries * sum(len(fields) // 2 for _, fields in first) / len(first)))
        seconds = max(0.0, now() - int(first[0][0].partition(b"-")[0]) / 1000)
    return Lag(rows, seconds, refused, tuple(_heard(told, now())))


def _heard(told: Sequence[bytes], now: float) -> list[Writer]:
    found = []
    for raw in told:
        try:
            each = _writer.decode(raw)
        except msgspec.DecodeError:  # of another version
            continue
        if now - each.at < SILENT_SECONDS:
            found.append(each)
    return found


class Watch:
    """Looks every LOOK_SECONDS; `last` is what it saw."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store, self._telemetry = store, telemetry
        self.last = Lag()

    async def run(self) -> None:
        while True:
            try:
                self.last = await look(self._store)
            except StoreFault:
                pass  # what was seen last stands; `gateway_degraded` tells why
            else:
                self._telemetry.ledger_lag_rows.set(self.last.rows)
                self._telemetry.ledger_lag_seconds.set(self.last.seconds)
                self._telemetry.ledger_refused.set(self.last.refused)
            await asyncio.sleep(LOOK_SECONDS)
