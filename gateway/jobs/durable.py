"""When a write is on the store's disk: a job is acknowledged, and a paid order sent, only after that.

The store's append-only file is synced once a second (`appendfsync everysec`), or with every write (`always`). WAITAOF
(Valkey, and Redis from 7.2 on) waits for it. That blocks its connection, so it has one of its own; and everybody who
waits at the same time waits for the same sync: a job waits half a second on average, ten thousand wait no longer.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from gateway.errors import StartupFault, StoreFault
from gateway.store.connection import Store
from gateway.store.wire import ReplyFault

SYNC_KEY = "gw:{jobs}:sync"
SYNC_SECONDS = 5.0
"""Longest wait for one sync; everysec takes two at most, while another one is under way."""
Durability = Literal["waitaof", "always", "weak", "unknown"]
_log = logging.getLogger("gateway")


class Durable:
    """`store` is a connection that nobody else uses, with a timeout above SYNC_SECONDS."""

    def __init__(self, store: Store, *, required: bool = False) -> None:
        self._store, self._required = store, required
        self.kind: Durability = "unknown"
        self._waiting: asyncio.Future[None] | None = None
        self._running: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """What this store can do; said in the log. Raises StartupFault where it is required to keep what it says, and
        does not; StoreFault where it does not answer."""
        appendonly, fsync = await self._setting("appendonly"), await self._setting("appendfsync")
        if appendonly != "yes":
            self.kind = "weak"
        elif await self._has_waitaof():
            self.kind = "waitaof"
        else:
            self.kind = "always" if fsync == "always" else "weak"
        fields = {"store": self._store.where, "durability": self.kind, "appendonly": appendonly, "appendfsync": fsync}
        if self.kind != "weak":
            _log.info("jobs are durable", extra={"fields": fields})
            return
        help_ = "set `appendonly yes` and, before Redis 7.2, `appendfsync always`"
        if self._required:
            raise StartupFault(
                f"jobs are only as durable as the store at {self._store.where}: {help_}, "
                "or GATEWAY_JOBS_DURABILITY=best"
            )
        _log.warning("jobs are only as durable as this store", extra={"fields": {**fields, "help": help_}})

    async def sync(self) -> None:
        """Returns once all that was written before this call is on disk, as far as this store can do that. Raises
        StoreFault: it may be, or not."""
        if self.kind == "unknown":
            await self.look()
        if self.kind != "waitaof":
            return
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
            self._waiting.add_done_callback(_heard)
        waiting = self._waiting
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await asyncio.shield(waiting)

    async def _run(self) -> None:
        """Syncs for all who wait, and once more for those who came meanwhile."""
        try:
            while (waiting := self._waiting) is not None:
                self._waiting = None
                try:
                    await self._once()
                except StoreFault as fault:
                    waiting.set_exception(fault)
                else:
                    waiting.set_result(None)
        finally:
            self._running = None

    async def _once(self) -> None:
        wrote = self._store.call("SET", SYNC_KEY, "", "EX", 60)
        synced = self._store.call("WAITAOF", 1, 0, round(SYNC_SECONDS * 1000))
        _, (local, _) = await asyncio.gather(wrote, synced)
        if local < 1:
            raise StoreFault("the store's append-only file was not synced in time")

    async def _setting(self, name: str) -> str:
        """Of the store; `?` where it does not tell: managed ones do not."""
        try:
            answer = await self._store.call("CONFIG", "GET", name)
        except ReplyFault:
            return "?"
        return answer[1].decode() if len(answer) > 1 else "?"

    async def _has_waitaof(self) -> bool:
        try:
            await self._once()
        except ReplyFault:
            return False
        return True


def _heard(waiting: asyncio.Future[None]) -> None:
    """Its fault is nobody's, where all who waited have left."""
    if not waiting.cancelled():
        waiting.exception()
