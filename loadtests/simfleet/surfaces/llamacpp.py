"""llama.cpp's server: slots, /props, gauges that are few; `older` builds still print the use of the KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from loadtests.simfleet.framing import OPENAI, Flavour
from loadtests.simfleet.refusal import Refusal
from loadtests.simfleet.sheet import Sheet
from loadtests.simfleet.talks import SPOKEN_BY_VLLM, Talk

from .surface import SERVICE_UNAVAILABLE, TEXT_PLAIN, Reply, Seen, Show, Surface

LOADING = {"error": {"message": "Loading model", "type": "unavailable_error", "code": SERVICE_UNAVAILABLE}}
NO_SLOT = {"error": {"message": "no slot available", "type": "unavailable_error", "code": SERVICE_UNAVAILABLE}}


class LlamaCpp(Surface):
    flavour: ClassVar[Flavour] = OPENAI
    talks: ClassVar[Mapping[str, Talk]] = SPOKEN_BY_VLLM
    owner = "llamacpp"
    any_model = True
    aborts_plain = False
    server = b"llama.cpp"
    refuses_while_loading = "Loading model"
    error_types: ClassVar[Mapping[int, str]] = {
        400: "invalid_request_error",
        404: "not_found_error",
        500: "server_error",
        501: "not_supported_error",
        503: "unavailable_error",
    }

    def more_pages(self) -> dict[str, Show]:
        return {"/v1/health": self.health, "/slots": self._slots, "/props": self._props, "/lora-adapters": self._lora}

    def health(self, seen: Seen) -> Reply:
        return Reply({"status": "ok"}) if seen.ready else Reply(LOADING, SERVICE_UNAVAILABLE)

    def metrics(self, seen: Seen) -> Reply:
        stats = seen.stats
        sheet = Sheet("llamacpp:")
        sheet.counter("prompt_tokens_total", stats.prompt_tokens)
        sheet.counter("prompt_seconds_total", stats.histograms["request_prefill_time_seconds"].sum)
        sheet.counter("tokens_predicted_total", stats.generation_tokens)
        sheet.counter("tokens_predicted_seconds_total", stats.histograms["request_decode_time_seconds"].sum)
        sheet.counter("n_decode_total", sum(stats.histograms["iteration_tokens_total"].counts))
        sheet.gauge("n_busy_slots_per_decode", seen.load.running)
        sheet.gauge("prompt_tokens_seconds", 0)
        sheet.gauge("predicted_tokens_seconds", 0)
        sheet.gauge("requests_processing", seen.load.running)
        sheet.gauge("requests_deferred", seen.load.waiting)
        if self.config.older:
            sheet.gauge("kv_cache_usage_ratio", seen.load.kv)
            sheet.gauge("kv_cache_tokens", round(seen.load.kv * self.config.kv_tokens))
        return Reply(sheet.text(), content_type=TEXT_PLAIN)

    def card(self, seen: Seen, name: str, parent: str | None) -> dict[str, object]:
        return {
            "aliases": [name],
            "meta": {
                "n_ctx": self.config.max_model_len,
                "n_ctx_train": self.config.max_model_len,
                "n_vocab": 128_256,
                "n_params": 70_000_000_000,
            },
        }

    def _slots(self, seen: Seen) -> Reply:
        seats, busy = self.config.max_num_seqs, len(seen.engine.running)
        if busy >= seats and "fail_on_no_slot" in seen.query:
            return Reply(NO_SLOT, SERVICE_UNAVAILABLE)
        slots = [{"id": i, "n_ctx": self.config.max_model_len, "is_processing": i < busy} for i in range(seats)]
        return Reply(slots)

    def _props(self, seen: Seen) -> Reply:
        about = {
            "default_generation_settings": {"n_ctx": self.config.max_model_len},
            "total_slots": self.config.max_num_seqs,
            "model_path": f"/models/{seen.model}.gguf",
            "model_alias": seen.model,
            "modalities": {"vision": False, "audio": False},
            "is_sleeping": seen.hosted.asleep,
            "build_info": "b11434-simulated",
        }
        return Reply(about)

    def _lora(self, seen: Seen) -> Reply:
        return Reply([{"id": i, "path": f"{name}.gguf", "scale": 1.0} for i, name in enumerate(seen.hosted.adapters)])

    def error(self, refusal: Refusal) -> object:
        """Also on /v1/messages: see docs/llamacpp.md."""
        return {"error": {"code": refusal.status, "message": refusal.message, "type": refusal.fields["type"]}}

    def message_error(self, refusal: Refusal) -> object:
        return self.error(refusal)
