"""ComfyUI has no metrics. `/prompt` tells how many jobs it holds, running and waiting together; it runs one at a time.
`/queue` would tell them apart, with the whole graph of each."""

from __future__ import annotations

import msgspec

from gateway.model import Scrape
from gateway.upstreams.dialects.engines.common import decoded, named_version
from gateway.upstreams.dialects.engines.engine import Detail, Engine, Page, Told, holds

SEATS = 1
_MOST = 1_000_000


class _Info(msgspec.Struct):
    queue_remaining: int


class _Prompt(msgspec.Struct):
    exec_info: _Info


class _System(msgspec.Struct):
    comfyui_version: str | None = None


class _Stats(msgspec.Struct):
    system: _System


def read(body: bytes) -> Scrape:
    page = decoded(body, _Prompt)
    held = page.exec_info.queue_remaining if page is not None else -1
    if not 0 <= held <= _MOST:
        return Scrape(seats=SEATS, missing=("queue_remaining",))
    return Scrape(running=min(held, SEATS), waiting=max(0, held - SEATS), seats=SEATS)


def read_stats(status: int, body: bytes) -> Told:
    page = decoded(body, _Stats) if status == 200 else None
    return {} if page is None else named_version(page.system.comfyui_version)


ENGINE = Engine(
    "comfyui",
    pages=(Page("/prompt", holds(rb'"queue_remaining"'), read),),
    details=(Detail("/system_stats", read_stats, once=True),),
)
