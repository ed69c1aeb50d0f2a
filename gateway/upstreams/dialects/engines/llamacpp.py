"""llama.cpp's server. `/metrics` needs `--metrics`; without it `/slots` tells who is at work. While it loads its model
every page is 503.

It serves whatever name it is asked for, so its list of models is not read: nobody would be sent to it.
"""

from __future__ import annotations

import msgspec

from gateway.model import Scrape
from gateway.upstreams.dialects.engines.common import HEALTH, decoded, named_version, seats
from gateway.upstreams.dialects.engines.engine import Detail, Engine, Page, Told, holds, starts
from gateway.upstreams.exposition import Gauges

_RUNNING, _WAITING = "llamacpp:requests_processing", "llamacpp:requests_deferred"


class _Slot(msgspec.Struct):
    is_processing: bool = False


class _Props(msgspec.Struct):
    total_slots: int | None = None
    is_sleeping: bool = False
    build_info: str | None = None


def read(page: bytes) -> Scrape:
    gauges = Gauges(page)
    running, waiting = gauges.count(_RUNNING), gauges.count(_WAITING)
    missing = tuple(gauges.missing)
    return Scrape(running=running, waiting=waiting, kv=gauges.share("llamacpp:kv_cache_usage_ratio"), missing=missing)


def read_slots(body: bytes) -> Scrape:
    """Who waits for a slot is not told here."""
    slots = decoded(body, list[_Slot])
    if slots is None:
        return Scrape(missing=(_RUNNING, _WAITING))
    running = sum(slot.is_processing for slot in slots)
    return Scrape(running=running, seats=len(slots) or None, missing=(_WAITING,))


def read_props(status: int, body: bytes) -> Told:
    page = decoded(body, _Props) if status == 200 else None
    if page is None:
        return {}
    return {"asleep": page.is_sleeping, **seats(page.total_slots), **named_version(page.build_info)}


ENGINE = Engine(
    "llamacpp",
    pages=(
        Page("/metrics", starts("llamacpp:"), read),
        Page("/slots", holds(rb'"is_processing"'), read_slots),
    ),
    details=(HEALTH, Detail("/props", read_props)),
)
