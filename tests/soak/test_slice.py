"""A few seconds of the soak: everything it starts, asks, breaks and looks at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loadtests.soak.__main__ import report, soak
from loadtests.soak.judge import judge

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
TOO_SHORT = ("heap", "refused", "leases on /metrics against")
"""Lines that mean something only in the long run: here one killed worker is a large share."""


def test_a_slice(tmp_path: Path) -> None:
    run = soak(tmp_path, seconds=3.0, rate=40.0, keep_alive_s=1)
    report(run, {"date": "today"}, tmp_path / "page.md")
    assert run.tally.wrong == []
    assert [line.text() for line in judge(run) if not line.holds and not line.what.startswith(TOO_SHORT)] == []
    assert sum(run.tally.left.values()) > 0
    assert sum(run.tally.answers.values()) + sum(run.tally.left.values()) == run.tally.sent
    assert max(one.tasks for one in run.samples) > run.before.tasks
    assert "| chat, 200 KB |" in (tmp_path / "page.md").read_text()
