"""The writer that `gateway serve` starts: one for all its processes, replaced when it dies, gone when it is gone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import redis

from gateway.money.till import STREAM
from loadtests.bench.proc import PROC, tree
from tests.gateways import Lane, Site, eventually, serve
from tests.ledger.reading import asked
from tests.ledger.rows import encoded, row
from tests.processes import gone

WRITER = b"\0ledger\0write\0"
PATIENT = 15.0

pytestmark = pytest.mark.usefixtures("ledger_kept")


def writers(pid: int) -> list[int]:
    return [each for each in tree(pid) if not gone(each) and WRITER in (PROC / str(each) / "cmdline").read_bytes()]


def put(site: Site, number: int) -> None:
    with redis.Redis(unix_socket_path=str(site.data / "store.sock")) as store:
        store.xadd(STREAM, {"row": encoded(row(number))[0]})


def stored(path: Path, number: int) -> bool:
    return path.exists() and bool(
        asked(f"sqlite:///{path}", "SELECT 1 FROM sqlite_master WHERE name = 'attempts_kept'")
        and asked(f"sqlite:///{path}", f"SELECT 1 FROM attempts WHERE attempt = 'owner:{number}'")
    )


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
