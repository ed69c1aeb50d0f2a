"""Triton with the TensorRT-LLM backend. Its metrics have a port of their own (8002): `metrics:` in backends.yaml tells
the address. Without that backend only the queue is known."""

from __future__ import annotations

import msgspec

from gateway.model import Scrape
from gateway.upstreams.dialects.engines.common import MODELS, decoded, named_version, read_health, room, seats
from gateway.upstreams.dialects.engines.engine import Detail, Engine, Page, Told, starts
from gateway.upstreams.exposition import Gauges, Labels, Sample, Where

_REQUESTS, _BLOCKS = "nv_trt_llm_request_metrics", "nv_trt_llm_kv_cache_block_metrics"
_PENDING = "nv_inference_pending_request_count"


class _Server(msgspec.Struct):
    version: str | None = None


def read(page: bytes) -> Scrape:
    gauges = Gauges(page)
    running = gauges.count(_REQUESTS, where=lambda row: row.get("request_type") == "scheduled")
    waiting = gauges.count(_REQUESTS, _PENDING, where=_queued)
    return Scrape(
        running=running,
        waiting=waiting,
        kv=gauges.share(_BLOCKS, where=_blocks("fraction")),
        kv_tokens=_room(gauges.labelled(_BLOCKS)),
        seats=seats(gauges.amount(_REQUESTS, where=lambda row: row.get("request_type") == "max")).get("seats"),
        missing=tuple(dict.fromkeys(gauges.missing)),
    )


def _room(rows: list[Sample]) -> int | None:
    """Tokens in the KV caches of all its models, each with blocks of its own size; None where one does not tell."""
    pools: dict[tuple[str | None, str | None], dict[str | None, int]] = {}
    for _, labels, value in rows:
        pool = pools.setdefault((labels.get("model"), labels.get("version")), {})
        pool[labels.get("kv_cache_block_type")] = int(value)
    rooms = [room(pool.get("max"), pool.get("tokens_per")) for pool in pools.values()]
    known = [tokens for tokens in rooms if tokens is not None]
    return sum(known) if known and len(known) == len(rooms) else None


def _queued(row: Labels) -> bool:
    """Of the backend's own lines those that wait; of plain Triton's every model's."""
    return row.get("request_type", "waiting") == "waiting"


def _blocks(kind: str) -> Where:
    return lambda row: row.get("kv_cache_block_type") == kind


def read_server(status: int, body: bytes) -> Told:
    page = decoded(body, _Server) if status == 200 else None
    return {} if page is None else named_version(page.version)


ENGINE = Engine(
    "triton",
    pages=(Page("/metrics", starts("nv_trt_llm_", "nv_inference_"), read),),
    details=(MODELS, Detail("/v2/health/ready", read_health), Detail("/v2", read_server, once=True)),
)
