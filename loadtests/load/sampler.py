"""One look a second at the gateway's /metrics and at the CPU time of every process of the run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import httpx
import msgspec

from gateway.model import Upstream
from loadtests.fleet_page import FleetPage, read

PAGE_SECONDS = 2.0
PROC = Path("/proc")


class Sample(msgspec.Struct, frozen=True):
    """The fleet at one instant, `at` seconds since the start. None is unknown. Shares are 0..1, means over workers."""

    at: float
    queue: float | None = None
    """Requests waiting in the workers' own queues, all together."""
    running: float | None = None
    leases: float | None = None
    seats: float | None = None
    """Leases as a share of the workers' seats."""
    work: float | None = None
    """Leased work as a share of its limit."""
    kv: float | None = None
    gpu: float | None = None
    spent: float | None = None
    """USD paid for bought answers since the gateway started."""
    cpu: Mapping[str, float] = {}
    """CPU seconds so far, by process."""


class Sampler:
    """`workers`: local ones that serve this load; `pids`: processes by name, whose children (the store is the
    gateway's) are counted under a name of their own."""

    def __init__(self, url: str, workers: Sequence[Upstream], pids: Mapping[str, int]) -> None:
        self.samples: list[Sample] = []
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=PAGE_SECONDS)
        self._workers, self._pids = workers, family(pids)

    def close(self) -> None:
        self._client.close()

    def look(self, origin: float) -> Sample:
        """A page that does not come leaves a sample without readings."""
        at = time.monotonic() - origin
        cpu = {name: used for name, pid in self._pids.items() if (used := cpu_seconds(pid)) is not None}
        try:
            sample = summary(read(self._client), at, self._workers, cpu)
        except (httpx.HTTPError, ValueError):
            sample = Sample(at, cpu=cpu)
        self.samples.append(sample)
        return sample


def summary(page: FleetPage, at: float, workers: Sequence[Upstream], cpu: Mapping[str, float]) -> Sample:
    """One page as one row: of these workers, and of the money."""
    rows = [page.upstreams[key] for w in workers if (key := (w.backend, w.name)) in page.upstreams]
    leases, seats = _sum([row.get("leases") for row in rows]), sum(worker.seats for worker in workers)
    return Sample(
        at=at,
        queue=_sum([row.get("queue_depth") for row in rows]),
        running=_sum([row.get("running") for row in rows]),
        leases=leases,
        seats=None if leases is None or not seats else leases / seats,
        work=_mean([row.get("leased_share") for row in rows]),
        kv=_mean([row.get("kv_utilisation") for row in rows]),
        gpu=_mean([row.get("gpu_utilisation") for row in rows]),
        spent=sum((usd for (_, basis), usd in page.cost.items() if basis == "list"), 0.0),
        cpu=cpu,
    )


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def family(pids: Mapping[str, int]) -> dict[str, int]:
    """The processes and their children, each child under its own command's name."""
    found = dict(pids)
    for parent, pid in pids.items():
        for child in set(_children(pid)) - set(pids.values()):
            name = _read(PROC / str(child) / "comm").strip() or "child"
            found[name if name not in found else f"{name} of {parent}"] = child
    return found


def _children(pid: int) -> list[int]:
    return [int(child) for child in _read(PROC / str(pid) / "task" / str(pid) / "children").split()]


def cpu_seconds(pid: int) -> float | None:
    """User and system time of a process so far; None where it is gone or the system has no /proc."""
    fields = _read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    if len(fields) < 13:
        return None
    user, system = int(fields[11]), int(fields[12])  # fields 14 and 15 of proc_pid_stat(5)
    return (user + system) / os.sysconf("SC_CLK_TCK")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
