"""A slice of `make prove-jobs`: real processes that are killed, a store that is; and that the judge can say no."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from loadtests.jobsproof.judge import Evidence, Seen, holds, judge
from loadtests.jobsproof.provider import film
from loadtests.jobsproof.run import Plan, prove

SLICE = Plan(count=45, clients=45, kill_seconds=1.2, restart_after=1, freezes=0, longest=8.0, seed=5)


async def test_jobs_end_once_whatever_dies(tmp_path: Path) -> None:
    run = await prove(tmp_path, SLICE, lambda _: None)
    assert holds(run), [line for line in judge(run) if not line.holds]
    assert run.lost > 0


def good() -> Evidence:
    ended = ("completed", "")
    seen = [Seen(id, ended, ended, {1.0}, film(id)) for id in ("a", "b")]
    return Evidence(2, seen, Counter({"a": 1, "b": 1}), kills=3, restarts=1)


def spoil(run: Evidence, how: str) -> None:
    one = run.seen[0]
    if how == "twice":
        run.taken["a"] += 1
    elif how == "turned":
        one.last = ("failed", "upstream_error")
    elif how == "ended again":
        one.moments.add(2.0)
    elif how == "open":
        one.first = one.last = ("in_progress", "")
    elif how == "film":
        one.film = b""
    elif how == "lost":
        run.seen.pop()
    elif how == "nobody's":
        run.taken["c"] = 1
    else:
        run.kills = 0


def test_the_judge_is_content_with_what_is_right() -> None:
    assert holds(good())


@pytest.mark.parametrize("how", ["twice", "turned", "ended again", "open", "film", "lost", "nobody's", "no kills"])
def test_the_judge_sees(how: str) -> None:
    run = good()
    spoil(run, how)
    assert not holds(run)
