"""vLLM-Omni (images, video, audio): gauges of its own prefix. Its queue per stage is inside `num_requests_waiting`."""

from __future__ import annotations

from gateway.model import Scrape
from gateway.upstreams.dialects.engines.common import HEALTH, MODELS, VERSION
from gateway.upstreams.dialects.engines.engine import Engine, Page, starts
from gateway.upstreams.exposition import Gauges


def read(page: bytes) -> Scrape:
    gauges = Gauges(page)
    return Scrape(
        running=gauges.count("vllm_omni:num_requests_running"),
        waiting=gauges.count("vllm_omni:num_requests_waiting"),
        started=gauges.started(),
        missing=tuple(gauges.missing),
    )


ENGINE = Engine("vllm-omni", pages=(Page("/metrics", starts("vllm_omni:"), read),), details=(MODELS, HEALTH, VERSION))
