"""SGLang's image and video server (`multimodal_gen`). `/health` is 503 until it has warmed up; `/model_info` tells what
it is where it publishes no metrics."""

from __future__ import annotations

import msgspec

from gateway.model import Scrape
from gateway.upstreams.dialects.engines.common import HEALTH, MODELS, counted, decoded, named_models, named_version
from gateway.upstreams.dialects.engines.engine import Detail, Engine, Page, Told, holds, starts

_RUNNING, _WAITING = "sglang:diffusion_num_running_reqs", "sglang:diffusion_num_queue_reqs"


class _About(msgspec.Struct):
    model_path: str | None = None
    version: str | None = None


read = counted(_RUNNING, _WAITING)


def unread(_: bytes) -> Scrape:
    return Scrape(missing=(_RUNNING, _WAITING))


def read_about(status: int, body: bytes) -> Told:
    page = decoded(body, _About) if status == 200 else None
    if page is None:
        return {}
    return {**named_version(page.version), **(named_models([page.model_path], []) if page.model_path else {})}


ENGINE = Engine(
    "sglang-diffusion",
    pages=(
        Page("/metrics", starts("sglang:diffusion_"), read),
        Page("/model_info", holds(rb'"model_type"\s*:\s*"diffusion"'), unread, last=True),
    ),
    details=(Detail("/model_info", read_about, once=True), MODELS, HEALTH),
)
