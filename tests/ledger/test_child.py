"""The writer that `gateway serve` starts: one for all its processes, replaced when it dies, gone when it is gone."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import uvloop

from gateway.cli import workers as parent
from gateway.ledger.child import END_SECONDS, WriterChild
from gateway.ledger.writer import LAST_SECONDS
from gateway.money.till import STREAM
from gateway.settings import Settings
from loadtests.bench.proc import PROC, tree
from tests.gateways import PEPPER, Lane, Site, eventually, serve
from tests.ledger.reading import asked
from tests.ledger.rows import encoded, row
from tests.processes import gone

WRITER = b"\0ledger\0write\0"
PATIENT = 15.0

pytestmark = pytest.mark.usefixtures("ledger_kept")


def writers(pid: int) -> list[int]:
    return [each for each in tree(pid) if not gone(each) and WRITER in (PROC / str(each) / "cmdline").read_bytes()]


def alive(pid: int) -> set[int]:
    return {each for each in tree(pid) if not gone(each)}


def put(site: Site, number: int) -> None:
    with redis.Redis(unix_socket_path=str(site.data / "store.sock")) as store:
        store.xadd(STREAM, {"row": encoded(row(number))[0]})


def stored(path: Path, number: int) -> bool:
    return path.exists() and bool(
        asked(f"sqlite:///{path}", "SELECT 1 FROM sqlite_master WHERE name = 'attempts_kept'")
        and asked(f"sqlite:///{path}", f"SELECT 1 FROM attempts WHERE attempt = 'owner:{number}'")
    )


def test_its_end_fits_what_the_settings_promise() -> None:
    """docs/settings.md: 5 s after the grace for everything; the store and the leases need some of it."""
    assert LAST_SECONDS < END_SECONDS < parent.END_SECONDS


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_cancelled_as_it_begins_it_leaves_none(tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """At each of the first turns of the loop: a process that is not known yet is ended by the loop itself."""
    settings, before = Settings(data_dir=tmp_path), alive(os.getpid())

    async def begins(turns: int) -> None:
        child = WriterChild(settings, "redis://127.0.0.1:1")
        task = asyncio.create_task(child._start())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        for process in await asyncio.gather(task, return_exceptions=True):
            if isinstance(process, Process):
                child._process = process
        await child.aclose()

    with asyncio.Runner(loop_factory=loop) as runner:
        for turns in range(8):
            runner.run(begins(turns))
        eventually(lambda: alive(os.getpid()) <= before or None, "the end of all that began", PATIENT)


@pytest.mark.usefixtures("started_anew")
def test_neither_writer_nor_store_inherits_a_key(tmp_path: Path) -> None:
    keys = {"GATEWAY_ADMIN_KEY": "of-the-operators", "SOME_API_KEY": "of-a-bought-api"}
    with serve(tmp_path, [Lane("chat")], keys) as site:
        eventually(lambda: writers(site.gateway.pid) or None, "the writer", PATIENT)
        beside = [pid for pid in tree(site.gateway.pid) if pid != site.gateway.pid and not gone(pid)]
        assert len(beside) >= 2
        told = {pid: (PROC / str(pid) / "environ").read_bytes() for pid in beside}
        assert not [pid for pid, text in told.items() for key in (PEPPER, *keys.values()) if key.encode() in text]
        serving = (PROC / str(site.gateway.pid) / "environ").read_bytes()
        assert all(key.encode() in serving for key in (PEPPER, *keys.values()))


@pytest.mark.parametrize("processes", ["1", "2"])
def test_one_writer_for_as_long_as_the_gateway(tmp_path: Path, processes: str) -> None:
    with serve(tmp_path, [Lane("chat")], {"GATEWAY_WORKERS": processes, "GATEWAY_ADMIN_KEY": "a" * 16}) as site:
        ledger = site.data / "ledger.db"
        put(site, 1)
        eventually(lambda: stored(ledger, 1) or None, "the first row", PATIENT)
        (first,) = writers(site.gateway.pid)
        os.kill(first, signal.SIGKILL)
        put(site, 2)
        eventually(lambda: stored(ledger, 2) or None, "the row after its death", 2 * PATIENT)
        (second,) = writers(site.gateway.pid)
        assert second != first
        told = site.http.get("/readyz?detail=1", headers={"Authorization": f"Bearer {'a' * 16}"}).json()["ledger"]
        assert told["refused_rows"] == 0
        assert site.metric("gateway_ledger_refused_rows") == 0
        put(site, 3)
        site.gateway.stop()
        assert stored(ledger, 3)
        eventually(lambda: gone(second) or None, "the end of the writer")


def test_it_does_not_outlive_a_gateway_that_is_killed(tmp_path: Path) -> None:
    with serve(tmp_path, [Lane("chat")]) as site:
        (writer,) = eventually(lambda: writers(site.gateway.pid) or None, "the writer", PATIENT)
        site.gateway.kill()
        eventually(lambda: gone(writer) or None, "the end of the writer", PATIENT)
