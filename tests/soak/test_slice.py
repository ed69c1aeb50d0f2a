"""A few seconds of the soak: everything it starts, asks, breaks and looks at; and one whose gateway is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.soak.__main__ import main, report, soak
from loadtests.soak.judge import judge
from loadtests.stack import ROOT
from tests.gateways import eventually
from tests.processes import children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
TOO_SHORT = ("heap", "refused", "leases on /metrics against")
"""Lines that mean something only in the long run: here one killed worker is a large share."""


def test_a_slice(tmp_path: Path) -> None:
    run = soak(tmp_path, seconds=3.0, rate=40.0, workers=2, keep_alive_s=1)
    report(run, {"date": "today"}, tmp_path / "page.md")
    assert run.tally.wrong == []
    assert run.ended == []
    assert [line.text() for line in judge(run) if not line.holds and not line.what.startswith(TOO_SHORT)] == []
    assert sum(run.tally.left.values()) > 0
    assert sum(run.tally.answers.values()) + sum(run.tally.left.values()) == run.tally.sent
    assert max(one.tasks for one in run.samples) > run.before.tasks
    assert run.before.memory > 2 * run.before.worst, "a parent and two that serve"
    assert "| chat, 200 KB |" in (tmp_path / "page.md").read_text()


def test_a_gateway_that_dies_under_load_has_a_verdict(tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as said, err.open("wb") as complained:
        command = [sys.executable, "-m", "loadtests.soak", "--seconds", "60", "--rate", "20"]
        soaking = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=complained)
        try:
            eventually(lambda: re.search(r"^\d+\t\d+", out.read_text(), re.M), "a sample under load", 20)
            os.kill(gateway_of(soaking.pid), signal.SIGKILL)
            code = soaking.wait(20)
        finally:
            soaking.kill()
            soaking.wait()
    told = out.read_text()
    assert code == 1, told
    assert err.read_text() == ""
    assert re.search(r"^wrong: the gateway ended \(code -9, .+\)$", told, re.M), told
    assert "\nnot measured  leases left in the store" in told
    assert told.endswith("soak: not every line holds\n")


def gateway_of(pid: int) -> int:
    """Its child that serves."""
    return next(
        child for child in children(pid) if b"serve" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    )


def test_a_gateway_that_does_not_start_exits_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_GRACE_SECONDS", "soon")
    assert main(["--seconds", "1"]) == 2
    assert "make soak: StackFault: the gateway did not start. " in capsys.readouterr().err
