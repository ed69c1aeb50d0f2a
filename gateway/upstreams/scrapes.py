"""Asks the nodes of workers how busy their GPUs are: the probe function that `app` hands to `fleet/probes.py`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from gateway.errors import UpstreamFault
from gateway.model import Policy, Tls, Upstream
from gateway.upstreams.client import Client
from gateway.upstreams.dialects import dcgm

GPU_PAGE_SECONDS = 0.45
"""A node's page serves all its workers: it is read once per round of probes, not once per worker."""


@dataclass(slots=True)
class GpuPage:
    at: float = float("-inf")
    use: dcgm.GpuUse = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Scrapes:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._pages: dict[str, GpuPage] = {}

    def keep(self, policy: Policy) -> None:
        """Forgets the GPU pages that `policy`, now in force, does not name."""
        named = {upstream.dcgm for upstream in policy.upstreams.values()}
        self._pages = {url: page for url, page in self._pages.items() if url in named}

    async def gpus(self, upstream: Upstream) -> tuple[float | None, float] | None:
        """(utilisation 0..1 or None, age in seconds) of the worker's GPUs; None where it names no GPU page."""
        if upstream.dcgm is None:
            return None
        page = self._pages.setdefault(upstream.dcgm, GpuPage())
        async with page.lock:
            if time.monotonic() - page.at > GPU_PAGE_SECONDS:
                await self._read(upstream.dcgm, upstream.tls, page)
        return dcgm.utilisation(page.use, upstream.hostname, upstream.gpus), time.monotonic() - page.at

    async def _read(self, url: str, tls: Tls | None, page: GpuPage) -> None:
        """A page that fails leaves the last one standing, with its age."""
        try:
            page.use = dcgm.parse_gpus(await self._client.page(url, tls=tls))
        except UpstreamFault:
            if page.at == float("-inf"):
                raise
            return
        page.at = time.monotonic()
