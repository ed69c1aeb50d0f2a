"""Triton with the TensorRT-LLM backend and its OpenAI front end; the metrics are on a second port."""

from __future__ import annotations

from typing import ClassVar

from loadtests.simfleet.refusal import Refusal
from loadtests.simfleet.sheet import Sheet

from .surface import TEXT_PLAIN, Reply, Seen, Show, Surface

VERSION = "2.62.0"
GIB = 1 << 30
BACKEND_MODEL = "tensorrt_llm"
"""The series of the backend carry its own model's name, not the one that callers use."""


class Triton(Surface):
    owner = "Triton Inference Server"
    apart: ClassVar[bool] = True
    full_text = "Exceeds maximum queue size"

    def more_pages(self) -> dict[str, Show]:
        about = {"name": "triton", "version": VERSION, "extensions": ["classification", "statistics"]}
        return {
            "/health/ready": self.health,
            "/v2": lambda seen: Reply(about),
            "/v2/health/live": lambda seen: Reply(),
            "/v2/health/ready": self._ready,
        }

    def _ready(self, seen: Seen) -> Reply:
        return Reply(status=200 if seen.ready else 400)  # a failed health check is 400 on the KServe routes

    def metrics(self, seen: Seen) -> Reply:
        config, stats, load = self.config, seen.stats, seen.load
        sheet = Sheet("nv_", {"model": BACKEND_MODEL, "version": "1"})
        done = stats.success["stop"] + stats.success["length"]
        sheet.counter("inference_request_success", done)
        for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER"):
            sheet.counter("inference_request_failure", stats.success["abort"] * (reason == "CANCELED"), reason=reason)
        sheet.counter("inference_count", done)
        sheet.counter("inference_exec_count", sum(stats.histograms["iteration_tokens_total"].counts))
        sheet.counter("inference_request_duration_us", 1e6 * stats.histograms["e2e_request_latency_seconds"].sum)
        sheet.counter("inference_queue_duration_us", 1e6 * stats.histograms["request_queue_time_seconds"].sum)
        sheet.gauge("inference_pending_request_count", load.waiting)
        requests: dict[str, float] = {
            "waiting": load.waiting,
            "context": 0,
            "scheduled": load.running,
            "max": config.max_num_seqs,
        }
        for kind, value in requests.items():
            sheet.gauge("trt_llm_request_metrics", value, request_type=kind)
        used = round(load.kv * config.num_gpu_blocks)
        blocks: dict[str, float] = {
            "tokens_per": config.block_tokens,
            "used": used,
            "free": config.num_gpu_blocks - used,
            "max": config.num_gpu_blocks,
            "fraction": load.kv,
        }
        for kind, value in blocks.items():
            sheet.gauge("trt_llm_kv_cache_block_metrics", value, kv_cache_block_type=kind)
        inflight = {"micro_batch_id": 0, "generation_requests": load.running, "total_context_tokens": 0}
        for kind, value in inflight.items():
            sheet.gauge("trt_llm_inflight_batcher_metrics", value, inflight_batcher_specific_metric=kind)
        return Reply(sheet.text() + self._gpu(seen), content_type=TEXT_PLAIN)

    def _gpu(self, seen: Seen) -> bytes:
        sheet = Sheet("nv_", {"gpu_uuid": self.config.gpu_uuids[0]})
        sheet.gauge("gpu_utilization", min(1.0, seen.load.running / self.config.max_num_seqs))
        sheet.gauge("gpu_memory_used_bytes", 70 * GIB)
        sheet.gauge("gpu_memory_total_bytes", 80 * GIB)
        sheet.gauge("gpu_power_usage", 71.0)
        return sheet.text()

    def error(self, refusal: Refusal) -> object:
        return {"detail": refusal.message}  # its OpenAI front end is FastAPI
