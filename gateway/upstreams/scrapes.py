"""Asks workers how busy they are: the probe function that `app` hands to `fleet/probes.py`."""

from __future__ import annotations

from gateway.errors import BadAnswer
from gateway.model import Scrape, Upstream
from gateway.upstreams.client import Client
from gateway.upstreams.dialects import vllm


class Scrapes:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def worker(self, upstream: Upstream) -> Scrape:
        """The worker's own metrics page. Raises UpstreamFault."""
        scrape = vllm.parse_metrics(
            await self._client.page(upstream.url.rstrip("/") + vllm.METRICS_PATH, upstream.networks, upstream.tls)
        )
        if scrape.running is None and scrape.waiting is None:
            raise BadAnswer("the metrics page holds none of this engine's gauges")
        return scrape
