"""Text Generation Inference. It tells nothing of its KV cache; `/info` tells how many requests it takes at once.

Its list of models is not read: it has one, whatever name it is asked for, and an adapter it does not list.
"""

from __future__ import annotations

import msgspec

from gateway.upstreams.dialects.engines.common import HEALTH, counted, decoded, named_version, seats
from gateway.upstreams.dialects.engines.engine import Detail, Engine, Page, Told, starts


class _Info(msgspec.Struct):
    version: str | None = None
    max_concurrent_requests: int | None = None


read = counted("tgi_batch_current_size", "tgi_queue_size")


def read_info(status: int, body: bytes) -> Told:
    page = decoded(body, _Info) if status == 200 else None
    return {} if page is None else {**named_version(page.version), **seats(page.max_concurrent_requests)}


ENGINE = Engine(
    "tgi",
    pages=(Page("/metrics", starts("tgi_"), read),),
    details=(HEALTH, Detail("/info", read_info, once=True)),
)
