"""vLLM: the V1 engine as 0.33 prints it, and the old engine's page (V0, until 0.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from loadtests.simfleet.config import WorkerConfig
from loadtests.simfleet.faults import Change
from loadtests.simfleet.page import Page
from loadtests.simfleet.sheet import Sheet
from loadtests.simfleet.talks import SPOKEN_BY_VLLM, Talk

from .surface import TEXT_PLAIN, Act, Reply, Seen, Show, Surface

VERSION = "0.32.0"
V0_VERSION = "0.8.5"
V0_HISTOGRAMS = {
    "time_to_first_token_seconds": "time_to_first_token_seconds",
    "time_per_output_token_seconds": "inter_token_latency_seconds",
    "e2e_request_latency_seconds": "e2e_request_latency_seconds",
    "request_queue_time_seconds": "request_queue_time_seconds",
    "request_prefill_time_seconds": "request_prefill_time_seconds",
    "request_decode_time_seconds": "request_decode_time_seconds",
    "request_inference_time_seconds": "request_inference_time_seconds",
    "request_prompt_tokens": "request_prompt_tokens",
    "request_generation_tokens": "request_generation_tokens",
    "request_params_max_tokens": "request_params_max_tokens",
    "iteration_tokens_total": "iteration_tokens_total",
}
"""V0's name -> what the worker counts under."""


def _load_adapter(seen: Seen, body: dict[str, Any]) -> Change:
    return Change(adapters=[*seen.hosted.adapters, str(body["lora_name"])])


def _unload_adapter(seen: Seen, body: dict[str, Any]) -> Change:
    return Change(adapters=[name for name in seen.hosted.adapters if name != body["lora_name"]])


class Vllm(Surface):
    talks: ClassVar[Mapping[str, Talk]] = SPOKEN_BY_VLLM
    continues = True
    strict = True
    full_text = "The request queue is full. Please retry later."
    version: ClassVar[str] = VERSION
    actions: ClassVar[Mapping[str, Act]] = {
        "/sleep": lambda seen, body: Change(asleep=True),
        "/wake_up": lambda seen, body: Change(asleep=False),
        "/v1/load_lora_adapter": _load_adapter,
        "/v1/unload_lora_adapter": _unload_adapter,
    }

    def __init__(self, config: WorkerConfig, started: float) -> None:
        super().__init__(config, started)
        self._page: tuple[str, Page] | None = None

    def more_pages(self) -> dict[str, Show]:
        return {
            "/ping": self.health,
            "/version": lambda seen: Reply({"version": self.version}),
            "/load": lambda seen: Reply({"server_load": 0}),
            "/is_sleeping": lambda seen: Reply({"is_sleeping": seen.hosted.asleep}),
        }

    def metrics(self, seen: Seen) -> Reply:
        if self._page is None or self._page[0] != seen.model:
            renamed = msgspec.structs.replace(self.config, model=seen.model)
            self._page = (seen.model, Page(renamed, self.started))
        hosted = seen.hosted
        page = self._page[1].render(seen.load, seen.engine, seen.stats, seen.cpu_s, hosted.adapters, hosted.asleep)
        return Reply(page, content_type=TEXT_PLAIN)

    def card(self, seen: Seen, name: str, parent: str | None) -> dict[str, object]:
        longest = self.config.max_model_len if parent is None else None
        return super().card(seen, name, parent) | {"max_model_len": longest, "permission": []}


class VllmV0(Vllm):
    """The old names, without the `engine` label; cache_config_info has no `engine` either."""

    version = V0_VERSION

    def metrics(self, seen: Seen) -> Reply:
        stats, engine = seen.stats, seen.engine
        sheet = Sheet("vllm:", {"model_name": seen.model})
        sheet.gauge("num_requests_running", seen.load.running)
        sheet.gauge("num_requests_swapped", 0)
        sheet.gauge("num_requests_waiting", seen.load.waiting)
        sheet.gauge("gpu_cache_usage_perc", seen.load.kv)
        sheet.gauge("cpu_cache_usage_perc", 0)
        sheet.gauge("gpu_prefix_cache_hit_rate", -1)  # what it prints while prefix caching is off
        sheet.counter("num_preemptions_total", engine.preemptions)
        sheet.counter("prompt_tokens_total", stats.prompt_tokens)
        sheet.counter("generation_tokens_total", stats.generation_tokens)
        for reason in ("stop", "length", "abort"):
            sheet.counter("request_success_total", stats.success[reason], finished_reason=reason)
        for name, counted in V0_HISTOGRAMS.items():
            sheet.histogram(name, stats.histograms[counted])
        if seen.hosted.adapters:
            sheet.gauge("lora_requests_info", self.started, **lora_labels(self.config.max_lora, seen.hosted.adapters))
        config = Sheet("vllm:")
        sizes = {"block_size": str(self.config.block_tokens), "num_gpu_blocks": str(self.config.num_gpu_blocks)}
        config.gauge("cache_config_info", 1, cache_dtype="auto", enable_prefix_caching="False", **sizes)
        return Reply(sheet.text() + config.text(), content_type=TEXT_PLAIN)


def lora_labels(max_lora: int, running: tuple[str, ...]) -> dict[str, str]:
    return {"max_lora": str(max_lora), "running_lora_adapters": ",".join(running), "waiting_lora_adapters": ""}
