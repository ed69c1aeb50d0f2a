"""The GPUs of the workers that this replica scrapes: where they are read from, which fault keeps a worker out, and what
is written down of them. Faults are remembered in the store, so that no restart of a gateway forgets one."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec

from gateway.errors import StoreFault
from gateway.fleet.agents import Agents
from gateway.fleet.gpu_faults import GpuFault, GpuHealth, judge
from gateway.fleet.gpu_history import GpuHistory
from gateway.model import GpuLook, Policy, Scrape, Upstream
from gateway.store.connection import Store

EXPIRES_SECONDS, RENEW_SECONDS = 7 * 86_400, 86_400.0
"""What is remembered of a worker that nobody watches any more goes after a week."""
OWN_SECONDS = 2.0
"""As long as a claim holds: what was looked at within it is known by nobody better."""
CLOCK_SECONDS = 2.0
"""How often the store is asked for its time."""

Pages = Callable[[Upstream], Awaitable[GpuLook | None]]
_decoder = msgspec.json.Decoder(GpuHealth)
_log = logging.getLogger("gateway")


@dataclass(slots=True)
class _Known:
    health: GpuHealth
    at: float
    written: float


class GpuWatch:
    """`pages` reads the exporter's page that a worker names; `count` hears of each fault: upstream and what it is."""

    def __init__(self, store: Store, pages: Pages, count: Callable[[str, str], None] = lambda *_: None) -> None:
        self._store, self._pages, self._count = store, pages, count
        self._known: dict[str, _Known] = {}
        self._clock_offset, self._clock_due = 0.0, float("-inf")
        self.agents, self.history = Agents(store), GpuHistory(store)

    def keep(self, policy: Policy) -> None:
        """Forgets the workers that `policy`, now in force, does not have."""
        self._known = {name: known for name, known in self._known.items() if name in policy.upstreams}
        self.history.keep(policy.upstreams.keys())
        self.agents.keep(policy)

    async def look(self, upstream: Upstream) -> GpuLook | None:
        """By the page that the worker names, else by what its host's agent told. Raises UpstreamFault."""
        if upstream.dcgm is not None:
            return await self._pages(upstream)
        try:
            return await self.agents.look(upstream)
        except StoreFault:
            return None

    async def judged(self, upstream: Upstream, scrape: Scrape, look: GpuLook | None) -> Scrape:
        """The scrape with the worker's GPUs and the fault that keeps it out. Raises StoreFault."""
        if not _watched(upstream):
            return scrape
        known = await self._recall(upstream.name)
        before = known.health
        now = await self._now()
        cleared = 0.0 if before.fault is None else await self._cleared(upstream.name)
        health = judge(before, scrape, look, now, count=upstream.hardware.count, cleared=cleared)
        if health != before or time.monotonic() - known.written > RENEW_SECONDS:
            body = msgspec.json.encode(health)
            await self._store.call("SET", health_key(upstream.name), body, "EX", EXPIRES_SECONDS)
            known.written = time.monotonic()
        known.health, known.at = health, time.monotonic()
        await self._tell(upstream.name, before.fault, health.fault)
        fault = None if health.fault is None else str(health.fault)
        if look is None:
            return replace(scrape, gpu_fault=fault)
        await self.history.note(upstream.name, look.gpus, now - look.age)
        return replace(scrape, gpu=look.use, gpu_age=look.age, gpus=look.gpus, gpu_fault=fault)

    async def clear(self, upstream: str) -> None:
        """An operator says that the worker's fault is mended. Raises StoreFault."""
        await self._store.call("SET", cleared_key(upstream), f"{await self._clock():.6f}", "EX", EXPIRES_SECONDS)

    async def _recall(self, upstream: str) -> _Known:
        known = self._known.get(upstream)
        if known is not None and time.monotonic() - known.at < OWN_SECONDS:
            return known
        raw = await self._store.call("GET", health_key(upstream))
        health = GpuHealth()
        if raw is not None:
            with suppress(msgspec.MsgspecError):  # what another version wrote is as good as nothing
                health = _decoder.decode(raw)
        known = self._known[upstream] = _Known(health, time.monotonic(), float("-inf"))
        return known

    async def _cleared(self, upstream: str) -> float:
        raw = await self._store.call("GET", cleared_key(upstream))
        return 0.0 if raw is None else float(raw)

    async def _now(self) -> float:
        """The store's clock, by this process's monotonic one: nobody sets that."""
        if time.monotonic() >= self._clock_due:
            self._clock_offset = await self._clock() - time.monotonic()
            self._clock_due = time.monotonic() + CLOCK_SECONDS
        return time.monotonic() + self._clock_offset

    async def _clock(self) -> float:
        seconds, micros = await self._store.call("TIME")
        return int(seconds) + int(micros) / 1e6

    async def _tell(self, upstream: str, before: GpuFault | None, after: GpuFault | None) -> None:
        if after is not None and after != before:
            self._count(upstream, after.what)
            _log.error("gpu fault", extra={"fields": {"upstream": upstream, "gpu": after.gpu, "what": after.what}})
        elif before is not None and after is None:
            await self._store.call("DEL", cleared_key(upstream))
            _log.info("gpu fault over", extra={"fields": {"upstream": upstream, "was": str(before)}})


def health_key(upstream: str) -> str:
    return f"gw:{{{upstream}}}:health"


def cleared_key(upstream: str) -> str:
    return f"gw:{{{upstream}}}:cleared"


def _watched(upstream: Upstream) -> bool:
    return upstream.dcgm is not None or upstream.hostname is not None or bool(upstream.gpu_uuids)
