"""vLLM: V1 names first, then those of the older engine. Series of a data-parallel server carry `engine`: requests are
added up, KV use is that of the fullest."""

from __future__ import annotations

import msgspec

from gateway.model import Scrape
from gateway.upstreams.dialects.engines.common import HEALTH, MODELS, VERSION, decoded, room, whole
from gateway.upstreams.dialects.engines.engine import Detail, Engine, Page, Told, holds, starts
from gateway.upstreams.exposition import Gauges, Labels

_RUNNING, _WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
_KV = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_SLEEP = "vllm:engine_sleep_state"
_ALL = (_RUNNING, _WAITING, _KV[0])


class _Sleeping(msgspec.Struct):
    is_sleeping: bool


def read(page: bytes) -> Scrape:
    gauges = Gauges(page)
    return Scrape(
        running=gauges.count(_RUNNING),
        waiting=_waiting(gauges),
        kv=gauges.share(*_KV),
        kv_tokens=_room(gauges.labels("vllm:cache_config_info")),
        started=gauges.started(),
        asleep=_asleep(gauges),
        missing=tuple(gauges.missing),
    )


def _waiting(gauges: Gauges) -> int | None:
    """With those that the older engine put out of its KV cache: they wait to go on."""
    waiting = gauges.count(_WAITING)
    return None if waiting is None else waiting + (gauges.more("vllm:num_requests_swapped") or 0)


def _room(engines: list[Labels]) -> int | None:
    """Tokens in the KV caches of all its engines; None where one of them does not tell."""
    rooms = [_cache_tokens(labels) for labels in engines]
    known = [room for room in rooms if room is not None]
    return sum(known) if known and len(known) == len(rooms) else None


def _cache_tokens(labels: Labels) -> int | None:
    """Told since V1's `kv_cache_size_tokens`, before that as blocks of tokens."""
    told, blocks, size = (whole(labels.get(key)) for key in ("kv_cache_size_tokens", "num_gpu_blocks", "block_size"))
    if told is not None:
        return told
    return room(blocks, size)


def _asleep(gauges: Gauges) -> bool:
    """`sleep_state` is awake, weights_offloaded or discard_all; the one that holds is 1."""
    return any(one.value == 1 and one.labels.get("sleep_state") != "awake" for one in gauges.labelled(_SLEEP))


def read_sleeping(status: int, body: bytes) -> Told:
    """Of servers in development mode; others answer 404."""
    page = decoded(body, _Sleeping) if status == 200 else None
    return {} if page is None else {"asleep": page.is_sleeping}


def unread(_: bytes) -> Scrape:
    """A server that was started without its metrics."""
    return Scrape(missing=_ALL)


ENGINE = Engine(
    "vllm",
    pages=(
        Page("/metrics", starts("vllm:"), read),
        Page("/v1/models", holds(rb'"owned_by"\s*:\s*"vllm"'), unread, last=True),
    ),
    details=(MODELS, HEALTH, VERSION, Detail("/is_sleeping", read_sleeping)),
)
