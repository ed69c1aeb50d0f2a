"""The writer beside a real store and real databases: each attempt once, whatever is away; nothing waits for poison."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from gateway.ledger import writer as writing
from gateway.ledger.batch import Refused
from gateway.ledger.database import Database
from gateway.ledger.months import month_of, start_of
from gateway.ledger.place import ledger_url
from gateway.ledger.stream import Stream
from gateway.ledger.watch import REFUSED, look
from gateway.ledger.watch import Writer as Said
from gateway.ledger.writer import Writer
from gateway.money.till import STREAM
from gateway.settings import Settings
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.store.wire import ReplyFault
from loadtests.ledgerbench.postgres import binaries, started
from tests.conftest import PATIENT, connected
from tests.ledger.conftest import KEEP_MONTHS, NEWEST
from tests.ledger.reading import asked
from tests.ledger.rows import NOW, encoded, put, row
from tests.ledger.test_database import batch
from tests.polling import until as polled

CLAIM_MS = 50
DAY = 86_400 * 10**6


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_SECONDS", "TURN_SECONDS", "CLAIM_SECONDS", "TELL_SECONDS", "PAUSE_FIRST", "PAUSE_MOST"):
        monkeypatch.setattr(writing, name, 0.02)


@asynccontextmanager
async def written(store: Store, url: str, name: str = "one") -> AsyncIterator[Writer]:
    """A writer that runs as long as the block, and then ends in order."""
    writer = Writer(Stream(store, name, CLAIM_MS), Database(url, KEEP_MONTHS, lambda: NOW))
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        writer.stop()
        await task


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110  # what it waits for has no event
            await asyncio.sleep(0.01)


async def empty(store: Store, seconds: float = 10.0) -> None:
    """All that was on the stream is done with."""

    async def none() -> bool:
        return not await store.call("XLEN", STREAM)

    await until(none, seconds)


async def say(store: Store, check: Callable[[Said], bool]) -> None:
    """Until a writer says such a thing of itself."""

    async def said() -> bool:
        return any(check(each) for each in (await look(store)).writers)

    await until(said)


def attempts(url: str) -> list[str]:
    return [name for (name,) in asked(url, "SELECT attempt FROM attempts ORDER BY attempt")]


async def test_rows_are_written_and_leave_the_stream(valkey: Store, url: str) -> None:
    await put(valkey, *encoded(*(row(number) for number in range(64))))
    await put(valkey, *encoded(row(1), row(100)))
    async with written(valkey, url):
        await empty(valkey)
        assert len(attempts(url)) == 65
        lag = await look(valkey)
        assert (lag.rows, lag.seconds, lag.refused) == (0, 0.0, 0)
        await say(valkey, lambda said: (said.schema, said.fault) == (NEWEST, None))
    assert (await look(valkey)).writers == ()


async def test_what_is_left_is_written_at_the_end(valkey: Store, url: str) -> None:
    async with written(valkey, url):
        await put(valkey, *encoded(row(1)))
        await empty(valkey)
        for number in range(40):
            await put(valkey, *encoded(*(row(100 * number + each) for each in range(60))))
    assert len(attempts(url)) == 40 * 60
    assert await valkey.call("XLEN", STREAM) == 0


async def test_what_a_dead_writer_read_is_written_by_another(valkey: Store, url: str) -> None:
    dead = Stream(valkey, "dead")
    await dead.begin()
    await put(valkey, *encoded(row(1), row(2)))
    assert len(await dead.read()) == 1
    async with written(valkey, url):
        await empty(valkey)
    assert attempts(url) == ["owner:1", "owner:2"]


async def test_between_commit_and_acknowledgement(valkey: Store, url: str, opened: Callable[..., Database]) -> None:
    dead = Stream(valkey, "dead")
    await dead.begin()
    await put(valkey, *encoded(row(1), row(2)))
    await dead.read()
    opened(url).store(batch(row(1), row(2)))
    async with written(valkey, url):
        await empty(valkey)
    assert attempts(url) == ["owner:1", "owner:2"]


async def test_poison_is_set_aside_and_counted(valkey: Store, url: str) -> None:
    beyond = encoded(row(3))[0].replace(b'"reserved":9000', b'"reserved":99999999999999999999')
    await put(valkey, *encoded(row(1)), b"{", beyond, *encoded(row(2)))
    async with written(valkey, url):
        await empty(valkey)
    assert attempts(url) == ["owner:1", "owner:2"]
    aside = [fields[1] for _, fields in await valkey.call("XRANGE", REFUSED, "-", "+")]
    assert aside == [b"{", beyond]
    assert (await look(valkey)).refused == 2


async def test_done_twice_sets_poison_aside_once(valkey: Store) -> None:
    stream = Stream(valkey, "one")
    await stream.begin()
    await put(valkey, b"{")
    ids = [each.id for each in await stream.read()]
    for _ in range(2):
        await stream.done(ids, [Refused(ids[0], b"{", "why")])
    assert await valkey.call("XLEN", REFUSED) == 1


async def test_a_locked_file_is_waited_for(
    valkey: Store, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.engine.BUSY_SECONDS", 0.01)
    async with written(valkey, sqlite_url):
        await put(valkey, *encoded(row(1)))
        await empty(valkey)
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await put(valkey, *encoded(row(2)))
            await say(valkey, lambda said: "locked" in (said.fault or ""))
            assert (await look(valkey)).rows == 1
            other.execute("ROLLBACK")
        await empty(valkey)
        await say(valkey, lambda said: said.fault is None)
    assert attempts(sqlite_url) == ["owner:1", "owner:2"]


async def test_postgres_away_and_back(valkey: Store, caplog: pytest.LogCaptureFixture) -> None:
    tools = binaries()
    if tools is None:
        pytest.skip("PostgreSQL is not installed")
    with started(tools) as server:
        url = ledger_url(Settings(ledger_url=server.url))  # type: ignore[arg-type]
        async with written(valkey, url):
            await put(valkey, *encoded(row(1)))
            await empty(valkey)
            await asyncio.to_thread(server.stop)
            await put(valkey, *encoded(row(2)))
            await say(valkey, lambda said: said.fault is not None)
            await put(valkey, *encoded(row(3), row(1)))
            assert await valkey.call("XLEN", STREAM) == 2
            await asyncio.to_thread(server.start)
            await empty(valkey)
        assert attempts(url) == ["owner:1", "owner:2", "owner:3"]
    said = [each.getMessage() for each in caplog.records if each.name == "gateway" and each.levelname != "INFO"]
    assert said == ["the ledger cannot be written; rows stay in the store", "the ledger is written again"]


async def test_upkeep_that_fails_stops_no_row(
    valkey: Store, postgres_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that is being read holds the partition that is to go."""
    monkeypatch.setattr("gateway.ledger.upkeep.LOCK_MS", 50)
    old = start_of(month_of(NOW) - KEEP_MONTHS - 1)
    past = Database(postgres_url, KEEP_MONTHS, lambda: old)
    past.open()
    past.store(batch(row(1, ended=old), *(row(2 + n, ended=NOW - n * DAY) for n in range(0, 100, 5))))
    past.close()
    reading = create_engine(postgres_url)
    with reading.connect() as connection:
        connection.execute(text("SELECT count(*) FROM attempts"))
        async with written(valkey, postgres_url):
            await put(valkey, *encoded(row(200)))
            await empty(valkey)
    reading.dispose()
    assert {"owner:1", "owner:200"} < set(attempts(postgres_url))
    assert "the ledger's upkeep failed; rows are written all the same" in [each.getMessage() for each in caplog.records]


async def test_one_at_a_time_writes_a_file(valkey: Store, sqlite_url: str, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    async with written(valkey, sqlite_url, "one"):
        await put(valkey, *encoded(row(1)))
        await empty(valkey)
        async with written(valkey, other, "two"):
            for number in range(2, 8):
                await put(valkey, *encoded(row(number)))
            await empty(valkey)
    assert len(attempts(sqlite_url)) == 7
    assert not (tmp_path / "other.db").exists()


async def test_its_turn_is_given_back(valkey: Store, sqlite_url: str) -> None:
    async with written(valkey, sqlite_url, "one"):
        await put(valkey, *encoded(row(1)))
        await empty(valkey)
    async with written(valkey, sqlite_url, "two"):
        await put(valkey, *encoded(row(2)))
        await empty(valkey, seconds=3.0)


async def test_a_store_that_forgot_the_group(valkey: Store, sqlite_url: str) -> None:
    async with written(valkey, sqlite_url):
        await put(valkey, *encoded(row(1)))
        await empty(valkey)
        await valkey.call("FLUSHALL")
        await put(valkey, *encoded(row(2)))
        await empty(valkey)
    assert attempts(sqlite_url) == ["owner:1", "owner:2"]


async def test_a_store_that_is_killed(own_server: Embedded, sqlite_url: str, tmp_path: Path) -> None:
    async with connected(own_server) as store, written(store, sqlite_url):
        await put(store, *encoded(row(1)))
        await empty(store)
        own_server.stop()
        await asyncio.sleep(0)
        await own_server.revive(tmp_path / "store")
        await polled(lambda: not store.degraded, PATIENT)
        await put(store, *encoded(row(2)))
        await empty(store)
    assert attempts(sqlite_url) == ["owner:1", "owner:2"]


async def test_a_full_store_is_drained(own_server: Embedded, url: str) -> None:
    """Also by a writer that starts only then, and what cannot be stored is not lost."""
    async with connected(own_server) as store:
        await put(store, *encoded(row(1)), b"{")
        await store.call("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(ReplyFault, match="OOM"):
            await put(store, *encoded(row(2)))
    drain = Store(own_server.url, drains=True)
    await drain.check()
    async with written(drain, url):
        await empty(drain)
        assert not drain.degraded
    assert attempts(url) == ["owner:1"]
    assert await drain.call("XLEN", REFUSED) == 1
    await drain.aclose()


async def test_silent_writers_are_forgotten(valkey: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not those that still have something to write."""
    monkeypatch.setattr("gateway.ledger.stream.GONE_MS", 0)
    idle, busy = Stream(valkey, "idle"), Stream(valkey, "busy")
    await idle.begin()
    await put(valkey, *encoded(row(1)))
    for each in (busy, idle):
        await each.read()
        await each.tell(b"{}")
    await asyncio.sleep(0.002)
    await busy.tidy()
    assert await valkey.call("HKEYS", "gw:{money}:ledger:state") == [b"busy"]
    assert await busy.claim() == []
    pending = await valkey.call("XPENDING", STREAM, "writers")
    assert (pending[0], pending[3][0][0]) == (1, b"busy")
