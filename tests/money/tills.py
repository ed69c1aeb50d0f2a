"""Several tills on one store, a clock of the test's own, and a store whose answers get lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from gateway.errors import StoreFault
from gateway.model import Hold, Quota, Row, Short
from gateway.money.till import STREAM, Till
from gateway.store.connection import Store
from gateway.store.scripts import Script
from gateway.store.target import Value

NOON = 1_795_348_800_000
"""2026-11-22 12:00 UTC, ms since the epoch."""


class Clock:
    """Of a store and all its replicas."""

    def __init__(self, ms: int = NOON) -> None:
        self.ms = ms

    def store(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def pass_(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


class Faulty(Store):
    """The next scripts fail as told: `before` they reach the store, `after` they ran there, or `late`, when a
    connection that was given up is read after all (`deliver`)."""

    def __init__(self, url: str, *, timeout: float) -> None:
        super().__init__(url, timeout=timeout)
        self.faults: list[str] = []
        self._late: list[Callable[[], asyncio.Future[Any]]] = []

    async def deliver(self) -> None:
        late, self._late = self._late, []
        for send in late:
            await send()

    def _run(
        self, script: Script, rest: tuple[Value, ...], late: Callable[[Any], None] | None = None
    ) -> asyncio.Future[Any]:
        if not self.faults:
            return super()._run(script, rest, late)
        fault = self.faults.pop(0)
        lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if fault == "after":
            sent = super()._run(script, rest, late)
            sent.add_done_callback(lambda _: lost.set_exception(StoreFault("lost")))
            return lost
        if fault == "late":
            self._late.append(lambda: super(Faulty, self)._run(script, rest, late))
        lost.set_exception(StoreFault("lost"))
        return lost


def quota(name: str = "usd", cap: int = 1000, **more: Any) -> Quota:
    return Quota(name, more.pop("unit", "usd"), cap, more.pop("per", "day"), **more)


def row(attempt: str, reserved: int, cost: int | None = None, **more: Any) -> Row:
    """As admission writes it down before an attempt leaves (no cost), or as it ended."""
    open_ = {"basis": "reserved", "state": "unreconciled"} if cost is None else {"basis": "list", "state": "settled"}
    words = dict.fromkeys(("tenant", "model", "endpoint", "rule", "backend", "upstream", "served_as", "policy"), "x")
    rest = {
        "kind": "managed",
        "role": "asked",
        "outcome": "managed",
        "reason": "",
        "result": "ok",
        **words,
        **open_,
        **more,
    }
    return Row(
        attempt=attempt, request=attempt, began=1_795_348_800_123_456, ended=0, reserved=reserved, cost=cost, **rest
    )


async def held(till: Till, id: str, *wanted: tuple[Quota, int], row: Row | None = None) -> Hold:
    got = await till.hold(id, wanted, row)
    assert isinstance(got, Hold), got
    return got


async def short(till: Till, *wanted: tuple[Quota, int]) -> Short:
    got = await till.hold("short", wanted)
    assert isinstance(got, Short), got
    return got


async def count(till: Till, quota: Quota) -> tuple[int, int]:
    """Used and held, in the period of now."""
    (usage,) = await till.report([quota])
    return usage.used, usage.held


async def rows(store: Store) -> list[dict[str, Any]]:
    """All that the ledger would get, in order; the first of each attempt."""
    entries = await store.call("XRANGE", STREAM, "-", "+")
    found: dict[str, dict[str, Any]] = {}
    for _, fields in entries:
        for encoded in fields[1::2]:
            one = json.loads(encoded)
            found.setdefault(one["attempt"], one)
    return list(found.values())
