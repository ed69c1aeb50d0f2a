"""vLLM's /metrics page, spelled as vLLM 0.32 prints it. Bucket lines are rendered once; a scrape appends values."""

from __future__ import annotations

from collections.abc import Iterable

from .config import WorkerConfig
from .engine import Engine
from .metrics import HISTOGRAMS, Histogram, Load, Stats
from .padding import padding
from .sheet import braces as _braces

Labels = dict[str, str]
_BY_REASON = (
    "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' = "
    "deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals "
    "vllm:num_requests_waiting."
)


_SLEEP = (
    "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; "
    "weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2."
)


class Page:
    """Renders one worker's page. `started` is the process's start, Unix seconds."""

    def __init__(self, config: WorkerConfig, started: float) -> None:
        self._labels: Labels = {"engine": "0", "model_name": config.model}
        self._started = started
        self._max_lora = config.max_lora
        before, after = padding(config.page_kb)
        self._before = before
        self._tail = _cache_config(config) + after
        self._buckets = {name: self._bucket_prefixes(name, bounds) for name, _, bounds in HISTOGRAMS}

    def render(
        self,
        load: Load,
        engine: Engine,
        stats: Stats,
        cpu_s: float,
        adapters: tuple[str, ...] = (),
        asleep: bool = False,
    ) -> bytes:
        lines = [
            *self._before,
            *_family("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", "gauge"),
            f"process_start_time_seconds {self._started!r}",
            *_family("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "counter"),
            f"process_cpu_seconds_total {cpu_s!r}",
            *self._gauges(load),
            *self._sleep(asleep),
            *self._lora(adapters),
            *self._counters(engine, stats),
        ]
        for name, text, _ in HISTOGRAMS:
            lines += self._histogram(name, text, stats.histograms[name])
        return ("\n".join(lines) + self._tail).encode()

    def _sleep(self, asleep: bool) -> list[str]:
        states = {"awake": not asleep, "weights_offloaded": asleep, "discard_all": False}
        return [
            *_family("vllm:engine_sleep_state", _SLEEP, "gauge"),
            *(self._line("engine_sleep_state", value, sleep_state=state) for state, value in states.items()),
        ]

    def _lora(self, adapters: tuple[str, ...]) -> list[str]:
        """Only once an adapter is loaded; no model name, and the time as value."""
        if not adapters:
            return []
        named = {"running_lora_adapters": ",".join(adapters), "waiting_lora_adapters": ""}
        labels = _braces({"max_lora": str(self._max_lora), **named})
        head = _family("vllm:lora_requests_info", "Running stats on lora requests.", "gauge")
        return [*head, f"vllm:lora_requests_info{labels} {self._started!r}"]

    def _gauges(self, load: Load) -> list[str]:
        reasons = {"capacity": load.waiting, "deferred": 0}
        return [
            *self._one("num_requests_running", "Number of requests in model execution batches.", load.running),
            *self._one("num_requests_waiting", "Number of requests waiting to be processed.", load.waiting),
            *_family("vllm:num_requests_waiting_by_reason", _BY_REASON, "gauge"),
            *(self._line("num_requests_waiting_by_reason", value, reason=name) for name, value in reasons.items()),
            *self._one("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", load.kv),
        ]

    def _counters(self, engine: Engine, stats: Stats) -> list[str]:
        return [
            *self._count("prefix_cache_queries", "Prefix cache queries, in terms of number of queried tokens.", 0),
            *self._count("prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.", 0),
            *self._count("num_preemptions", "Cumulative number of preemption from the engine.", engine.preemptions),
            *self._count("prompt_tokens", "Number of prefill tokens processed.", stats.prompt_tokens),
            *self._count("generation_tokens", "Number of generation tokens processed.", stats.generation_tokens),
            *_family("vllm:request_success_total", "Count of successfully processed requests.", "counter"),
            *(self._line("request_success_total", n, finished_reason=why) for why, n in stats.success.items()),
        ]

    def _one(self, name: str, text: str, value: float) -> Iterable[str]:
        return (*_family(f"vllm:{name}", text, "gauge"), self._line(name, value))

    def _count(self, name: str, text: str, value: int) -> Iterable[str]:
        created = f"{name}_created"
        return (
            *_family(f"vllm:{name}_total", text, "counter"),
            self._line(f"{name}_total", value),
            *_family(f"vllm:{created}", text, "gauge"),
            self._line(created, self._started),
        )

    def _histogram(self, name: str, text: str, histogram: Histogram) -> Iterable[str]:
        lines, total = list(_family(f"vllm:{name}", text, "histogram")), 0
        for prefix, count in zip(self._buckets[name], histogram.counts, strict=True):
            total += count
            lines.append(f"{prefix}{total}.0")
        lines += (self._line(f"{name}_count", total), self._line(f"{name}_sum", histogram.sum))
        lines += (*_family(f"vllm:{name}_created", text, "gauge"), self._line(f"{name}_created", self._started))
        return lines

    def _bucket_prefixes(self, name: str, bounds: tuple[float, ...]) -> list[str]:
        edges = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        return [f"vllm:{name}_bucket{_braces({**self._labels, 'le': edge})} " for edge in edges]

    def _line(self, name: str, value: float, **more: str) -> str:
        return f"vllm:{name}{_braces({**self._labels, **more})} {float(value)!r}"


def _cache_config(config: WorkerConfig) -> str:
    labels = {
        "block_size": str(config.block_tokens),
        "cache_dtype": "auto",
        "enable_prefix_caching": "False",
        "engine": "0",
        "gpu_memory_utilization": "0.92",
        "kv_cache_size_tokens": str(config.kv_tokens),
        "num_gpu_blocks": str(config.num_gpu_blocks),
    }
    head = _family("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", "gauge")
    return "\n" + "\n".join((*head, f"vllm:cache_config_info{_braces(labels)} 1.0")) + "\n"


def _family(name: str, text: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
