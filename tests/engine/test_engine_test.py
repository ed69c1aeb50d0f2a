"""`make engine-test` itself, with a simulated worker in the engine's place: the same program, the same checks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.engine.__main__ import main
from loadtests.engine.cuts import ENDED_BEFORE, ENGINES_OWN, Cut
from loadtests.engine.kill import judge_streams
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
NO_VLLM = f"cd {ROOT} && {sys.executable} -m loadtests.bench.upstream {{port}}"
"""Answers anything with 200."""
QUICK = "sdks,refusals,tools,aborts,spill,kill,core"
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
    assert said.splitlines()[-2] == "engine-test: FAIL, 1 of 5 checks do not hold"
    kept(said)


@pytest.mark.parametrize(
    ("options", "command", "said"),
    [
        ([], None, "--max-num-seqs {seqs}' make engine-test"),
        ([], "  ", "ENGINE_CMD is not set"),
        ([], NO_VLLM, "the engine does not show its model and version as vllm or llamacpp does"),
        ([], "echo out of memory; exit 3", "the engine ended before it was ready (exit code 3): out of memory"),
        ([], "exit 9", "the engine ended before it was ready (exit code 9): it printed nothing"),
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
    told = capsys.readouterr().err
    assert said in told
    if command is not None and command.strip():
        assert ("out of memory" in said) == ("out of memory" in kept(told))


def kept(said: str) -> str:
    """What the engine printed, from where the test says it is; ends what was kept for the user."""
    found = re.search(r"is kept in (\S+)$", said, re.M)
    assert found is not None, said
    text = Path(found[1], "engine.log").read_text()
    shutil.rmtree(found[1])
    return text


def test_a_check_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "sdks,nonesuch"])
    assert ended.value.code == 2
    assert "unknown: nonesuch; there are sdks, " in capsys.readouterr().err


async def test_an_engine_ends_whole_when_it_is_asked_to(tmp_path: Path) -> None:
    """Its shell passes the signal on, which also comes when the test itself is killed."""
    with engine(tmp_path, "true && sleep 300 & sleep 300") as made:
        eventually(lambda: len(made.members()) >= 3, "the group has started")
        assert made.group is not None
        os.kill(made.group, signal.SIGTERM)
        eventually(lambda: not made.members(), "the group has ended")
        with pytest.raises(EngineFault):
            await made.ready()


def test_the_largest_process_is_killed(tmp_path: Path) -> None:
    with engine(tmp_path, f"sleep 300 & exec {sys.executable} -c 'import time; time.sleep(300)'") as made:
        eventually(lambda: len(made.members()) >= 3 and largest(made) is not None, "the group has started")
        victim = largest(made)
        made.kill_largest()
        eventually(lambda: victim not in made.members(), "it is gone")
        assert made.members()


@contextlib.contextmanager
def engine(place: Path, command: str) -> Iterator[Engine]:
    made = Engine(command, free_port(), 8, place / "engine.log")
    made.start()
    try:
        yield made
    finally:
        made.kill()


def largest(made: Engine) -> int | None:
    """The one that runs Python, once its shell has become it."""
    for pid in made.members():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(os.fsencode(sys.executable)):
                return pid
    return None


STREAM = ['data: {"id": "1", "choices": []}']
OURS = '{"error": {"message": "m", "type": "api_error", "param": null, "code": "upstream_error"}}'
CLAUDE = (
    '{"type": "error", "error": {"type": "api_error", "message": "m", "details": {"error_code": "upstream_error"}}}'
)
NOT_ONE = "no error event but "


@pytest.mark.parametrize(
    ("path", "frames", "failure"),
    [
        ("chat/completions", [*STREAM, f"data: {OURS}"], "upstream_error"),
        ("chat/completions", [*STREAM, 'data: {"error": {"message": "m", "code": 500}}'], ENGINES_OWN),
        ("chat/completions", [*STREAM, "data: [DONE]"], ENDED_BEFORE),
        ("chat/completions", [*STREAM, f"data: {OURS}", "data: [DONE]"], NOT_ONE),
        ("chat/completions", [*STREAM, f"event: error\ndata: {OURS}"], NOT_ONE),
        ("chat/completions", STREAM, NOT_ONE),
        ("chat/completions", [], NOT_ONE),
        ("responses", [f"event: error\ndata: {OURS}"], "upstream_error"),
        ("responses", [f"data: {OURS}"], NOT_ONE),
        ("messages", [f"event: error\ndata: {CLAUDE}"], "upstream_error"),
        ("messages", ['event: message_stop\ndata: {"type": "message_stop"}'], ENDED_BEFORE),
    ],
)
def test_how_a_stream_failed(path: str, frames: list[str], failure: str) -> None:
    assert Cut(path, frames).failure().startswith(failure)


@pytest.mark.parametrize(("last", "ok"), [("data: [DONE]", False), (f"data: {OURS}", True)])
async def test_somebody_must_have_been_cut_off(last: str, ok: bool) -> None:
    """Streams that all came to their ends just before the engine died would prove nothing."""
    streams = [Cut("chat/completions", [*STREAM, "data: [DONE]"]), Cut("chat/completions", [*STREAM, last])]
    reading = [asyncio.create_task(asyncio.sleep(0)) for _ in streams]
    await asyncio.wait(reading)
    ledger = Ledger()
    judge_streams(ledger, streams, reading, ("upstream_error",))
    assert [finding.ok for finding in ledger.findings] == [True, True, ok]


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
    ledger.add("a tuple", (200, "fallback", True), (200, "fallback", False))
    assert capsys.readouterr().out == "FAIL  a tuple: expected 200, fallback, yes; saw 200, fallback, no\n"
    text = page({"date": "today"}, ledger)
    assert "- date: today" in text
    assert "| FAIL | a / b | x | " in text
    assert text.endswith("**engine-test: FAIL, 2 of 3 checks do not hold**\n")
