"""Locust as a child process that sends the plan, and a look at everything once a second while it does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.model import Upstream
from loadtests.load.feed import LEAD_SECONDS, Tail
from loadtests.load.plan import Plan, save
from loadtests.load.progress import Progress
from loadtests.load.sampler import Sampler
from loadtests.load.target import Target
from loadtests.nursery import die_with_parent
from loadtests.stack import ROOT, end

LOCUSTFILE = ROOT / "loadtests" / "locustfile.py"
USERS = 300
"""Of them one is idle when a request is due, unless so many are in flight. The simulated API is built for 400."""
START_SECONDS = 30.0
"""How long Locust may take to begin."""
SLACK_SECONDS = 15.0
STOP_SECONDS = 5.0
SETTLE_SECONDS, SETTLE_LOOK_SECONDS = 5.0, 0.25
"""A gateway hears a moment later that a client has left, and what bought work still runs is none of it."""


class LoadFault(Exception):
    """The load could not be offered."""


def offer(target: Target, workers: Sequence[Upstream], plan: Plan) -> tuple[Tail, Sampler]:
    """Send the plan and watch these workers. Raises LoadFault where Locust ends before its time."""
    with tempfile.TemporaryDirectory(prefix="load-") as name:
        folder = Path(name)
        save(plan, folder / "plan.json")
        if target.simulator:
            target.simulator.reset()
        with locust(target, folder) as process:
            pids = {**target.pids, "locust": process.pid, "this observer": os.getpid()}
            tail = Tail(folder / "results")
            with contextlib.closing(Sampler(target.url, workers, pids)) as sampler:
                watch(process, tail, sampler, plan)
                settle(sampler, tail)
        if process.returncode != 0 or tail.origin is None:
            said = (folder / "locust.log").read_text().strip().splitlines()[-1:]
            raise LoadFault(" ".join([f"locust ended with code {process.returncode}:", *said]))
    return tail, sampler


@contextlib.contextmanager
def locust(target: Target, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Locust, headless, as a child that ends with this block."""
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    command += ["--host", target.url, "--users", str(USERS), "--spawn-rate", str(USERS)]
    command += ["--exit-code-on-error", "0", "--loglevel", "WARNING"]
    given = {"LOAD_PLAN": str(folder / "plan.json"), "LOAD_RESULTS": str(folder / "results"), "GATEWAY_KEY": target.key}
    with (folder / "locust.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **given},
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
    progress = Progress(plan)
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
        if seen.at > plan.seconds + plan.drain + SLACK_SECONDS:
            raise LoadFault("locust did not end in time")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0 - seen.at % 1.0)


def settle(sampler: Sampler, tail: Tail) -> None:
    """Look on for up to SETTLE_SECONDS until no lease is held: what is left then was left behind."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while tail.origin is not None and sampler.samples[-1].leases and time.monotonic() < deadline:
        time.sleep(SETTLE_LOOK_SECONDS)
        sampler.look(tail.origin)
