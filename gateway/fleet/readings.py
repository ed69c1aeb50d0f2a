"""Readings in the store: written by the replica that scraped, read by all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from operator import attrgetter

import msgspec

from gateway.model import Reading, Scrape
from gateway.store.connection import Store
from gateway.store.scripts import load

READINGS_KEY = "gw:readings"
PROBES_KEY = "gw:probes"
CLAIM_MS = 2_000
"""A claim outlives a few missed scrapes, and a dead replica's workers are scraped again after it."""
_WRITE = load("gateway.fleet", "reading")
_CLAIM = load("gateway.fleet", "claim")
_scrape = msgspec.json.Decoder(Scrape)
_FIELDS = tuple(field.name for field in fields(Scrape))
_fields = attrgetter(*_FIELDS)


async def claim(store: Store, owner: str, upstreams: Sequence[str]) -> frozenset[str]:
    """The workers that this replica is to scrape for the next CLAIM_MS."""
    held = await store.eval(_CLAIM, [PROBES_KEY], [owner, CLAIM_MS, *upstreams])
    return frozenset(name.decode() for name in held)


async def write(store: Store, upstream: str, scrape: Scrape) -> None:
    await write_all(store, {upstream: scrape})


async def write_all(store: Store, scrapes: Mapping[str, Scrape], known: Mapping[str, Reading] | None = None) -> None:
    """What several workers gave, in one step: a call for each of a large fleet would cost more than the scrape.
    `known` are the readings that the writer saw last: a store that forgot them learns the lives again."""
    rows: list[str | int | bytes] = []
    for upstream, scrape in scrapes.items():
        before = None if known is None else known.get(upstream)
        life, started = (0, None) if before is None else (before.life, before.started)
        rows += (upstream, _second(scrape.started), msgspec.json.encode(scrape), life, _second(started))
    await store.eval(_WRITE, [READINGS_KEY], rows)


def _second(started: float | None) -> str:
    return "" if started is None else f"{started:.3f}"


async def forget(store: Store, upstreams: Sequence[str]) -> None:
    """Of workers that are gone for good: the reading, with it the number of the life, and the claim."""
    if upstreams:
        await asyncio.gather(store.call("HDEL", READINGS_KEY, *upstreams), store.call("HDEL", PROBES_KEY, *upstreams))


async def read(store: Store) -> Mapping[str, Reading]:
    """All readings; `at` and `gpu_at` are in seconds of the store's clock."""
    return await Reader().read(store)


class Reader:
    """Reads them again and again: what has not changed since the last time is not decoded, and is the same object."""

    def __init__(self) -> None:
        self._before: dict[bytes, tuple[bytes, str, Reading]] = {}

    async def read(self, store: Store) -> Mapping[str, Reading]:
        raw = await store.call("HGETALL", READINGS_KEY)
        before, now = self._before, dict[bytes, tuple[bytes, str, Reading]]()
        for name, value in zip(raw[::2], raw[1::2], strict=True):
            known = before.get(name)
            if known is not None and known[0] == value:
                now[name] = known
                continue
            with suppress(ValueError, msgspec.MsgspecError):  # what another version wrote is unknown, not fatal
                now[name] = (value, name.decode(), parse(value))
        self._before = now
        return {name: reading for _, name, reading in now.values()}


def parse(value: bytes) -> Reading:
    life, started, at_ms, body = value.split(b"|", 3)
    scrape = _scrape.decode(body)
    at = int(at_ms) / 1000
    told = dict(zip(_FIELDS, _fields(scrape), strict=True))
    told["started"] = float(started) if started else None
    return Reading(**told, at=at, life=int(life), gpu_at=None if scrape.gpu_age is None else at - scrape.gpu_age)
