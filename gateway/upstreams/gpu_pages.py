"""GPU pages of nodes: the probe function that `app` hands to `fleet/gpu_watch.py`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from gateway.errors import UpstreamFault
from gateway.model import GpuLook, Policy, SeenGpu, Tls, Upstream, gpus_of
from gateway.upstreams.client import Client
from gateway.upstreams.dialects import dcgm

PAGE_SECONDS = 0.45
"""A node's page serves all its workers: it is read once per round of probes, not once per worker."""


SLOWEST_LOOK_SECONDS = 5.0
"""A slow worker is looked at no more often, and the page may have changed twice in between."""


@dataclass(slots=True)
class _Page:
    tried: float = float("-inf")
    """When it was last asked for and had answered, or failed: whoever waited meanwhile does not ask again."""
    at: float = float("-inf")
    gpus: tuple[SeenGpu, ...] = ()
    known: float = float("-inf")
    """The last look at which it did not yet say what it said until the last change: that was collected later."""
    since: float = float("-inf")
    """The same of what it says now."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class GpuPages:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._pages: dict[str, _Page] = {}

    def keep(self, policy: Policy) -> None:
        """Forgets the pages that `policy`, now in force, does not name."""
        named = {upstream.dcgm for upstream in policy.upstreams.values()}
        self._pages = {url: page for url, page in self._pages.items() if url in named}

    async def look(self, upstream: Upstream) -> GpuLook | None:
        """The worker's GPUs, as their node's page told last; None where it names no page, the page was never read, or
        has none of them. Lasts as long as the page does, if that must be read."""
        if upstream.dcgm is None:
            return None
        page = self._pages.setdefault(upstream.dcgm, _Page())
        async with page.lock:
            if time.monotonic() - page.tried > PAGE_SECONDS:
                await self._read(upstream.dcgm, upstream.tls, page)
        gpus = gpus_of(upstream, page.gpus)
        return GpuLook(gpus, time.monotonic() - page.at, _lag(page)) if gpus else None

    async def _read(self, url: str, tls: Tls | None, page: _Page) -> None:
        """A page that fails leaves the last one standing, with its age."""
        try:
            page_text = (await self._client.page(url, tls=tls)).decode("utf-8", "replace")
            gpus = dcgm.parse_gpus(page_text)
        except UpstreamFault:
            return
        finally:
            page.tried = time.monotonic()
        if gpus != page.gpus:
            page.gpus, page.known, page.since = gpus, page.since, page.at
        page.at = page.tried


def _lag(page: _Page) -> float:
    """What happened shows at the exporter's next collection, and that one came after the one before: an exporter that
    collects every second is that far behind, whatever its default is. Power and heat change at each."""
    return min(dcgm.LAG_SECONDS, page.at - page.known) + SLOWEST_LOOK_SECONDS
