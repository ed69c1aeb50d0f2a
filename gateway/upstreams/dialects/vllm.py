"""How a vLLM worker speaks of its load: `/metrics`, V1 names first, then the older ones."""

from __future__ import annotations

from gateway.model import Scrape
from gateway.upstreams.exposition import samples

METRICS_PATH = "/metrics"
_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_NAMES = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_STARTED = "process_start_time_seconds"
_NAMES = frozenset({_RUNNING, _WAITING, *_KV_NAMES, _STARTED})


def parse_metrics(page: str) -> Scrape:
    """The readings of one page. Requests are summed over the engines of a data-parallel server,
    KV use (0..1) is the fullest."""
    running: float | None = None
    waiting: float | None = None
    started: float | None = None
    kv: dict[str, float] = {}
    for sample in samples(page, _NAMES):
        if sample.name == _RUNNING:
            running = (running or 0.0) + sample.value
        elif sample.name == _WAITING:
            waiting = (waiting or 0.0) + sample.value
        elif sample.name == _STARTED:
            started = sample.value
        else:
            kv[sample.name] = max(kv.get(sample.name, 0.0), sample.value)
    return Scrape(
        running=None if running is None else int(running),
        waiting=None if waiting is None else int(waiting),
        kv=next((kv[name] for name in _KV_NAMES if name in kv), None),
        started=started,
    )
