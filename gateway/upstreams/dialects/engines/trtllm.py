"""TensorRT-LLM (`trtllm-serve`). Prometheus gauges are at `/prometheus/metrics`, and only with `return_perf_metrics`.

`/metrics` is JSON instead: one record for each iteration since the last read, which takes them away. So the gateway
must be its only reader; an empty list then means that nothing ran.

Its list of models is not read: it serves whatever name it is asked for.
"""

from __future__ import annotations

import msgspec

from gateway.model import Scrape
from gateway.upstreams.dialects.engines.common import HEALTH, VERSION, decoded, room, seats
from gateway.upstreams.dialects.engines.engine import Engine, Page, starts
from gateway.upstreams.exposition import Gauges

_RUNNING, _WAITING, _KV = "trtllm_num_requests_running", "trtllm_num_requests_waiting", "trtllm_kv_cache_utilization"
_MOST = 1_000_000


class _Cache(msgspec.Struct, rename="camel"):
    max_num_blocks: int = 0
    used_num_blocks: int = 0
    tokens_per_block: int = 0


class _Iteration(msgspec.Struct, rename="camel"):
    num_active_requests: int | None = None
    num_queued_requests: int | None = None
    max_num_active_requests: int | None = None
    kv_cache_stats: _Cache | None = None


def read(page: bytes) -> Scrape:
    gauges = Gauges(page)
    blocks, size = gauges.amount("trtllm_kv_cache_max_blocks"), gauges.amount("trtllm_kv_cache_tokens_per_block")
    return Scrape(
        running=gauges.count(_RUNNING),
        waiting=gauges.count(_WAITING),
        kv=gauges.share(_KV),
        kv_tokens=room(blocks, size),
        seats=seats(gauges.amount("trtllm_max_num_active_requests")).get("seats"),
        started=gauges.started(),
        missing=tuple(gauges.missing),
    )


def read_iterations(body: bytes) -> Scrape:
    page = decoded(body, list[_Iteration])
    if page is None:
        return Scrape(missing=(_RUNNING, _WAITING, _KV))
    if not page:
        return Scrape(running=0, waiting=0)
    newest, cache = page[-1], page[-1].kv_cache_stats
    running, waiting = _sane(newest.num_active_requests), _sane(newest.num_queued_requests)
    told = {"numActiveRequests": running, "numQueuedRequests": waiting}
    return Scrape(
        running=running,
        waiting=waiting,
        kv=_use(cache),
        kv_tokens=room(cache.max_num_blocks, cache.tokens_per_block) if cache is not None else None,
        seats=seats(newest.max_num_active_requests).get("seats"),
        missing=tuple(name for name, value in told.items() if value is None),
    )


def _sane(count: int | None) -> int | None:
    return count if count is not None and 0 <= count <= _MOST else None


def _use(cache: _Cache | None) -> float | None:
    if cache is None or not 0 <= cache.used_num_blocks <= cache.max_num_blocks < 1 << 40 or not cache.max_num_blocks:
        return None
    return cache.used_num_blocks / cache.max_num_blocks


def _records(page: bytes) -> bool:
    return page.strip() == b"[]" or (page.lstrip()[:1] == b"[" and b'"numActiveRequests"' in page)


ENGINE = Engine(
    "trtllm",
    pages=(
        Page("/prometheus/metrics", starts("trtllm_num_requests_"), read),
        Page("/metrics", starts("trtllm_num_requests_"), read),
        Page("/metrics", _records, read_iterations),
    ),
    details=(HEALTH, VERSION),
)
