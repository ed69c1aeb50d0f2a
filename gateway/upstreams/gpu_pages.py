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


@dataclass(slots=True)
class _Page:
    at: float = float("-inf")
    gpus: tuple[SeenGpu, ...] = ()
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
        """The worker's GPUs, as their node's page told last; None where it names no page or the page has none of them.
        Raises UpstreamFault where the page was never read."""
        if upstream.dcgm is None:
            return None
        page = self._pages.setdefault(upstream.dcgm, _Page())
        async with page.lock:
            if time.monotonic() - page.at > PAGE_SECONDS:
                await self._read(upstream.dcgm, upstream.tls, page)
        gpus = gpus_of(upstream, page.gpus)
        return GpuLook(gpus, time.monotonic() - page.at, dcgm.LAG_SECONDS) if gpus else None

    async def _read(self, url: str, tls: Tls | None, page: _Page) -> None:
        """A page that fails leaves the last one standing, with its age."""
        try:
            page.gpus = dcgm.parse_gpus(await self._client.page(url, tls=tls))
        except UpstreamFault:
            if page.at == float("-inf"):
                raise
            return
        page.at = time.monotonic()
