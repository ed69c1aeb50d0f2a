"""Looks at all budgets now and then: what is left of each, for metrics and soft ones, and who is to hear of it.

Each share of `warn_at` is told once in a budget's period, over all replicas: whoever sets its key in the store posts.
The key ends after PENDING_SECONDS unless the message was taken, so that one whose replica died is sent by another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Container, Coroutine
from contextlib import suppress
from hashlib import sha256
from typing import Any

import msgspec

from gateway.errors import StoreFault
from gateway.model import Per, Policy, Quota
from gateway.money.counters import Usage
from gateway.money.keeping import dollars, utc
from gateway.money.keys import Known, nobody
from gateway.money.purse import Left
from gateway.money.till import Till
from gateway.routing.quotas import all_quotas
from gateway.store.connection import Store

SECONDS = 2.0
PORTION = 200
"""Budgets that are looked at in one go: requests come in between."""
PENDING_SECONDS = 120
"""Longer than a message is tried for."""
TOLD_SECONDS: dict[Per, int] = {"minute": 3600, "day": 3 * 86400, "month": 40 * 86400, "total": 400 * 86400}
"""How long it is known that a share was told."""
WHOLE = 100
_TOLD = "gw:{money}:told:"
_log = logging.getLogger("gateway")
Post = Callable[[str, str, bytes], Awaitable[bool]]
"""Address, id and body of a message -> whether it was taken."""


class Alarms:
    """One per process. `issued` gives the keys made at run time, the same object as long as they are the same;
    `on_told(taken)` hears what became of each message."""

    def __init__(
        self,
        till: Till,
        store: Store,
        policy: Callable[[], Policy],
        post: Post,
        on_told: Callable[[bool], None] = lambda _: None,
        now: Callable[[], float] = time.time,
        others: Known = nobody,
    ) -> None:
        """`others`: whose budgets are not in the policy (`Keys.known`)."""
        self._till, self._store, self._policy, self._post = till, store, policy, post
        self._on_told, self._now, self._others = on_told, now, others
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused: set[str] = set()
        self._left: dict[str, Left | None] = {}
        """Budget -> what the till said of it when the store was last asked."""
        self._quiet: dict[str, float] = {}
        """Key of a share -> until when it is in the store (seconds since the epoch): nobody tells it before."""
        self.usages: dict[str, Usage] = {}
        """Budget -> what the store last said of it."""

    def refused(self, quota: Quota) -> None:
        """A hard one had no room for an attempt: all of it is used up for such a one."""
        self._refused.add(quota.name)

    def past(self, quota: Quota) -> bool:
        """Whether a soft one is used up, or set aside. What the till knows counts where it is newer than the last look:
        what others settled since it last drew is missing there."""
        known = self.usages.get(quota.name)
        if known is not None and (known.resets is None or self._now() < known.resets):
            if known.used + known.held >= quota.cap:
                return True
            if self._till.left(quota) == self._left.get(quota.name):
                return False
        return self._till.level(quota) >= 1

    def ratios(self) -> dict[str, float]:
        """What is left, 0 to 1, of the budgets of tenants and of budgets.yaml: as many as the policy has."""
        return {
            name: max(0.0, one.left / one.quota.cap)
            for name, one in self.usages.items()
            if one.quota.of != "key" and one.quota.cap
        }

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(SECONDS)

    async def look(self) -> None:
        budgets, refused = await self._budgets(), self._refused
        try:
            left = {one.name: self._till.left(one) for one in budgets}
            usages: list[Usage] = []
            for at in range(0, len(budgets), PORTION):
                usages += await self._till.report(budgets[at : at + PORTION])
            self.usages, self._left, self._refused = {one.quota.name: one for one in usages}, left, set()
            due = {_key(one, percent): (one, percent) for one in usages for percent in _reached(one, refused)}
            self._quiet = {key: until for key, until in self._quiet.items() if key in due}
            for key, (one, percent) in due.items():
                if self._quiet.get(key, 0.0) <= self._now():
                    await self._tell(key, one, percent)
        except StoreFault:
            self._refused |= refused  # the next look tells

    async def aclose(self) -> None:
        """Messages under way are given up; another replica sends them when their key ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _budgets(self) -> tuple[Quota, ...]:
        """Those that somebody asks about here: of the many of single keys, the ones that tell or are soft."""
        policy = self._policy()
        found = all_quotas(policy, await self._others(policy))
        return tuple(one for one in found if one.unit == "usd" and (one.of != "key" or one.webhook or not one.hard))

    async def _tell(self, key: str, usage: Usage, percent: int) -> None:
        lasts = PENDING_SECONDS
        if await self._store.call("SET", key, "", "NX", "EX", lasts):
            self._later(self._send(usage, percent, key))
        else:
            lasts = await self._store.call("TTL", key)
        self._quiet[key] = self._now() + lasts

    async def _send(self, usage: Usage, percent: int, key: str) -> None:
        assert usage.quota.webhook is not None  # noqa: S101 - `look` has seen to that
        taken = await self._post(usage.quota.webhook, message_id(key), message(usage, percent, self._now()))
        self._on_told(taken)
        if not taken:
            fields = {"fields": {"budget": usage.quota.name, "percent": percent}}
            _log.warning("a webhook did not take a message; it is tried again later", extra=fields)
            return
        lasts = TOLD_SECONDS[usage.quota.per]
        self._quiet[key] = self._now() + lasts
        with suppress(StoreFault):
            await self._store.call("SET", key, "", "EX", lasts)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _reached(usage: Usage, refused: Container[str]) -> list[int]:
    """Shares of it, in per cent, that somebody is to hear of. `refused`: budgets that had no room for an attempt."""
    quota = usage.quota
    if not quota.webhook:
        return []
    full = quota.name in refused
    return [
        percent for percent in quota.warn_at if usage.used * WHOLE >= percent * quota.cap or (full and percent == WHOLE)
    ]


def _key(usage: Usage, percent: int) -> str:
    return f"{_TOLD}{usage.quota.name}:{usage.quota.cap}:{usage.period}:{percent}"


def message_id(key: str) -> str:
    """The same for the same share of the same period, whoever sends it."""
    return "msg_" + sha256(key.encode()).hexdigest()[:32]


def message(usage: Usage, percent: int, now: float) -> bytes:
    """JSON. Amounts are USD in decimals, as text."""
    quota = usage.quota
    data = {
        "budget": quota.name,
        "percent": percent,
        "hard": quota.hard,
        "per": quota.per,
        "period": usage.period,
        "cap_usd": dollars(quota.cap),
        "used_usd": dollars(usage.used),
        "held_usd": dollars(usage.held),
        "resets": None if usage.resets is None else utc(usage.resets),
    }
    return msgspec.json.encode({"type": "budget.threshold", "timestamp": utc(now), "data": data})
