"""SGLang. Its scheduler publishes the same figures from every tensor- and pipeline-parallel rank, so rank 0 counts;
those of data-parallel ranks are different requests, and are added up.

Without `--enable-metrics` there is no page; `/v1/loads` then tells the same as JSON.
"""

from __future__ import annotations

import re

import msgspec

from gateway.model import Scrape
from gateway.upstreams.dialects.engines.common import (
    HEALTH,
    MODELS,
    MOST_SEATS,
    decoded,
    named_version,
    room,
    seats,
    whole,
)
from gateway.upstreams.dialects.engines.engine import Detail, Engine, Page, Told, holds
from gateway.upstreams.exposition import Gauges, Labels

_RUNNING, _WAITING, _KV = "sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage"
_MOST = 1_000_000


class _Load(msgspec.Struct):
    num_running_reqs: int | None = None
    num_waiting_reqs: int | None = None
    token_usage: float | None = None
    max_total_num_tokens: int | None = None
    max_running_requests: int | None = None


class _Loads(msgspec.Struct):
    loads: list[_Load]


class _Info(msgspec.Struct):
    version: str | None = None
    max_running_requests: int | None = None


_PREFIX = re.compile(rb"\nsglang:(?!diffusion_)")


def _mine(page: bytes) -> bool:
    """Not that of the diffusion server, which shares the prefix."""
    return _PREFIX.search(b"\n" + page) is not None


def _first_rank(labels: Labels) -> bool:
    return labels.get("tp_rank", "0") == "0" and labels.get("pp_rank", "0") == "0"


def read(page: bytes) -> Scrape:
    gauges = Gauges(page)
    return Scrape(
        running=gauges.count(_RUNNING, where=_first_rank),
        waiting=gauges.count(_WAITING, where=_first_rank),
        kv=gauges.share(_KV, where=_first_rank),
        kv_tokens=_room(gauges),
        started=gauges.started(),
        missing=tuple(gauges.missing),
    )


def _room(gauges: Gauges) -> int | None:
    """Tokens of all its caches: told as such, or as pages, by two gauges or (so the Gateway API's protocol names it) by
    the labels of one."""
    told = gauges.amount("sglang:max_total_num_tokens", where=_first_rank)
    if told is not None:
        return told
    rows = [row for row in gauges.labels("sglang:cache_config_info") if _first_rank(row)]
    pages = [(whole(row.get("page_size")), whole(row.get("num_pages"))) for row in rows]
    rooms = [told for size, count in pages if (told := room(size, count)) is not None]
    if rows:
        return sum(rooms) if len(rooms) == len(rows) else None
    sizes = [one.value for one in gauges.labelled("sglang:page_size") if _first_rank(one.labels)]
    count = gauges.amount("sglang:num_pages", where=_first_rank)
    return room(int(sizes[0]), count) if sizes and 0 < sizes[0] < MOST_SEATS else None


def read_loads(body: bytes) -> Scrape:
    page = decoded(body, _Loads)
    rows = page.loads if page is not None else []
    running, waiting = _sum([row.num_running_reqs for row in rows]), _sum([row.num_waiting_reqs for row in rows])
    kv = [row.token_usage for row in rows if row.token_usage is not None and 0 <= row.token_usage <= 1]
    told = {_RUNNING: running, _WAITING: waiting, _KV: max(kv, default=None)}
    return Scrape(
        running=running,
        waiting=waiting,
        kv=max(kv, default=None),
        kv_tokens=_sum([row.max_total_num_tokens for row in rows], most=1 << 53),
        seats=_sum([row.max_running_requests for row in rows]),
        missing=tuple(name for name, value in told.items() if value is None),
    )


def _sum(told: list[int | None], most: int = _MOST) -> int | None:
    sane = [value for value in told if value is not None and 0 <= value <= most]
    return sum(sane) if sane and len(sane) == len(told) else None


def read_info(status: int, body: bytes) -> Told:
    page = decoded(body, _Info) if status == 200 else None
    return {} if page is None else {**named_version(page.version), **seats(page.max_running_requests)}


ENGINE = Engine(
    "sglang",
    pages=(
        Page("/metrics", _mine, read),
        Page("/v1/loads?include=core", holds(rb'"loads"\s*:\s*\['), read_loads),
    ),
    details=(MODELS, HEALTH, Detail("/server_info", read_info, once=True)),
)
