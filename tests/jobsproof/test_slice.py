"""A slice of `make prove-jobs`: real gateways that are killed, a store that is."""

from __future__ import annotations

from pathlib import Path

from loadtests.jobsproof.judge import holds, judge
from loadtests.jobsproof.run import Plan, prove

SLICE = Plan(count=100, clients=100, kill_seconds=1.5, freezes=0, most_kills=3, restart_share=0.2, seed=5)


def test_jobs_end_once_whatever_dies(tmp_path: Path) -> None:
    run = prove(tmp_path, SLICE, lambda _: None)
    assert holds(run), ([line for line in judge(run) if not line.holds], run.wrong)
    assert run.lost > 0
