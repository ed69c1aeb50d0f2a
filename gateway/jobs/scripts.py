"""What lies in the store of jobs (`jobs.lua` describes the keys), and the one way to run a script over it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.errors import StoreFault
from gateway.jobs.record import UNKNOWN_OUTCOME, Job
from gateway.store.connection import Store
from gateway.store.scripts import Script, load
from gateway.store.target import Value

CHANNEL = "gw:jobs"
"""`work`: there is something to take; `cancel ID`; `moved ID`: it has another state or progress."""
JOB_KEY, OF_KEY, ONCE_KEY = "gw:{jobs}:job:", "gw:{jobs}:of:", "gw:{jobs}:once:"
DEADLINES_KEY, UNKNOWN_KEY = "gw:{jobs}:deadlines", "gw:{jobs}:unknown"
KEYS = (
    "gw:{jobs}:owners",
    "gw:{jobs}:ring",
    "gw:{jobs}:orphans",
    DEADLINES_KEY,
    "gw:{jobs}:ended",
    UNKNOWN_KEY,
    "gw:{jobs}:open",
)
FIELDS = ("job", "state", "cancel", "created", "expires", "deadline", "started", "ended")
"""Of a job's hash, in the order of `decoded`: all but what was asked, which may be large (`Shelf.body`)."""
BEGUN = (b"running", b"failed")
"""States of a job for which something may have been bought."""
CALL_SECONDS = 2.0
"""A job can wait longer for the store than a request; its connections are its own."""
PATIENCE_SECONDS, PAUSE_SECONDS = 5.0, 0.1

_decode = msgspec.json.Decoder(Job).decode


def script(name: str) -> Script:
    return load("gateway.jobs", "jobs", name)


class Scripts:
    """`store_ms` replaces the store's clock in tests (0: its own)."""

    def __init__(self, store: Store, store_ms: Callable[[], int] = lambda: 0) -> None:
        self.store, self._store_ms = store, store_ms

    async def run(self, one: Script, *args: Value, more: Sequence[str] = ()) -> Any:
        """Raises StoreFault."""
        return await self.store.eval(one, [*KEYS, *more], [self._store_ms(), *args])

    async def insist(
        self, one: Script, *args: Value, more: Sequence[str] = (), seconds: float = PATIENCE_SECONDS
    ) -> Any:
        """The same, again and again while the store is away. Every script here may be repeated: it then says what it
        said, or would have said. Raises StoreFault after so many seconds."""
        until = time.monotonic() + seconds
        while True:
            try:
                return await self.run(one, *args, more=more)
            except StoreFault:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def readable(self, id: str, values: Sequence[bytes | None]) -> Job:
        """The values of FIELDS, or what stands in for a record that this version cannot read. Raises StoreFault."""
        try:
            return decoded(values)
        except msgspec.DecodeError:
            return await self.stand_in(id, values)

    async def stand_in(self, id: str, values: Sequence[bytes | None]) -> Job:
        """For a job whose record cannot be read, with what its hash says beside that (`values` of FIELDS). Raises
        StoreFault."""
        tenant = (await self.store.call("HGET", JOB_KEY + id, "tenant") or b"").decode()
        _, state, *rest = values
        bare = Job(
            id=id,
            request="",
            tenant=tenant,
            key="",
            model="",
            endpoint="videos" if id.startswith("video_") else "images/generations",
            policy="",
            created=0.0,
            expires=0.0,
            error=(UNKNOWN_OUTCOME, "the record of this job cannot be read") if state in BEGUN else None,
        )
        return decoded([encoded(bare), state, *rest])


def encoded(job: Job) -> bytes:
    """What of a job is kept as one: the other fields are the scripts' own."""
    return msgspec.json.encode(
        msgspec.structs.replace(
            job,
            state="queued",
            cancel=False,
            created=0.0,
            expires=0.0,
            deadline=None,
            started=None,
            ended=None,
        )
    )


def decoded(values: Sequence[bytes | None]) -> Job:
    """The values of FIELDS."""
    text, state, cancel, *moments = values
    created, expires, deadline, started, ended = (float(value) / 1000 if value else None for value in moments)
    return msgspec.structs.replace(
        _decode(text or b""),
        state=(state or b"").decode(),
        cancel=bool(cancel),
        created=created,
        expires=expires,
        deadline=deadline,
        started=started,
        ended=ended,
    )
