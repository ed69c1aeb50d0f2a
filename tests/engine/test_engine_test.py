"""`make engine-test` itself, with a simulated worker in the engine's place: the same program, the same checks."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.engine.__main__ import main
from loadtests.engine.ledger import Finding, Ledger
from loadtests.engine.process import Engine, EngineFault
from loadtests.engine.report import page
from loadtests.stack import ROOT, free_port
from tests.gateways import eventually

WORKER = (
    '{"workers": [{"name": "w", "port": {port}, "max_num_seqs": {seqs}, "step_ms": 4.0, "gauge_lag_s": 0.1}],'
    ' "managed": 0}'
)
SIMULATED = f"cd {ROOT} && echo '{WORKER}' | {sys.executable} -m loadtests.simfleet --config -"
QUICK = "sdks,refusals,tools,aborts,spill,kill"
"""All but what takes whole windows of time; those are tested where they are made (tests/fleet/test_outside.py)."""


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ENGINE_CMD", SIMULATED)
    return SIMULATED


@pytest.mark.usefixtures("simulated")
def test_every_quick_check_holds_on_a_simulated_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "docs" / "page.md"
    code = main(["--only", QUICK, "--out", str(out)])
    said = capsys.readouterr().out
    assert code == 0, said
    assert said.splitlines()[-1].startswith("engine-test: PASS, all ")
    written = out.read_text()
    assert all(f"\n## {title}\n" in written for title in ("Tools", "A client that leaves", "kill -9 under load"))
    assert sys.executable not in written, "the command names the machine's own paths"


def test_an_engine_that_differs_is_told(
    simulated: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One with fewer seats than it was asked for queues before the gateway spills."""
    monkeypatch.setenv("ENGINE_CMD", simulated.replace("{seqs}", "2"))
    code = main(["--only", "spill"])
    said = capsys.readouterr().out
    assert code == 1
    assert "FAIL  the engine's own queue meanwhile: expected 0; saw 6" in said
    assert said.splitlines()[-1] == "engine-test: FAIL, 1 of 5 checks do not hold"


@pytest.mark.parametrize(
    ("options", "command", "said"),
    [
        ([], None, "ENGINE_CMD='vllm serve"),
        ([], "  ", "ENGINE_CMD is not set"),
        (["--only", "sdks,nonesuch"], SIMULATED, "no such check: nonesuch; there are sdks, "),
        ([], "echo out of memory; exit 3", "the engine ended before it was ready: out of memory"),
    ],
)
def test_what_is_missing_is_said(
    options: list[str],
    command: str | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("ENGINE_CMD", raising=False)
    if command is not None:
        monkeypatch.setenv("ENGINE_CMD", command)
    assert main(options) == 2
    assert said in capsys.readouterr().err


async def test_an_engine_ends_whole_when_it_is_asked_to(tmp_path: Path) -> None:
    """Its shell passes the signal on: also one that comes because the test itself was killed."""
    engine = Engine(
        f"true && sleep 300 & {sys.executable} -c 'import time; time.sleep(300)'", free_port(), 8, log(tmp_path)
    )
    engine.start()
    group = engine.group
    assert group is not None
    eventually(lambda: len(members(group)) >= 3, "the group has started")
    os.kill(group, signal.SIGTERM)
    eventually(lambda: not members(group) or None, "the group has ended")
    with pytest.raises(EngineFault):
        await engine.ready()
    engine.stop()


def log(place: Path) -> Path:
    return place / "engine.log"


def members(group: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields: Any = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_the_ledger_counts_and_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger()
    assert ledger.verdict() == "engine-test: FAIL, nothing was checked"
    ledger.section("First")
    assert ledger.add("equal", 1, 1)
    assert ledger.verdict() == "engine-test: PASS, all 1 checks hold"
    ledger.section("Second")
    assert not ledger.add("a | b", "x", "y" * 1000)
    assert ledger.failed == [Finding("Second", "a / b", "x", "y" * 197 + "...", False)]
    assert ledger.verdict() == "engine-test: FAIL, 1 of 2 checks do not hold"
    assert capsys.readouterr().out.splitlines()[:2] == ["-- First", "ok    equal: expected 1; saw 1"]
    text = page({"date": "today"}, ledger)
    assert "- date: today" in text
    assert "| FAIL | a / b | x | " in text
    assert text.endswith("**engine-test: FAIL, 1 of 2 checks do not hold**\n")
