"""Locust as a child process that sends the plan, and a look at everything once a second while it does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from loadtests.children import die_with_parent
from loadtests.feed import DRAIN_SECONDS, LEAD_SECONDS, Tail
from loadtests.phases import timeline
from loadtests.plan import Plan, save
from loadtests.progress import Progress
from loadtests.sampler import Sampler
from loadtests.stack import ROOT, end
from loadtests.target import Facts, Target

USERS = ROOT / "loadtests" / "users.py"
START_SECONDS = 30.0
"""How long Locust may take to begin."""
SLACK_SECONDS = 15.0
STOP_SECONDS = 5.0


class LoadFault(Exception):
    """The load could not be offered."""


def offer(target: Target, known: Facts, plan: Plan) -> tuple[Tail, Sampler]:
    """Send the plan and watch. Raises LoadFault where Locust ends before its time."""
    seats = sum(worker.seats for worker in known.workers)
    with tempfile.TemporaryDirectory(prefix="spillover-") as name:
        folder = Path(name)
        save(plan, folder / "plan.json")
        if target.simulator:
            target.simulator.reset()
        with locust(target.url, folder) as process:
            pids = {**target.pids, "locust": process.pid, "this observer": os.getpid()}
            tail = Tail(folder / "results")
            with contextlib.closing(Sampler(target.url, seats, pids)) as sampler:
                watch(process, tail, sampler, plan)
        if process.returncode != 0 or tail.origin is None:
            said = (folder / "locust.log").read_text().strip().splitlines()[-1:]
            raise LoadFault(" ".join([f"locust ended with code {process.returncode}:", *said]))
    return tail, sampler


@contextlib.contextmanager
def locust(url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Locust, headless, as a child that ends with this block."""
    command = [sys.executable, "-m", "locust", "-f", str(USERS), "--headless", "--only-summary", "--host", url]
    command += ["--exit-code-on-error", "0", "--loglevel", "WARNING"]
    paths = {"LOAD_PLAN": str(folder / "plan.json"), "LOAD_RESULTS": str(folder / "results")}
    with (folder / "locust.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **paths},
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
            start_new_session=True,  # Ctrl-C is ours to hear
        )
    try:
        yield process
    finally:
        end(process, STOP_SECONDS)


def watch(process: subprocess.Popen[bytes], tail: Tail, sampler: Sampler, plan: Plan) -> None:
    """One look a second until Locust has ended, and one after it. Raises LoadFault where it hangs."""
    begun = time.monotonic()
    progress = Progress(timeline(plan.seconds), plan)
    while True:
        ended = process.poll() is not None
        tail.read()
        seen = sampler.look(time.monotonic() + LEAD_SECONDS if tail.origin is None else tail.origin)
        if ended:
            return
        if tail.origin is not None:
            progress.show(seen, tail.results)
        elif time.monotonic() > begun + START_SECONDS:
            raise LoadFault(f"locust did not begin within {START_SECONDS:g} s")
        if seen.at > plan.seconds + DRAIN_SECONDS + SLACK_SECONDS:
            raise LoadFault("locust did not end in time")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0 - seen.at % 1.0)
