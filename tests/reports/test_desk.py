"""The reader's process, as a serving process sees it: one answer per question, whatever becomes of either."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.errors import InvalidRequest, NoCapacity
from gateway.reports import desk as desks
from gateway.reports.ask import Ask
from gateway.reports.desk import Desk
from gateway.settings import Settings
from tests.reports.books import bought, row, written


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    url = written(tmp_path, [row("a1"), bought("a2")])
    made = Desk(Settings(ledger_url=SecretStr(url)))
    yield made
    await made.aclose()


async def total(desk: Desk) -> int:
    found = await desk.report(Ask())
    cost: int = found.total["cost"]
    return cost


def pid_of(desk: Desk) -> int:
    assert desk._process is not None
    return desk._process.pid


def environ_of(desk: Desk) -> bytes:
    return Path(f"/proc/{pid_of(desk)}/environ").read_bytes()


async def test_one_process_answers_all(desk: Desk) -> None:
    assert await asyncio.gather(*(total(desk) for _ in range(4))) == [1400] * 4
    first = pid_of(desk)
    assert [line["attempt"] for line in (await desk.attempts(Ask())).lines] == ["a1", "a2"]
    assert [one.requests for one in (await desk.material(Ask())).got] == [1, 1]
    assert (await desk.facts(Ask())).hours == 1
    assert pid_of(desk) == first


async def test_the_reader_inherits_no_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "of-a-bought-api")
    await total(desk)
    assert b"of-a-bought-api" not in environ_of(desk)


async def test_a_reader_that_dies_is_replaced(desk: Desk) -> None:
    assert await total(desk) == 1400
    os.kill(pid_of(desk), signal.SIGKILL)
    with pytest.raises(NoCapacity):
        await total(desk)
    assert await total(desk) == 1400


async def test_whoever_leaves_takes_no_answer_of_the_next(desk: Desk) -> None:
    await total(desk)
    first = pid_of(desk)
    os.kill(first, signal.SIGSTOP)
    leaves = asyncio.create_task(desk.attempts(Ask()))
    await asyncio.sleep(0)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert await total(desk) == 1400
    assert pid_of(desk) != first


async def test_one_that_is_late_is_ended(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await total(desk)
    os.kill(pid_of(desk), signal.SIGSTOP)
    monkeypatch.setattr(desks, "ANSWER_SECONDS", 0.05)
    with pytest.raises(NoCapacity, match="does not answer"):
        await total(desk)
    assert desk._process is None


async def test_not_all_may_wait(desk: Desk) -> None:
    asked = await asyncio.gather(*(total(desk) for _ in range(desks.MOST_WAITING + 1)), return_exceptions=True)
    assert [isinstance(one, NoCapacity) for one in asked].count(True) == 1


async def test_no_tenant_takes_all_places(desk: Desk) -> None:
    """Tenants have six of eight together, each two."""
    names = ["greedy"] * 8 + ["a", "a", "b", "b", "c"] + [None] * 2
    asked = await asyncio.gather(*(desk.report(Ask(), name) for name in names), return_exceptions=True)
    got = [name for name, one in zip(names, asked, strict=True) if not isinstance(one, NoCapacity)]
    assert got == ["greedy", "greedy", "a", "a", "b", "b", None, None]
    assert not desk._waiting


async def test_it_ends_when_nobody_asks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await total(desk)
    process = desk._process
    assert process is not None
    monkeypatch.setattr(desks, "IDLE_SECONDS", 0.0)
    await total(desk)
    await asyncio.wait_for(process.wait(), 10)
    assert process.returncode == 0


async def test_faults_come_as_they_are(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot hold"):
        await desk.report(Ask(since=2**70))
    (tmp_path / "ledger.db").unlink()
    with pytest.raises(NoCapacity, match="no row has been written"):
        await desk.report(Ask())
