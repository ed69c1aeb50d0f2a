"""Looks at every worker about twice a second, each worker by one replica, and writes what it says into the store. A
fleet so large that this would cost too much is looked at less often."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.errors import StoreFault, UpstreamFault, UpstreamTimeout
from gateway.fleet import readings
from gateway.model import GpuLook, Policy, Reading, Scrape, Upstream
from gateway.store.connection import Store

INTERVAL_SECONDS = 0.5
SLOWEST_SECONDS = 5.0
SLOW_PAGE_SECONDS = 0.25
"""A page that takes longer is asked for less often: scraping hard can stall an engine."""
LATE_TO_FAIL = 7
"""Late pages in a row that make a worker unhealthy. They are asked for less and less often, so this is some 20 s: a
vLLM that serves has been seen to answer its page after 18 s. Until then its last reading grows old, and is told so."""
MISSES_TO_FAIL = 3
"""Wrong pages in a row that do; a refused connection, and a worker that says it is not ready, do so at once."""
NOT_READY = "not_ready"
"""`Scrape.reason` of a worker that says so itself: it loads its model, warms up, or its engine has died."""
CORE_SHARE = 0.25
"""Of one core, what all looks of all replicas together may take."""
LOOK_SECONDS = 0.0003
"""CPU time of one look at a worker with a page of 60 KB, its share of the details and of the writing (`make
fleet-bench`)."""
TICK_SECONDS = 0.05
LEAST_AT_ONCE = 16
"""Looks begun in one tick; of a large fleet as many as spread it evenly over an interval, and HASTE times that."""
HASTE = 1.5
CLAIM_SECONDS = 0.5
GPU_WAIT_SECONDS = 0.1
"""How much longer than the worker's own page a look waits for that of its GPUs; then it goes by what they told last."""
GATHER_SECONDS = 0.02
"""Readings that come within it are written together."""

_log = logging.getLogger("gateway")

WorkerProbe = Callable[[Upstream], Awaitable[Scrape]]
GpuProbe = Callable[[Upstream], Awaitable[GpuLook | None]]
"""Gives the worker's GPUs, or None where nobody tells of them."""
GpuJudge = Callable[[Upstream, Scrape, GpuLook | None], Awaitable[Scrape]]
"""The scrape with its GPUs and what their state means for the worker. Raises StoreFault."""


def interval_of(workers: int) -> float:
    """Seconds between two looks at one worker of a fleet of so many: all replicas together stay within CORE_SHARE."""
    return min(max(INTERVAL_SECONDS, workers * LOOK_SECONDS / CORE_SHARE), SLOWEST_SECONDS)


@dataclass(slots=True)
class Patience:
    """How often one worker is asked, and how many times in a row it did not answer."""

    interval: float = INTERVAL_SECONDS
    due: float = 0.0
    misses: int = 0
    busy: bool = False
    unforeseen: set[str] = field(default_factory=set)
    """Failures that nobody foresaw, of which the log has one each."""

    def took(self, seconds: float, now: float, usual: float = INTERVAL_SECONDS) -> None:
        slow = seconds > SLOW_PAGE_SECONDS
        self.interval = min(max(self.interval * 2, usual), SLOWEST_SECONDS) if slow else usual
        self.due = now + self.interval


@dataclass(slots=True)
class Gpus:
    """What the GPUs of one worker told last, at `at`, and the question to them that is under way."""

    told: GpuLook | None = None
    at: float = 0.0
    asking: asyncio.Task[None] | None = None

    def look(self, now: float) -> GpuLook | None:
        return None if self.told is None else self.told._replace(age=self.told.age + now - self.at)


class Probes:
    """Claims workers, scrapes those it holds, writes readings. `worker` and `gpu` do the asking; `known` are the
    readings that this replica saw last."""

    def __init__(
        self,
        store: Store,
        owner: str,
        policy: Callable[[], Policy],
        worker: WorkerProbe,
        gpu: GpuProbe,
        judge: GpuJudge,
        known: Callable[[], Mapping[str, Reading]] = dict,
    ) -> None:
        self._store, self._owner, self._policy, self._known = store, owner, policy, known
        self._worker, self._gpu, self._judge = worker, gpu, judge
        self._patience: dict[str, Patience] = {}
        self._gpus: dict[str, Gpus] = {}
        self._workers: dict[str, Upstream] = {}
        self._seen: Policy | None = None
        self._mine: frozenset[str] = frozenset()
        self._claim_due = 0.0
        self._interval = INTERVAL_SECONDS
        self._unwritten: dict[str, Scrape] = {}

    async def run(self) -> None:
        """Until cancelled. The store being away pauses the scraping: there is nowhere to write."""
        async with asyncio.TaskGroup() as group:
            while True:
                with suppress(StoreFault):
                    await self.tick(group, time.monotonic())
                await asyncio.sleep(TICK_SECONDS)

    async def tick(self, group: asyncio.TaskGroup, now: float) -> None:
        """Starts one scrape for each worker that is due and ours; not for all of a large fleet at once."""
        await self._claim(now)
        spread = math.ceil(len(self._mine) * HASTE * TICK_SECONDS / self._interval)
        most = max(LEAST_AT_ONCE, spread)
        for name in self._mine:
            patience = self._patience[name]
            if not patience.busy and now >= patience.due:
                patience.busy = True
                group.create_task(self._look(group, self._workers[name], patience))
                most -= 1
                if not most:
                    return

    async def _claim(self, now: float) -> None:
        """Which workers there are, and which of them are ours for the next seconds."""
        policy = self._policy()
        if policy is not self._seen:
            self._workers = {u.name: u for u in policy.upstreams.values() if u.scraped}
            self._patience = {name: self._patience.get(name, Patience()) for name in self._workers}
            self._gpus = {name: self._gpus.get(name, Gpus()) for name in self._workers}
            self._interval = interval_of(len(self._workers))
            self._seen, self._claim_due, self._mine = policy, now, frozenset()
        if now < self._claim_due or not self._workers:
            return
        self._mine = await readings.claim(self._store, self._owner, list(self._workers))
        self._claim_due = now + CLAIM_SECONDS

    async def _look(self, group: asyncio.TaskGroup, upstream: Upstream, patience: Patience) -> None:
        """Raises nothing: what one worker says, or its node, must not end the looks at all others."""
        gpus = self._gpus[upstream.name]
        if gpus.asking is None or gpus.asking.done():
            gpus.asking = group.create_task(self._ask(upstream, patience, gpus))
        try:
            scrape = await self._scrape(upstream, patience)
            if scrape is not None:
                await asyncio.wait((gpus.asking,), timeout=GPU_WAIT_SECONDS)
                with suppress(StoreFault):
                    look = gpus.look(time.monotonic())
                    self._keep(group, upstream.name, await self._judge(upstream, scrape, look))
        except Exception as fault:
            _note(upstream, patience, fault)
        finally:
            patience.busy = False

    def _keep(self, group: asyncio.TaskGroup, upstream: str, scrape: Scrape) -> None:
        if not self._unwritten:
            group.create_task(self._write())
        self._unwritten[upstream] = scrape

    async def _write(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        rows, self._unwritten = self._unwritten, {}
        try:
            await readings.write_all(self._store, rows, self._known())
        except StoreFault:
            return
        except Exception:
            _log.exception("readings not written", extra={"fields": {"upstreams": len(rows)}})

    async def _scrape(self, upstream: Upstream, patience: Patience) -> Scrape | None:
        """The worker's own page; None where one late page proves nothing yet."""
        started = time.monotonic()
        try:
            scrape = await self._worker(upstream)
        except UpstreamFault as fault:
            patience.misses += 1
            enough = LATE_TO_FAIL if isinstance(fault, UpstreamTimeout) else MISSES_TO_FAIL
            if fault.processed and fault.reason != NOT_READY and patience.misses < enough:
                return None
            return Scrape(healthy=False, reason=fault.reason)
        finally:
            now = time.monotonic()
            patience.took(now - started, now, self._interval)
        patience.misses = 0
        return scrape

    async def _ask(self, upstream: Upstream, patience: Patience, gpus: Gpus) -> None:
        """A GPU page that fails leaves the GPUs unknown; the worker may still serve."""
        told = None
        try:
            told = await self._gpu(upstream)
        except UpstreamFault:
            pass
        except Exception as fault:
            _note(upstream, patience, fault)
        gpus.told, gpus.at = told, time.monotonic()


def _note(upstream: Upstream, patience: Patience, fault: Exception) -> None:
    """One line for each kind of failure of a worker, within an `except`."""
    kind = type(fault).__name__
    if kind not in patience.unforeseen:
        patience.unforeseen.add(kind)
        _log.exception("look failed", extra={"fields": {"upstream": upstream.name}})
