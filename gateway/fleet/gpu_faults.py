"""When a fault of its GPUs takes a worker out, and when it is over. Pure: `judge` folds one look into what was known.

A fault is *standing* (the GPU says now that it is broken) or it *happened* (an XID, an uncorrectable memory error).
That something happened is only ever told by a change: DCGM's gauge keeps the last XID for ever, from before the worker
began too, and NVML's counts run since the driver was loaded. So the first look at a GPU makes nothing happen, but where
its teller counts in a window that lies wholly within the life of the worker.

What happened before a worker began is none of its business. A page may be `lag` seconds late, so what is seen to have
happened within `lag` of its beginning is taken to be what it was restarted for; if it was not, the breakers see it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from gateway.fleet.xids import FAULTS
from gateway.model import GpuLook, GpuSample, Scrape

STALE_SECONDS = 10.0
"""A look this old says nothing any more, for nor against."""
MOVED_SECONDS = 1.0
"""As in reading.lua: a start time that moved further is another start."""
MOST_GPUS = 64
"""Of one worker, those remembered that came and went."""
_ECC = "uncorrectable memory error"
UNREACHABLE = "unreachable"
"""`Scrape.reason` of a worker whose port nobody listens on."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one GPU last told of its errors, as in GpuSample."""

    xid: int | None = None
    xids: tuple[tuple[int, int], ...] | None = None
    ecc: int | None = None


@dataclass(frozen=True, slots=True)
class GpuFault:
    """`at` is when it was seen, `began` when the worker it befell had begun; seconds of the store's clock and of the
    worker's own."""

    what: str
    gpu: str
    at: float
    began: float | None = None

    def __str__(self) -> str:
        return f"{self.what} on {self.gpu}"


@dataclass(frozen=True, slots=True)
class GpuHealth:
    """What is remembered of the GPUs of one worker."""

    gpus: dict[str, Told] = field(default_factory=dict)
    started: float | None = None
    """What the worker last told of its own start."""
    down: float | None = None
    """When nobody listened on its port last; kept of those that do not tell their start."""
    fault: GpuFault | None = None

    @property
    def began(self) -> float | None:
        return self.started if self.started is not None else self.down


def judge(
    before: GpuHealth, scrape: Scrape, look: GpuLook | None, now: float, *, count: int = 1, cleared: float = 0.0
) -> GpuHealth:
    """What is known after a scrape and a look at the worker's GPUs at `now`. `count` is how many it should have,
    `cleared` when an operator last cleared its fault."""
    health = _with_start(_past(before, now), scrape, now)
    if look is None or look.age > STALE_SECONDS:
        return health
    told = {gpu.name: Told(gpu.xid, gpu.xids, gpu.ecc) for gpu in look.gpus}
    kept = {name: known for name, known in before.gpus.items() if name not in told}
    health = replace(health, gpus=dict([*kept.items(), *told.items()][-MOST_GPUS:]))
    standing = next((gpu for gpu in look.gpus if gpu.fault is not None), None)
    happened = _happened(before, health, look, now)
    if happened is not None:
        return replace(health, fault=happened)
    if standing is not None:
        fault = health.fault or GpuFault(str(standing.fault), standing.name, now, health.began)
        return replace(health, fault=fault)
    if health.fault is not None and _over(health, look, count, cleared):
        return replace(health, fault=None)
    return health


def _past(health: GpuHealth, now: float) -> GpuHealth:
    """What is remembered from the future, because the clock was set back since, was until now: nothing that happens or
    is said from now on would be later than it."""
    if health.fault is not None and health.fault.at > now + MOVED_SECONDS:
        health = replace(health, fault=replace(health.fault, at=now))
    if health.down is not None and health.down > now + MOVED_SECONDS:
        health = replace(health, down=now)
    return health


def _with_start(before: GpuHealth, scrape: Scrape, now: float) -> GpuHealth:
    if scrape.started is not None:
        return replace(before, started=scrape.started)
    if before.started is None and scrape.reason == UNREACHABLE:
        return replace(before, down=now)
    return before


def _happened(before: GpuHealth, health: GpuHealth, look: GpuLook, now: float) -> GpuFault | None:
    """The first fault that befell one of the GPUs since they last told, in this life of the worker."""
    for gpu in look.gpus:
        for what, span in _events(before.gpus.get(gpu.name), gpu):
            earliest = now - look.age - look.lag - span
            if health.began is None or health.began <= earliest:
                return GpuFault(what, gpu.name, now, health.began)
    return None


def _events(before: Told | None, gpu: GpuSample) -> Iterator[tuple[str, float]]:
    """(what happened, by how many seconds it may be older than the last look)."""
    if gpu.xids is not None:
        yield from _counted(before, gpu, gpu.xids)
    elif before is not None and before.xid is not None and gpu.xid != before.xid and gpu.xid in FAULTS:
        yield f"xid {gpu.xid}", 0.0
    if before is not None and before.ecc is not None and gpu.ecc is not None and gpu.ecc > before.ecc:
        yield _ECC, 0.0


def _counted(before: Told | None, gpu: GpuSample, xids: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, float]]:
    """A count that rose. A count that falls is a window that moved on, or a teller that began anew."""
    if before is not None and before.xids is not None:
        counts, span = dict(before.xids), 0.0
    elif gpu.window is not None:
        counts, span = {}, gpu.window
    else:
        return
    for xid, count in xids:
        if xid in FAULTS and count > counts.get(xid, 0):
            yield f"xid {xid}", span


def _over(health: GpuHealth, look: GpuLook, count: int, cleared: float) -> bool:
    """The GPU is there again, or as many as there should be; and the worker has begun anew, or an operator said so."""
    fault = health.fault
    assert fault is not None  # noqa: S101 - the caller has looked
    there = len(look.gpus) >= count or any(gpu.name == fault.gpu for gpu in look.gpus)
    return there and (cleared > fault.at or _restarted(fault, health.began))


def _restarted(fault: GpuFault, began: float | None) -> bool:
    if began is None:
        return False
    return began > fault.at if fault.began is None else abs(began - fault.began) > MOVED_SECONDS
