"""`make fleet-bench`: the CPU time of watching 1,000 workers with pages of 60 KB, against the share of a core that it
may take. CPU time only: what else the machine does changes little of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from gateway.fleet.probes import interval_of
from gateway.store.embedded import Embedded
from gateway.upstreams.dialects.engines.vllm import read
from loadtests.bench.proc import stat
from loadtests.fleetbench.site import Replica, policy_of, replica
from loadtests.fleetbench.workers import page

MOST_CORES = 0.5
"""Issue 5: scraping and snapshots together, per replica set."""
PAGE_BYTES = 60_000
READS = 2_000
WARM_UP_SECONDS = 4.0
_DESCRIPTORS = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """Shares of one core, and how often each worker was read, in seconds."""

    scraping: float
    snapshots: float
    store: float
    age: float
    refresh_ms: float

    @property
    def total(self) -> float:
        return self.scraping + self.snapshots + self.store


def page_us(size: int) -> float:
    """CPU microseconds to read one page."""
    body, began = page(size), time.process_time()
    for _ in range(READS):
        read(body)
    return (time.process_time() - began) / READS * 1e6


async def spent(seconds: float, pid: int, run: asyncio.Task[None] | None) -> tuple[float, float]:
    """CPU shares of this process and of the store while `run` goes on."""
    began, ours, stores = time.monotonic(), time.process_time(), stat(pid).seconds
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    shares = (time.process_time() - ours) / took, (stat(pid).seconds - stores) / took
    if run is not None:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    return shares


async def measure(url: str, pid: int, site: Replica, seconds: float) -> Cost:
    """Scraping alone, then snapshots while others scrape: the view sees readings that change as they would."""
    probing = asyncio.create_task(site.probes.run())
    await asyncio.sleep(WARM_UP_SECONDS)
    scraping, store_writes = await spent(seconds, pid, None)
    viewing = asyncio.create_task(site.view.run())
    await asyncio.sleep(1.0)
    both, store_both = await spent(seconds, pid, viewing)
    await site.view.refresh()
    now, states = site.view.current.at, site.view.current.states.values()
    ages = sorted(now - one.reading.at for one in states if one.reading is not None and one.reading.running is not None)
    if len(ages) < len(states):
        raise SystemExit(f"only {len(ages)} of {len(states)} workers have been read")
    began = time.process_time()
    site.view.rebuild()
    rebuild = time.process_time() - began
    probing.cancel()
    await asyncio.gather(probing, return_exceptions=True)
    return Cost(scraping, both - scraping, max(store_writes, store_both), ages[-1], rebuild * 1e3)


async def run(workers: int, seconds: float, folder: Path, store: Embedded) -> Cost:
    command = [sys.executable, "-m", "loadtests.fleetbench.workers", str(workers), str(PAGE_BYTES)]
    far = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: ASYNC220 - ours
    assert far.stdout is not None
    assert far.stdin is not None
    try:
        ports = json.loads(await asyncio.to_thread(far.stdout.readline))
        async with replica(store.url, policy_of(folder / "policies", ports)) as site:
            return await measure(store.url, store.pid, site, seconds)
    finally:
        far.stdin.close()
        far.wait(5)


def told(workers: int, cost: Cost, us: float) -> str:
    rows = [
        ("one page", f"{us:.0f} us", f"{PAGE_BYTES // 1000} KB, found and read"),
        ("scraping", f"{cost.scraping:.3f} cores", f"each worker every {interval_of(workers):.2f} s"),
        ("snapshots", f"{cost.snapshots:.3f} cores", f"four a second; {cost.refresh_ms:.1f} ms to rebuild one"),
        ("store server", f"{cost.store:.3f} cores", "its own process"),
        ("oldest reading", f"{cost.age:.2f} s", "of all workers at the end"),
        ("together", f"{cost.total:.3f} cores", f"at most {MOST_CORES}"),
    ]
    return "\n".join(f"{name:16}{value:>14}   {more}" for name, value, more in rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.fleetbench", description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each of two measurements")
    given = parser.parse_args()
    logging.getLogger("gateway").setLevel(logging.ERROR)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, _DESCRIPTORS * given.workers)), hard))
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as name:
        store = Embedded.start(Path(name) / "store")
        try:
            cost = uvloop.run(run(given.workers, given.seconds, Path(name), store))
        finally:
            store.stop()
    print(f"{given.workers} workers, one replica\n{told(given.workers, cost, page_us(PAGE_BYTES))}")
    passed = cost.total <= MOST_CORES
    print("PASS" if passed else "FAIL")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
