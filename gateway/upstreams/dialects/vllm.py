"""How a vLLM worker speaks of its load: `/metrics`, V1 names first, then the older ones."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import Scrape
from gateway.upstreams.exposition import samples

METRICS_PATH = "/metrics"
_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_NAMES = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_CACHE = "vllm:cache_config_info"
_STARTED = "process_start_time_seconds"
_NAMES = frozenset({_RUNNING, _WAITING, *_KV_NAMES, _CACHE, _STARTED})


def parse_metrics(page: str) -> Scrape:
    """The readings of one page. Requests are summed over the engines of a data-parallel server,
    KV use (0..1) is the fullest."""
    running: float | None = None
    waiting: float | None = None
    started: float | None = None
    kv: dict[str, float] = {}
    kv_tokens: int | None = None
    for sample in samples(page, _NAMES):
        if sample.name == _RUNNING:
            running = (running or 0.0) + sample.value
        elif sample.name == _WAITING:
            waiting = (waiting or 0.0) + sample.value
        elif sample.name == _STARTED:
            started = sample.value
        elif sample.name == _CACHE:
            if (tokens := _cache_tokens(sample.labels)) is not None:
                kv_tokens = (kv_tokens or 0) + tokens
        else:
            kv[sample.name] = max(kv.get(sample.name, 0.0), sample.value)
    return Scrape(
        running=None if running is None else int(running),
        waiting=None if waiting is None else int(waiting),
        kv=next((kv[name] for name in _KV_NAMES if name in kv), None),
        kv_tokens=kv_tokens,
        started=started,
    )


def _cache_tokens(labels: Mapping[str, str]) -> int | None:
    """Room of one engine's KV cache: told since V1's `kv_cache_size_tokens`, before that as blocks of tokens."""
    told, blocks, size = (labels.get(name, "") for name in ("kv_cache_size_tokens", "num_gpu_blocks", "block_size"))
    if told.isdigit():
        return int(told)
    return int(blocks) * int(size) if blocks.isdigit() and size.isdigit() else None
