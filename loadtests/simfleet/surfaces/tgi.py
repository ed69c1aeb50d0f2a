"""Text Generation Inference: 429 when overloaded, errors with `error_type`, one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from loadtests.simfleet.refusal import Refusal
from loadtests.simfleet.sheet import Sheet

from .surface import TEXT_PLAIN, Reply, Seen, Show, Surface

VERSION = "3.3.7"
TOO_MANY = 429
UNPROCESSABLE = 422
HISTOGRAMS = {
    "request_duration": "e2e_request_latency_seconds",
    "request_queue_duration": "request_queue_time_seconds",
    "request_inference_duration": "request_inference_time_seconds",
    "request_mean_time_per_token_duration": "request_time_per_output_token_seconds",
    "request_input_length": "request_prompt_tokens",
    "request_generated_tokens": "request_generation_tokens",
    "request_max_new_tokens": "request_params_max_tokens",
}


class Tgi(Surface):
    owner = "text-generation-inference"
    any_model = True
    full_status = TOO_MANY
    full_text = "Model is overloaded"
    error_types: ClassVar[Mapping[int, str]] = {
        400: "validation",
        404: "not_found",
        422: "validation",
        424: "generation",
        429: "overloaded",
    }

    def more_pages(self) -> dict[str, Show]:
        return {"/info": self._info}

    def _info(self, seen: Seen) -> Reply:
        config = self.config
        return Reply(
            {
                "model_id": seen.model,
                "max_concurrent_requests": config.max_num_seqs,
                "max_total_tokens": config.max_model_len,
                "max_input_tokens": config.max_model_len - 1,
                "version": VERSION,
                "router": "text-generation-router",
            }
        )

    def metrics(self, seen: Seen) -> Reply:
        stats, load = seen.stats, seen.load
        sheet = Sheet("tgi_")
        asked = sum(stats.histograms["request_params_n"].counts)
        sheet.gauge("queue_size", load.waiting)
        sheet.gauge("batch_current_size", load.running)
        sheet.gauge("batch_current_max_tokens", self.config.kv_tokens)
        sheet.counter("request_count", asked)
        sheet.counter("request_success", stats.success["stop"] + stats.success["length"])
        sheet.counter("request_failure", 0, err="overloaded")
        for name, counted in HISTOGRAMS.items():
            sheet.histogram(name, stats.histograms[counted])
        return Reply(sheet.text(), content_type=TEXT_PLAIN)

    def error(self, refusal: Refusal) -> object:
        return {"error": refusal.message, "error_type": refusal.fields["type"]}
