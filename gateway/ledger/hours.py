"""Worker-hours: for each hour, how long a worker was in the fleet, what that cost, and how busy it said it was.

Fed with the minutes that `gateway.money.hours` puts on the stream. A bit for each minute of the hour makes adding one
twice harmless, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Connection, Float, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from gateway.ledger.tables import metadata
from gateway.model import WorkerMinute

MINUTES_PER_HOUR = 60
LATEST = 2**40
"""Minutes: no clock says later."""
LARGEST = 2**50
"""So that an hour's sum of sixty fits 64 bits."""
LONGEST = 1024
"""Bytes of a text that is indexed: PostgreSQL takes no index entry above 2,704."""
ADDED = ("up", "out", "busy", "rate_sum", "priced", "use_sum", "use_seen")
"""Columns that a minute adds to; `minutes` is of which minutes of the hour, a bit each."""
fleet_hours = Table(
    "fleet_hours",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("backend", Text, primary_key=True),
    Column("worker", Text, primary_key=True),
    Column("gpu_kind", Text, nullable=False),
    Column("gpus", BigInteger, nullable=False),
    Column("overhead", Float(53), nullable=False),
    Column("assumed", Boolean, nullable=False),
    Column("minutes", BigInteger, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in ADDED),
)
"""`hour` is hours since the epoch. `up`, `out`, `busy`, `priced` and `use_seen` are minutes: in the fleet, taking no
traffic, with work, with a known rate, with GPUs that told; `rate_sum` is the sum over minutes of micro-dollars per hour
(so rate_sum / 60 is micro-dollars), `use_sum` that of use in thousandths. Of what changed within the hour (GPUs,
overhead) the last word stands."""

_decode = msgspec.json.Decoder(list[WorkerMinute]).decode


class Minute(NamedTuple):
    """Workers that were in the fleet in this minute since the epoch."""

    minute: int
    workers: list[WorkerMinute]


def minute(at: bytes, workers: bytes) -> Minute:
    """Of the fields `minute` and `hours` of the stream. Raises msgspec.MsgspecError, ValueError."""
    found = Minute(int(at), _decode(workers))
    if not 0 <= found.minute < LATEST or any(not _sound(one) for one in found.workers):
        raise ValueError("nothing that a minute of a fleet can be")
    return found


def _sound(worker: WorkerMinute) -> bool:
    texts = (worker.backend, worker.worker, worker.gpu_kind)
    numbers = (worker.gpus, worker.rate or 0, worker.use_permille or 0)
    return not any("\0" in text or too_long(text) for text in texts) and all(
        0 <= number <= LARGEST for number in numbers
    )


def too_long(text: str) -> bool:
    """For an index. Raises UnicodeError."""
    return len(text) * 4 > LONGEST and len(text.encode()) > LONGEST


def add(connection: Connection, minutes: Iterable[Minute]) -> None:
    """Each minute of each worker once, in the caller's transaction."""
    rows = [_row(at, worker) for at, workers in minutes for worker in workers]
    rows.sort(key=itemgetter("hour", "backend", "worker"))  # two writers in one order cannot lock each other out
    if not rows:
        return
    made: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(fleet_hours)
    new, bit = made.excluded, made.excluded.minutes
    columns = fleet_hours.c
    changes = {name: columns[name] + new[name] for name in (*ADDED, "minutes")}
    changes |= {name: new[name] for name in ("gpu_kind", "gpus", "overhead", "assumed")}
    statement = made.on_conflict_do_update(
        index_elements=["hour", "backend", "worker"], set_=changes, where=columns.minutes.op("&")(bit) == 0
    )
    connection.execute(statement, rows)


def _row(minute: int, worker: WorkerMinute) -> dict[str, Any]:
    hour, place = divmod(minute, MINUTES_PER_HOUR)
    return {
        "hour": hour,
        "backend": worker.backend,
        "worker": worker.worker,
        "gpu_kind": worker.gpu_kind,
        "gpus": worker.gpus,
        "overhead": worker.overhead,
        "assumed": worker.assumed,
        "minutes": 1 << place,
        "up": 1,
        "out": int(worker.out),
        "busy": int(worker.busy),
        "rate_sum": worker.rate or 0,
        "priced": int(worker.rate is not None),
        "use_sum": worker.use_permille or 0,
        "use_seen": int(worker.use_permille is not None),
    }
