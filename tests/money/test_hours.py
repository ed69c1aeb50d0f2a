"""Worker-hours: told once a minute whoever tells, and added up by the hour whatever comes twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select

from gateway.ledger import hours
from gateway.ledger.batch import entry, read
from gateway.ledger.database import Database
from gateway.ledger.hours import Minute, fleet_hours
from gateway.ledger.tables import metadata
from gateway.model import Gpus, Origin, Snapshot
from gateway.money.hours import TOLD, Hours, minutes
from gateway.money.till import STREAM
from gateway.store.connection import Store
from tests.reports.books import worker
from tests.worlds import reading, state, upstream

GUIDE = Origin("a guide", "2026-05-28", "guide")
NOW = 1_795_348_800.0
H200 = upstream("w2", "gpu", usd_per_hour=62.4, hardware=Gpus("H200", 8, 141.0, 2.6, GUIDE, 3.0))
SNAPSHOT = Snapshot(
    NOW,
    {
        "w1": state(upstream("w1", "gpu", usd_per_hour=None), inflight=2, reading=reading(gpu=0.375)),
        "w2": state(H200, out="draining"),
        "a1": state(upstream("a1", "api")),
    },
)


def test_what_a_minute_holds() -> None:
    first, second = minutes(SNAPSHOT)
    assert first == worker("w1", gpu_kind="", rate=None, busy=True, use_permille=375)
    assert second == worker("w2", gpu_kind="H200", gpus=8, rate=62_400_000, overhead=3.0, assumed=True, out=True)


async def test_one_replica_tells_a_minute(store: Store) -> None:
    replicas = [Hours(store, lambda: SNAPSHOT) for _ in range(3)]
    told = await asyncio.gather(*(one.tell(NOW + 30) for one in replicas))
    told += [await replicas[0].tell(NOW + 59), await replicas[1].tell(NOW + 60), await replicas[2].tell(NOW)]
    assert [minute for minute in told if minute] == [NOW // 60, NOW // 60 + 1]
    found = await store.call("XRANGE", STREAM, "-", "+")
    batch = read(entry(*each) for each in found)
    assert [minute.minute for minute in batch.minutes] == [NOW // 60, NOW // 60 + 1]
    assert batch.minutes[0].workers == list(minutes(SNAPSHOT))
    assert not batch.rows
    assert not batch.refused


async def test_the_minute_is_the_stores(store: Store) -> None:
    seconds, _ = await store.call("TIME")
    told = await Hours(store, lambda: SNAPSHOT).tell()
    assert told is not None
    assert 0 <= told - int(seconds) // 60 <= 1
    assert int(await store.call("GET", TOLD)) == told


async def test_without_workers_nothing_is_told(store: Store) -> None:
    assert await Hours(store, lambda: replace(SNAPSHOT, states={})).tell() is None
    assert await store.call("EXISTS", STREAM) == 0


async def test_a_large_fleet_comes_in_parts(store: Store) -> None:
    many = {f"w{n}": state(upstream(f"w{n}", "gpu")) for n in range(1000)}
    await Hours(store, lambda: replace(SNAPSHOT, states=many)).tell(NOW)
    ((id, fields),) = await store.call("XRANGE", STREAM, "-", "+")
    assert len(read([entry(id, fields)]).minutes) == 16


BROKEN = [
    (b"1", b"{"),
    (b"x", b"[]"),
    (b"", b"[]"),
    (b"-1", b"[]"),
    (b"99999999999999999999", b"[]"),
    (b"1", b'[{"backend": "gpu\\u0000", "worker": "w"}]'),
    (b"1", b'[{"backend": "gpu", "worker": "w", "rate": -5}]'),
    (b"1", b'[{"backend": "gpu", "worker": "w", "rate": 99999999999999999999}]'),
]


@pytest.mark.parametrize(("minute", "workers"), BROKEN)
def test_what_cannot_be_is_set_aside(minute: bytes, workers: bytes) -> None:
    batch = read([entry(b"1-0", [b"minute", minute, b"hours", workers])])
    assert (batch.minutes, len(batch.refused)) == ((), 1)


MINUTES = st.lists(st.integers(0, 179), max_size=30)


@given(MINUTES, st.randoms())
def test_each_minute_counts_once(told: list[int], rng: object) -> None:
    """Whatever comes again, and in whatever order."""
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    twice = told * 2
    rng.shuffle(twice)  # type: ignore[attr-defined]
    with engine.begin() as connection:
        for minute in twice:
            hours.add(connection, [Minute(minute, [worker(use_permille=500), worker("w2", rate=None)])])
        found = connection.execute(select(fleet_hours).order_by("hour", "worker")).mappings().all()
    engine.dispose()
    wanted = {hour: len({minute for minute in told if minute // 60 == hour}) for hour in range(3)}
    assert {row["hour"]: row["up"] for row in found if row["worker"] == "w1"} == {h: n for h, n in wanted.items() if n}
    for row in found:
        assert row["minutes"].bit_count() == row["up"]
        assert row["rate_sum"] == (row["up"] * 2_000_000 if row["worker"] == "w1" else 0)
        assert (row["use_sum"], row["priced"]) == ((row["up"] * 500, row["up"]) if row["worker"] == "w1" else (0, 0))


def test_the_writers_database_takes_them(tmp_path: Path) -> None:
    """By the schema that the migrations make."""
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", 24, lambda: 0)
    database.open()
    for _ in range(2):
        database.store([], [Minute(61, [worker()])])
    database.close()
    engine = create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.connect() as connection:
        (row,) = connection.execute(select(fleet_hours)).mappings().all()
    engine.dispose()
    assert (row["hour"], row["minutes"], row["up"]) == (1, 2, 1)
    assert msgspec.json.encode(dict(row))
