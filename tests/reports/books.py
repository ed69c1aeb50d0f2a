"""A small invented ledger: rows, worker-hours and a SQLite file that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine

from gateway.ledger import hours
from gateway.ledger.database import Database
from gateway.ledger.hours import Minute
from gateway.ledger.tables import attempts, metadata, values
from gateway.model import Row, WorkerMinute
from gateway.reports.reading import Reader, open_reading

US = 10**6
NOON = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * US
HOUR_US, DAY_US = 3600 * US, 86_400 * US
HOUR_GPU = HOUR_US
"""An hour of one worker's work."""


def row(attempt: str, **given: Any) -> Row:
    """A chat that our own worker answered for tenant `acme` at noon of 2026-11-20, for $0.001."""
    base = Row(
        attempt=attempt,
        request=given.pop("request", f"r-{attempt}"),
        began=NOON - US,
        ended=NOON,
        tenant="acme",
        key="k1",
        model="m",
        endpoint="chat/completions",
        rule="chat",
        backend="gpu",
        upstream="w1",
        served_as="m-local",
        kind="local",
        role="asked",
        outcome="local",
        reason="local_has_room",
        result="answered",
        status=200,
        policy="v1",
        input_tokens=1000,
        output_tokens=200,
        cost=1000,
        basis="amortised",
        gpu_us=77_000,
        gpu_kind="H100",
    )
    return replace(base, **given)


def bought(attempt: str, **given: Any) -> Row:
    """The same, spilled to an API: $0.0004 by contract, $0.0005 at list price."""
    there = {"backend": "api", "upstream": "a1", "served_as": "m-api", "kind": "managed", "outcome": "spilled"}
    paid = {"reason": "slo_limit", "cost": 400, "list_cost": 500, "basis": "contract", "gpu_us": 0, "gpu_kind": ""}
    return row(attempt, **{**there, **paid, **given})


def minute_of(micros: int) -> int:
    return micros // (60 * US)


def worker(name: str = "w1", **given: Any) -> WorkerMinute:
    base = WorkerMinute(backend="gpu", worker=name, gpu_kind="H100", gpus=1, rate=2_000_000)
    return replace(base, **given)


def written(folder: Path, rows: Iterable[Row], minutes: Iterable[Minute] = ()) -> str:
    """The URL of a ledger that holds these."""
    url = f"sqlite:///{folder / 'ledger.db'}"
    engine = create_engine(url)
    metadata.create_all(engine)
    insert(engine, rows, minutes)
    engine.dispose()
    return url


def insert(engine: Engine, rows: Iterable[Row], minutes: Iterable[Minute] = ()) -> None:
    with engine.begin() as connection:
        found = [values(one) for one in rows]
        if found:
            connection.execute(attempts.insert(), found)
        hours.add(connection, minutes)


def stored(url: str, rows: Iterable[Row], minutes: Sequence[Minute] = ()) -> Reader:
    """By the writer's own schema and statements."""
    database = Database(url, 1200, lambda: NOON)
    database.open()
    database.store([values(one) for one in rows], minutes)
    database.close()
    return reader(url)


def reader(url: str) -> Reader:
    return Reader(open_reading(url), now=lambda: NOON + 30 * DAY_US)


def whole_hour(hour: int, *workers: WorkerMinute) -> list[Minute]:
    """Every minute of an hour since the epoch."""
    return [Minute(hour * 60 + place, list(workers)) for place in range(60)]
