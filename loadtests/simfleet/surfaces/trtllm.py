"""trtllm-serve: /metrics is JSON and drained by the read; Prometheus is on a page of its own; flat errors."""

from __future__ import annotations

from typing import ClassVar

from loadtests.simfleet.config import WorkerConfig
from loadtests.simfleet.refusal import Refusal
from loadtests.simfleet.sheet import Sheet

from .surface import TEXT_PLAIN, Reply, Seen, Show, Surface

VERSION = "1.2.0"
GIB = 1 << 30
HISTOGRAMS = {
    "time_to_first_token_seconds": "time_to_first_token_seconds",
    "time_per_output_token_seconds": "request_time_per_output_token_seconds",
    "e2e_request_latency_seconds": "e2e_request_latency_seconds",
    "request_queue_time_seconds": "request_queue_time_seconds",
    "request_prefill_time_seconds": "request_prefill_time_seconds",
    "request_decode_time_seconds": "request_decode_time_seconds",
    "request_inference_time_seconds": "request_inference_time_seconds",
}
OLDER = ("time_to_first_token_seconds", "time_per_output_token_seconds", "e2e_request_latency_seconds")
"""The histograms of 1.x; it had request_success and request_queue_time besides."""


class TrtLlm(Surface):
    """`older`: 1.x, whose Prometheus page has five series and no load."""

    owner = "tensorrt_llm"
    any_model = True
    metrics_pages: ClassVar[frozenset[str]] = frozenset({"/metrics", "/prometheus/metrics"})

    def __init__(self, config: WorkerConfig, started: float) -> None:
        super().__init__(config, started)
        self._drained = -1
        """Iterations that were there at the last read."""

    def more_pages(self) -> dict[str, Show]:
        return {
            "/prometheus/metrics": self.prometheus,
            "/health_generate": self.health,
            "/version": lambda seen: Reply({"version": VERSION}),
            "/server_info": lambda seen: Reply({"disaggregated_params": None}),
            "/perf_metrics": lambda seen: Reply([]),
        }

    def metrics(self, seen: Seen) -> Reply:
        """The newest iteration, once; an empty list until the engine has stepped again."""
        steps = sum(seen.stats.histograms["iteration_tokens_total"].counts)
        if steps == self._drained or (steps == 0 and not seen.load.running):
            return Reply([])
        self._drained = steps
        return Reply([self._record(seen, steps)])

    def _record(self, seen: Seen, steps: int) -> dict[str, object]:
        config, load = self.config, seen.load
        used = round(load.kv * config.num_gpu_blocks)
        return {
            "iter": steps,
            "iterLatencyMS": config.step_ms,
            "numActiveRequests": load.running,
            "numQueuedRequests": load.waiting,
            "numCompletedRequests": sum(seen.stats.success.values()),
            "maxNumActiveRequests": config.max_num_seqs,
            "maxBatchSizeStatic": config.max_num_seqs,
            "maxBatchSizeRuntime": config.max_num_seqs,
            "maxNumTokensRuntime": config.prefill_chunk,
            "gpuMemUsage": 70 * GIB,
            "cpuMemUsage": 2 * GIB,
            "pinnedMemUsage": GIB,
            "kvCacheStats": {
                "maxNumBlocks": config.num_gpu_blocks,
                "freeNumBlocks": config.num_gpu_blocks - used,
                "usedNumBlocks": used,
                "tokensPerBlock": config.block_tokens,
                "reusedBlocks": 0,
                "missedBlocks": used,
                "cacheHitRate": 0.0,
            },
            "inflightBatchingStats": {
                "numContextRequests": 0,
                "numGenRequests": load.running,
                "numPausedRequests": 0,
                "numScheduledRequests": load.running,
                "numCtxTokens": 0,
                "avgNumDecodedTokensPerIter": 1.0,
            },
        }

    def prometheus(self, seen: Seen) -> Reply:
        stats, config = seen.stats, self.config
        named = {"model_name": "undefined", "engine_type": "undefined"}
        sheet = Sheet("trtllm_", named if config.older else {"model_name": seen.model, "engine_type": "pytorch"})
        for reason in ("stop", "length"):
            sheet.counter("request_success_total", stats.success[reason], finished_reason=reason)
        for name, counted in HISTOGRAMS.items():
            if not config.older or name in OLDER or name == "request_queue_time_seconds":
                sheet.histogram(name, stats.histograms[counted])
        if config.older:
            return Reply(sheet.text(), content_type=TEXT_PLAIN)
        used = round(seen.load.kv * config.num_gpu_blocks)
        sheet.gauge("num_requests_running", seen.load.running)
        sheet.gauge("num_requests_waiting", seen.load.waiting)
        sheet.counter("num_requests_completed_total", sum(stats.success.values()))
        sheet.gauge("max_num_active_requests", config.max_num_seqs)
        sheet.gauge("kv_cache_utilization", seen.load.kv)
        sheet.gauge("kv_cache_hit_rate", 0)
        sheet.gauge("kv_cache_max_blocks", config.num_gpu_blocks)
        sheet.gauge("kv_cache_free_blocks", config.num_gpu_blocks - used)
        sheet.gauge("kv_cache_used_blocks", used)
        sheet.gauge("kv_cache_tokens_per_block", config.block_tokens)
        sheet.gauge("gpu_memory_usage_bytes", 70 * GIB)
        sheet.counter("prompt_tokens_total", stats.prompt_tokens)
        sheet.counter("generation_tokens_total", stats.generation_tokens)
        return Reply(sheet.text(), content_type=TEXT_PLAIN)

    def error(self, refusal: Refusal) -> object:
        if refusal.status == 400 and refusal.fields["param"] is not None:  # what its validation raises
            return {"error": refusal.message}
        return {"object": "error", **refusal.fields}
