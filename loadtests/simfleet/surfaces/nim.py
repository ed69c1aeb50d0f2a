"""NVIDIA NIM for language models: 1.x prints names without a prefix, 2.x wraps vLLM; both under /v1."""

from __future__ import annotations

from typing import ClassVar

from loadtests.simfleet.config import WorkerConfig
from loadtests.simfleet.sheet import Sheet

from .surface import SERVICE_UNAVAILABLE, TEXT_PLAIN, Reply, Seen, Show
from .vllm import Vllm

HISTOGRAMS = {
    "time_to_first_token_seconds": "time_to_first_token_seconds",
    "time_per_output_token_seconds": "inter_token_latency_seconds",
    "e2e_request_latency_seconds": "e2e_request_latency_seconds",
    "request_prompt_tokens": "request_prompt_tokens",
    "request_generation_tokens": "request_generation_tokens",
}


class Nim2(Vllm):
    """2.x: vLLM's page, at NIM's path."""

    release: ClassVar[str] = "2.0.4"
    metrics_pages: ClassVar[frozenset[str]] = frozenset({"/v1/metrics"})

    def __init__(self, config: WorkerConfig, started: float) -> None:
        super().__init__(config, started)
        self.pages: dict[str, Show] = {
            "/v1/metrics": self.metrics,
            "/v1/health/live": self._live,
            "/v1/health/ready": self._ready,
            "/v1/version": lambda seen: Reply({"release": self.release, "api": "1.0"}),
            "/v1/metadata": lambda seen: Reply({"version": self.release, "modelInfo": [{"shortName": seen.model}]}),
            "/v1/license": lambda seen: Reply({"name": "simulated"}),
        }

    def _live(self, seen: Seen) -> Reply:
        return Reply({"object": "health.response", "message": "Service is live."})

    def _ready(self, seen: Seen) -> Reply:
        told = "Service is ready." if seen.ready else "Service is not ready."
        status = 200 if seen.ready else SERVICE_UNAVAILABLE
        return Reply({"object": "health.response", "message": told}, status)


class Nim(Nim2):
    """1.x."""

    release = "1.15.0"

    def metrics(self, seen: Seen) -> Reply:
        stats = seen.stats
        sheet = Sheet(labels={"model_name": seen.model})
        sheet.gauge("num_requests_running", seen.load.running)
        sheet.gauge("num_requests_waiting", seen.load.waiting)
        sheet.gauge("num_request_max", self.config.max_num_seqs)
        sheet.gauge("gpu_cache_usage_perc", seen.load.kv)
        sheet.counter("prompt_tokens_total", stats.prompt_tokens)
        sheet.counter("generation_tokens_total", stats.generation_tokens)
        for reason in ("stop", "length", "abort"):
            sheet.counter("request_finish_total", stats.success[reason], finished_reason=reason)
        for name, counted in HISTOGRAMS.items():
            sheet.histogram(name, stats.histograms[counted])
        return Reply(sheet.text(), content_type=TEXT_PLAIN)
