"""Jobs as their callers see them: accepted, read, listed, cancelled, forgotten. `fences.py` is the runners' side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from gateway.errors import JobConflict, NoCapacity, NotFound, RateLimited, StoreFault
from gateway.jobs.durable import Durable
from gateway.jobs.ids import JobPrefix
from gateway.jobs.record import Job
from gateway.jobs.scripts import (
    DEADLINES_KEY,
    FIELDS,
    JOB_KEY,
    OF_KEY,
    ONCE_KEY,
    PATIENCE_SECONDS,
    UNKNOWN_KEY,
    Scripts,
    encoded,
    script,
)
from gateway.jobs.sealing import Vault
from gateway.model import NOT_SENT, Fate
from gateway.store.connection import Store

_ACCEPT, _CANCEL, _FORGET = (script(name) for name in ("accept", "cancel", "forget"))
LONGEST_SECONDS = 3600.0
MOST_OPEN = 20_000
MOST_BYTES = 1 << 30
RETRY_SECONDS = 5
FULL_RETRY_SECONDS = 30
PAGE = 100
"""Most jobs of one page."""


class Shelf:
    """`longest` is seconds from acceptance after which a job ends as `expired`; `most` bounds a tenant's jobs that are
    not over, `room` the bytes that all of them ask for: a store that is full is none for anybody. A tenant has half of
    it. Reads raise StoreFault where the store is away."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        durable: Durable,
        *,
        longest: float = LONGEST_SECONDS,
        most: int = MOST_OPEN,
        room: int = MOST_BYTES,
        patience: float = PATIENCE_SECONDS,
        store_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._scripts, self._vault, self._durable = Scripts(store, store_ms), vault, durable
        self._longest, self._most, self._room, self._patience = longest, most, room, patience

    def new_id(self, prefix: JobPrefix, tenant: str) -> str:
        """An id that nobody can guess, and that only this tenant's callers can use."""
        return self._vault.ids.new(prefix, tenant)

    async def accept(self, job: Job, body: bytes, *, once: str | None = None, said: bytes | None = None) -> Job:
        """Takes a job in; it is on the store's disk when this returns, and will end.

        `job.id` is of `new_id`; `created`, `expires` and `deadline` are moved to the store's clock. `body` is all that
        is needed to do the work anywhere, any time later; it is sealed. `once` is the caller's Idempotency-Key: the
        same key with the same `said` (None: `body`) gives the job that it brought before, so that must not hold what
        differs between two such calls. Raises JobConflict for another one, RateLimited, and NoCapacity where there is
        no room or the store is away: then the job may be there all the same, under that key.
        """
        tenant = job.tenant
        seconds = self._longest if job.deadline is None else min(self._longest, job.deadline - job.created)
        more = [] if once is None else [self._once(tenant, once)]
        try:
            word, id = await self._scripts.insist(
                _ACCEPT,
                job.id,
                tenant,
                encoded(job),
                self._vault.close(job.id, tenant, body),
                round(max(0.0, seconds) * 1000),
                round(max(seconds, job.expires - job.created) * 1000),
                self._vault.digest(body if said is None else said),
                self._most,
                self._room,
                more=more,
                seconds=self._patience,
            )
            if word == b"other":
                raise JobConflict("this Idempotency-Key came before with another body: use a new one for a new request")
            if word == b"full":
                raise RateLimited(
                    f"{self._most} jobs of this tenant are not over yet; wait for some to end",
                    retry_after=FULL_RETRY_SECONDS,
                )
            if word == b"heavy":
                raise NoCapacity("what waiting jobs ask for fills its room", retry_after=FULL_RETRY_SECONDS)
            await self._synced(id.decode(), again=once is not None)
            return await self._read(id.decode())
        except StoreFault as fault:
            raise NoCapacity("jobs cannot be taken in now: the store is away", retry_after=RETRY_SECONDS) from fault

    async def _synced(self, id: str, *, again: bool) -> None:
        """Raises StoreFault. A job whose caller is told no, and has no key to ask for it `again`, is to end."""
        try:
            await self._durable.sync()
        except StoreFault:
            if not again:
                with suppress(StoreFault):
                    await self._scripts.run(_CANCEL, id)
            raise

    async def came_before(self, tenant: str, once: str) -> bool:
        """Whether a job came with this Idempotency-Key, and is still there. Raises StoreFault."""
        return bool(await self._scripts.store.call("EXISTS", self._once(tenant, once)))

    def _once(self, tenant: str, once: str) -> str:
        return ONCE_KEY + self._vault.digest(tenant.encode(), once.encode())

    async def body(self, job: Job) -> bytes:
        """What `accept` was given. Raises StoreFault, and BadSeal: it was sealed under another key, or is gone."""
        sealed = await self._scripts.store.call("HGET", JOB_KEY + job.id, "sealed")
        return self._vault.open(job.id, job.tenant, sealed or b"")

    async def read(self, id: str, tenant: str) -> Job:
        """Raises NotFound: unknown, forged, forgotten or another tenant's, all the same."""
        if self._vault.ids.known(id, tenant):
            return await self._read(id)
        raise _unknown()

    async def page(
        self, tenant: str, *, after: str | None = None, limit: int = 20, oldest_first: bool = False
    ) -> tuple[list[Job], bool]:
        """The newest first, or the oldest, those after the job `after`; and whether there are more. Raises NotFound for
        an `after` that is not there."""
        key, limit, first = OF_KEY + tenant, max(1, min(limit, PAGE)), 0
        rank_of, range_of = ("ZRANK", "ZRANGE") if oldest_first else ("ZREVRANK", "ZREVRANGE")
        if after is not None:
            rank = await self._scripts.store.call(rank_of, key, after)
            if rank is None:
                raise NotFound("`after` names no job of yours", param="after")
            first = rank + 1
        ids = await self._scripts.store.call(range_of, key, first, first + limit)
        return await self._found(ids[:limit]), len(ids) > limit

    async def find(self, ids: Sequence[str]) -> list[Job]:
        """Of any tenant: for what the gateway does by itself. Those that are there."""
        return await self._found([id.encode() for id in ids])

    async def cancel(self, id: str, tenant: str) -> Job:
        """Asks for its end: at once where nobody began it, else by whoever works on it. What is over stays as it is.
        Raises NotFound, StoreFault."""
        if not self._vault.ids.known(id, tenant) or not await self._scripts.insist(_CANCEL, id):
            raise _unknown()
        return await self._read(id)

    async def forget(self, ids: Sequence[str]) -> int:
        """Takes out the records of those that are over; how many that were. Its artefacts must be gone by then."""
        return int(await self._scripts.insist(_FORGET, *ids)) if ids else 0

    async def fate(self, id: str, attempt: str) -> Fate:
        """Of an attempt that was made for a job. What is over wrote down each that left before it did."""
        found = await self._found([id.encode()])
        if not found:
            return "unknown"
        if not found[0].over:
            return "open"
        if found[0].unknown and not found[0].tries:  # its record could not be read
            return "unknown"
        left = any(one.attempt == attempt and one.result != NOT_SENT for one in found[0].tries)
        return "unknown" if left else "unsent"

    async def unknown(self, limit: int = PAGE) -> list[Job]:
        """Of all tenants, the newest first: something may have been bought for them of which nobody knows."""
        return await self._found(await self._scripts.store.call("ZREVRANGE", UNKNOWN_KEY, 0, limit - 1))

    async def unfinished(self, limit: int = PAGE) -> list[Job]:
        """Of all tenants, those that are not over; the one whose deadline comes first before all others."""
        return await self._found(await self._scripts.store.call("ZRANGE", DEADLINES_KEY, 0, limit - 1))

    async def _read(self, id: str) -> Job:
        values = await self._scripts.store.call("HMGET", JOB_KEY + id, *FIELDS)
        if values[0] is None:
            raise _unknown()
        return await self._scripts.readable(id, values)

    async def _found(self, ids: Sequence[bytes]) -> list[Job]:
        """In one pipeline; those that went meanwhile are left out."""
        rows = await asyncio.gather(*(self._scripts.store.call("HMGET", JOB_KEY + id.decode(), *FIELDS) for id in ids))
        pairs = [(id.decode(), values) for id, values in zip(ids, rows, strict=True) if values[0] is not None]
        return [await self._scripts.readable(id, values) for id, values in pairs]


def _unknown() -> NotFound:
    return NotFound("no such job")
