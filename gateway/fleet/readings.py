"""Readings in the store: written by the replica that scraped, read by all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields

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


async def claim(store: Store, owner: str, upstreams: Sequence[str]) -> frozenset[str]:
    """The workers that this replica is to scrape for the next CLAIM_MS."""
    held = await store.eval(_CLAIM, [PROBES_KEY], [owner, CLAIM_MS, *upstreams])
    return frozenset(name.decode() for name in held)


async def write(store: Store, upstream: str, scrape: Scrape) -> None:
    started = "" if scrape.started is None else f"{scrape.started:.3f}"
    await store.eval(_WRITE, [READINGS_KEY], [upstream, started, msgspec.json.encode(scrape)])


async def forget(store: Store, upstreams: Sequence[str]) -> None:
    """Of workers that are gone for good: the reading, with it the number of the life, and the claim."""
    if upstreams:
        await asyncio.gather(store.call("HDEL", READINGS_KEY, *upstreams), store.call("HDEL", PROBES_KEY, *upstreams))


async def read(store: Store) -> Mapping[str, Reading]:
    """All readings; `at` and `gpu_at` are in seconds of the store's clock."""
    raw = await store.call("HGETALL", READINGS_KEY)
    found: dict[str, Reading] = {}
    for name, value in zip(raw[::2], raw[1::2], strict=True):
        with suppress(ValueError, msgspec.MsgspecError):  # what another version wrote is unknown, not fatal
            found[name.decode()] = parse(value)
    return found


def parse(value: bytes) -> Reading:
    life, started, at_ms, body = value.split(b"|", 3)
    scrape = msgspec.json.decode(body, type=Scrape)
    at = int(at_ms) / 1000
    told = {field.name: getattr(scrape, field.name) for field in fields(Scrape)}
    told["started"] = float(started) if started else None
    return Reading(**told, at=at, life=int(life), gpu_at=None if scrape.gpu_age is None else at - scrape.gpu_age)
