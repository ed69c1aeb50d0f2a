"""Looks at every worker twice a second, each worker by one replica, and writes what it says into the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from gateway.errors import StoreFault, UpstreamFault, UpstreamTimeout
from gateway.fleet import readings
from gateway.fleet.gpu_faults import UNREACHABLE
from gateway.model import GpuLook, Policy, Scrape, Upstream
from gateway.store.connection import Store

INTERVAL_SECONDS = 0.5
SLOWEST_SECONDS = 5.0
SLOW_PAGE_SECONDS = 0.25
"""A page that takes longer is asked for less often: scraping hard can stall an engine."""
LATE_TO_FAIL = 7
"""Late pages in a row that make a worker unhealthy. They are asked for less and less often, so this is some 20 s: a
vLLM that serves has been seen to answer its page after 18 s. Until then its last reading grows old, and is told so."""
MISSES_TO_FAIL = 3
"""Wrong pages in a row that do; a refused connection does so at once."""

WorkerProbe = Callable[[Upstream], Awaitable[Scrape]]
GpuProbe = Callable[[Upstream], Awaitable[GpuLook | None]]
"""Gives the worker's GPUs, or None where nobody tells of them."""
GpuJudge = Callable[[Upstream, Scrape, GpuLook | None], Awaitable[Scrape]]
"""The scrape with its GPUs and what their state means for the worker. Raises StoreFault."""


@dataclass(slots=True)
class Patience:
    """How often one worker is asked, and how many times in a row it did not answer."""

    interval: float = INTERVAL_SECONDS
    due: float = 0.0
    misses: int = 0
    busy: bool = False

    def took(self, seconds: float, now: float) -> None:
        slow = seconds > SLOW_PAGE_SECONDS
        self.interval = min(self.interval * 2, SLOWEST_SECONDS) if slow else INTERVAL_SECONDS
        self.due = now + self.interval


class Probes:
    """Claims workers, scrapes those it holds, writes readings. `worker` and `gpu` do the asking."""

    def __init__(
        self,
        store: Store,
        owner: str,
        policy: Callable[[], Policy],
        worker: WorkerProbe,
        gpu: GpuProbe,
        judge: GpuJudge,
    ) -> None:
        self._store, self._owner, self._policy = store, owner, policy
        self._worker, self._gpu, self._judge = worker, gpu, judge
        self._patience: dict[str, Patience] = {}

    async def run(self) -> None:
        """Until cancelled. The store being away pauses the scraping: there is nowhere to write."""
        async with asyncio.TaskGroup() as group:
            while True:
                with suppress(StoreFault):
                    await self.tick(group, time.monotonic())
                await asyncio.sleep(INTERVAL_SECONDS / 2)

    async def tick(self, group: asyncio.TaskGroup, now: float) -> None:
        """Starts one scrape for each worker that is due and ours."""
        workers = {u.name: u for u in self._policy().upstreams.values() if u.scraped}
        self._patience = {name: one for name, one in self._patience.items() if name in workers}
        if not workers:
            return
        for name in await readings.claim(self._store, self._owner, list(workers)):
            patience = self._patience.setdefault(name, Patience())
            if not patience.busy and now >= patience.due:
                patience.busy = True
                group.create_task(self._look(workers[name], patience))

    async def _look(self, upstream: Upstream, patience: Patience) -> None:
        started = time.monotonic()
        try:
            scrape, gpus = await asyncio.gather(self._scrape(upstream, patience), self._gpus(upstream))
            if scrape is not None:
                with suppress(StoreFault):
                    await readings.write(self._store, upstream.name, await self._judge(upstream, scrape, gpus))
        finally:
            patience.busy = False
            now = time.monotonic()
            patience.took(now - started, now)

    async def _scrape(self, upstream: Upstream, patience: Patience) -> Scrape | None:
        """The worker's own page; None where one late page proves nothing yet."""
        try:
            scrape = await self._worker(upstream)
        except UpstreamFault as fault:
            patience.misses += 1
            enough = LATE_TO_FAIL if isinstance(fault, UpstreamTimeout) else MISSES_TO_FAIL
            if fault.processed and patience.misses < enough:
                return None
            return Scrape(healthy=False, reason=UNREACHABLE if not fault.processed else "no_metrics")
        patience.misses = 0
        return scrape

    async def _gpus(self, upstream: Upstream) -> GpuLook | None:
        """A GPU page that fails leaves the GPUs unknown; the worker may still serve."""
        try:
            return await self._gpu(upstream)
        except UpstreamFault:
            return None
