"""SGLang 0.5: a line per tensor-parallel rank, flat errors, /server_info and /model_info."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import ClassVar

from loadtests.simfleet.faults import Change
from loadtests.simfleet.framing import SGLANG, Flavour
from loadtests.simfleet.refusal import Refusal
from loadtests.simfleet.sheet import Sheet

from .surface import TEXT_PLAIN, Act, Reply, Seen, Show, Surface

VERSION = "0.5.23"
TOKENIZER_HISTOGRAMS = (
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "request_time_per_output_token_seconds",
    "e2e_request_latency_seconds",
)


class Sglang(Surface):
    """`older`: cache_config_info instead of the two gauges, and the /get_ spelling of its pages alone."""

    flavour: ClassVar[Flavour] = SGLANG
    owner = "sglang"
    continues = True
    actions: ClassVar[Mapping[str, Act]] = {
        "/release_memory_occupation": lambda seen, body: Change(asleep=True),
        "/resume_memory_occupation": lambda seen, body: Change(asleep=False),
    }

    def more_pages(self) -> dict[str, Show]:
        pages: dict[str, Show] = {
            "/health_generate": self.health,
            "/get_model_info": self._model,
            "/get_server_info": self._server,
        }
        if not self.config.older:
            newer: dict[str, Show] = {"/model_info": self._model, "/server_info": self._server, "/ready": self.health}
            pages |= newer | {"/v1/loads": self._loads}
        return pages

    def metrics(self, seen: Seen) -> Reply:
        shared = {"model_name": seen.model, "engine_type": "unified"}
        sheet = Sheet("sglang:", shared)
        for rank in range(self.config.tp):
            self._scheduler(sheet, seen, {"tp_rank": str(rank), "pp_rank": "0", "dp_rank": "0", "moe_ep_rank": "0"})
        stats = seen.stats
        sheet.counter("prompt_tokens_total", stats.prompt_tokens)
        sheet.counter("generation_tokens_total", stats.generation_tokens)
        sheet.counter("cached_tokens_total", 0, cache_source="total")
        sheet.counter("num_requests_total", sum(stats.success.values()))
        sheet.counter("num_aborted_requests_total", stats.success["abort"])
        for name in TOKENIZER_HISTOGRAMS:
            sheet.histogram(name, stats.histograms[name])
        return Reply(sheet.text(), content_type=TEXT_PLAIN)

    def _scheduler(self, sheet: Sheet, seen: Seen, rank: dict[str, str]) -> None:
        """Every rank publishes the same numbers: a sum over ranks counts a request once per GPU."""
        config, load = self.config, seen.load
        used = round(load.kv * config.kv_tokens)
        values = {
            "num_running_reqs": load.running,
            "num_queue_reqs": load.waiting,
            "num_grammar_queue_reqs": 0,
            "num_paused_reqs": 0,
            "num_retracted_reqs": 0,
            "token_usage": load.kv,
            "full_token_usage": load.kv,
            "num_used_tokens": used,
            "kv_available_tokens": config.kv_tokens - used,
            "max_total_num_tokens": config.kv_tokens,
            "context_len": config.max_model_len,
            "cache_hit_rate": 0.0,
            "gen_throughput": 0.0,
            "utilization": load.running / config.max_num_seqs,
        }
        for name, value in values.items():
            sheet.gauge(name, value, **rank)
        if config.older:
            sizes = {"page_size": str(config.block_tokens), "num_pages": str(config.num_gpu_blocks)}
            sheet.gauge("cache_config_info", 1, **sizes, **rank)
        else:
            sheet.gauge("page_size", config.block_tokens, **rank)
            sheet.gauge("num_pages", config.num_gpu_blocks, **rank)
        if seen.hosted.adapters:
            sheet.gauge("lora_pool_slots_used", len(seen.hosted.adapters), **rank)
            sheet.gauge("lora_pool_slots_total", config.max_lora, **rank)

    def card(self, seen: Seen, name: str, parent: str | None) -> dict[str, object]:
        return super().card(seen, name, parent) | {"max_model_len": self.config.max_model_len}

    def error(self, refusal: Refusal) -> object:
        return {"object": "error", **refusal.fields}

    def _model(self, seen: Seen) -> Reply:
        return Reply({"model_path": seen.model, "tokenizer_path": seen.model, "is_generation": True})

    def _server(self, seen: Seen) -> Reply:
        config = self.config
        return Reply(
            {
                "version": VERSION,
                "model_path": seen.model,
                "served_model_name": seen.model,
                "tp_size": config.tp,
                "max_running_requests": config.max_num_seqs,
                "max_total_num_tokens": config.kv_tokens,
                "context_length": config.max_model_len,
                "page_size": config.block_tokens,
            }
        )

    def _loads(self, seen: Seen) -> Reply:
        config, load = self.config, seen.load
        rank = {
            "dp_rank": 0,
            "num_running_reqs": load.running,
            "num_waiting_reqs": load.waiting,
            "num_used_tokens": round(load.kv * config.kv_tokens),
            "max_total_num_tokens": config.kv_tokens,
            "max_running_requests": config.max_num_seqs,
            "token_usage": load.kv,
            "gen_throughput": 0.0,
            "cache_hit_rate": 0.0,
            "utilization": load.running / config.max_num_seqs,
        }
        head = {"timestamp": time.time(), "version": VERSION, "accelerator": "H100", "num_accelerators": config.tp}
        return Reply({**head, "loads": [rank]})
