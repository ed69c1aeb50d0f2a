"""NVIDIA NIM: `/v1/metrics`. 1.x publishes names without a prefix; 2.x wraps vLLM and passes its names on."""

from __future__ import annotations

from gateway.model import Scrape
from gateway.upstreams.dialects.engines import vllm
from gateway.upstreams.dialects.engines.common import MODELS, read_health, read_version, seats
from gateway.upstreams.dialects.engines.engine import Detail, Engine, Page, starts
from gateway.upstreams.exposition import Gauges

_OLD = starts("num_requests_running", "num_requests_waiting", "gpu_cache_usage_perc")
_NEW = starts("vllm:")


def read(page: bytes) -> Scrape:
    gauges = Gauges(page)
    return Scrape(
        running=gauges.count("num_requests_running"),
        waiting=gauges.count("num_requests_waiting"),
        kv=gauges.share("gpu_cache_usage_perc"),
        seats=seats(gauges.amount("num_request_max")).get("seats"),
        started=gauges.started(),
        missing=tuple(gauges.missing),
    )


ENGINE = Engine(
    "nim",
    pages=(Page("/v1/metrics", _OLD, read), Page("/v1/metrics", _NEW, vllm.read)),
    details=(
        MODELS,
        Detail("/v1/health/ready", read_health),
        Detail("/v1/version", read_version, once=True),
    ),
)
