"""Pages that several engines have in the same shape: models, version, health. Whatever they hold is bounded, because it
goes into the store and every replica reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from gateway.model import Scrape
from gateway.upstreams.dialects.engines.engine import Detail, Told
from gateway.upstreams.exposition import Gauges

MOST_MODELS = 512
LONGEST_NAME = 256
LONGEST_VERSION = 64
LONGEST_COUNT = 12
"""Digits."""
MOST_SEATS = 1_000_000
MOST_TOKENS = 10**12
_T = TypeVar("_T")


class _Model(msgspec.Struct):
    id: str
    parent: str | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


class _Version(msgspec.Struct):
    version: str | None = None
    release: str | None = None


def decoded(body: bytes, kind: type[_T]) -> _T | None:
    """The body as `kind`; None where it is not."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def counted(running: str, waiting: str) -> Callable[[bytes], Scrape]:
    """Reads a page that tells of its load these two gauges and nothing else."""

    def read(page: bytes) -> Scrape:
        gauges = Gauges(page)
        return Scrape(
            running=gauges.count(running),
            waiting=gauges.count(waiting),
            started=gauges.started(),
            missing=tuple(gauges.missing),
        )

    return read


def whole(label: str | None) -> int | None:
    """A label that holds a count; None where it holds something else, such as "None"."""
    return int(label) if label and label.isascii() and label.isdigit() and len(label) <= LONGEST_COUNT else None


def room(blocks: int | None, size: int | None) -> int | None:
    """Tokens in so many blocks of this size."""
    return blocks * size if blocks and size and 0 < blocks * size <= MOST_TOKENS else None


def seats(told: int | float | None) -> Told:
    return {"seats": int(told)} if told is not None and 0 < told <= MOST_SEATS else {}


def named_version(told: str | None) -> Told:
    return {"version": told} if told and len(told) <= LONGEST_VERSION and told.isprintable() else {}


def named_models(names: list[str], adapters: list[str]) -> Told:
    """A list that is too long to keep leaves it unknown which models there are."""
    if len(names) > MOST_MODELS or any(len(name) > LONGEST_NAME for name in names):
        return {"models": None, "adapters": ()}
    return {"models": tuple(names), "adapters": tuple(adapters)}


def read_models(status: int, body: bytes) -> Told:
    """OpenAI's list. vLLM and SGLang list a LoRA adapter like a model, with its base as `parent`."""
    page = decoded(body, _Models) if status == 200 else None
    if page is None:
        return {}
    return named_models([row.id for row in page.data], [row.id for row in page.data if row.parent is not None])


def read_version(status: int, body: bytes) -> Told:
    page = decoded(body, _Version) if status == 200 else None
    return {} if page is None else named_version(page.version or page.release)


def read_health(status: int, _: bytes) -> Told:
    """503 while it warms up or loads, and when its engine has died. Any other status says nothing about that."""
    if status == 200:
        return {"healthy": True}
    return {"healthy": False, "reason": "not_ready"} if status == 503 else {}


MODELS = Detail("/v1/models", read_models)
VERSION = Detail("/version", read_version, once=True)
HEALTH = Detail("/health", read_health)
