"""The ledger's writer: from the stream into the database, in a process of its own.

Read a batch, commit it in one transaction, acknowledge it: in this order, so that a batch whose writer died comes
again, and the tables take of each attempt its first row alone. All waiting for the database is done in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from msgspec import json, structs

from gateway.errors import StoreFault
from gateway.ledger.batch import Batch, Entry, read
from gateway.ledger.database import Database
from gateway.ledger.faults import DatabaseFault
from gateway.ledger.stream import READ, Stream
from gateway.ledger.watch import Writer as Said

FULL_ROWS = 1000
POLL_SECONDS = 0.2
"""Between two looks where the last one did not fill a batch: also how old a row is at most when it is written."""
TURN_SECONDS, CLAIM_SECONDS, TELL_SECONDS, TEND_SECONDS = 2.0, 5.0, 2.0, 3600.0
"""How often a writer asks for its turn, takes over, tells of itself, and looks after partitions and retention."""
PAUSE_FIRST, PAUSE_MOST = 0.5, 10.0
"""Between two tries while the database is away."""
LAST_SECONDS = 3.0
"""What is left may take so long when the writer is told to end; what is not written stays on the stream."""

T = TypeVar("T")
_log = logging.getLogger("gateway")


@dataclass(slots=True)
class Every:
    """True at most once in so many seconds."""

    seconds: float
    due: float = field(default=0.0)

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self.due:
            return False
        self.due = now + self.seconds
        return True


def _nothing() -> None:
    """For a look whether the database is there."""


class TurnLost(Exception):
    """Another writer has it now: what was read is left to that one."""


class Writer:
    def __init__(self, stream: Stream, database: Database) -> None:
        self._stream, self._database = stream, database
        self._stop = asyncio.Event()
        self._open = False
        """The schema was looked at since the database last failed."""
        self._said = Said(at=0.0, host=socket.gethostname(), where=database.where)
        self._ask, self._tell, self._claim = Every(TURN_SECONDS), Every(TELL_SECONDS), Every(CLAIM_SECONDS)
        self._tend, self._tidy = Every(TEND_SECONDS), Every(TEND_SECONDS)
        self._ours = database.shared

    def stop(self) -> None:
        """Has `run` return once what lies on the stream is written, or LAST_SECONDS are over."""
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`. Neither the store nor the database can make it fail: it waits for them."""
        try:
            while not self._stop.is_set():
                if not await self._turn():
                    await self._wait(POLL_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    while await self._turn():
                        pass
        finally:
            with suppress(StoreFault):
                await self._stream.leave()
            await asyncio.to_thread(self._database.close)

    async def _turn(self) -> bool:
        """Writes what waits, up to a batch, if it is this writer's turn; whether there may be more at once."""
        try:
            await self._still_ours()
            if not self._open:
                await self._insist(_nothing)
            if self._tend():
                await self._tended()
            batch, more = await self._gather()
            if batch.ids:
                _, refused = await self._insist(partial(self._database.store, batch.rows, batch.minutes))
                await self._done(batch, refused)
            if self._tidy():
                await self._stream.tidy()
        except (StoreFault, DatabaseFault, TurnLost):
            return False
        return more

    async def _tended(self) -> None:
        """Tried once: upkeep that fails must not keep rows out. It is due again, at once where there is more of it."""
        try:
            if await asyncio.to_thread(self._database.tend):
                self._tend.due = 0.0
        except DatabaseFault as fault:
            fields = {"where": self._database.where, "why": str(fault)}
            _log.warning("the ledger's upkeep failed; rows are written all the same", extra={"fields": fields})

    async def _gather(self) -> tuple[Batch, bool]:
        """What waits: first what others left behind. A reply of the store that is lost comes again as if its reader
        had died."""
        entries: list[Entry] = []
        if self._claim():
            entries = await self._stream.claim()
        while (rows := sum(len(each.rows) for each in entries)) < FULL_ROWS:
            found = await self._stream.read()
            entries += found
            if len(found) < READ:
                break
        return read(entries), rows >= FULL_ROWS

    async def _insist(self, work: Callable[[], T]) -> T:
        """Until the database has done it. Raises TurnLost, or DatabaseFault where the writer is to end."""
        pause = PAUSE_FIRST
        while True:
            try:
                if not self._open:
                    schema = await asyncio.to_thread(self._database.open)
                    self._open = True
                    self._is(schema=schema)
                result = await asyncio.to_thread(work)
            except DatabaseFault as fault:
                self._away(str(fault))
                if self._stop.is_set():
                    raise
                await self._wait(pause)
                pause = min(2 * pause, PAUSE_MOST)
                with suppress(StoreFault):
                    await self._still_ours()
            else:
                self._back()
                return result

    async def _done(self, batch: Batch, refused: dict[int, str]) -> None:
        """What is committed leaves the stream, however often that has to be said."""
        aside = batch.and_refused(refused)
        for each in aside:
            _log.error("a row of the ledger is set aside", extra={"fields": {"why": each.why}})
        while True:
            try:
                return await self._stream.done(batch.ids, aside)
            except StoreFault:
                if self._stop.is_set():
                    raise  # they come again, and the tables know them
                await self._wait(POLL_SECONDS)

    async def _still_ours(self) -> None:
        """Says how things are, and asks for the turn where only one may write. Raises StoreFault, TurnLost."""
        if self._tell():
            with suppress(StoreFault):  # a full store does not take it, and rows are to leave it all the same
                await self._stream.tell(json.encode(structs.replace(self._said, at=time.time())))
        if not self._database.shared and self._ask():
            self._ours = False
            self._ours = await self._stream.take_turn()
        if not self._ours:
            raise TurnLost

    def _away(self, why: str) -> None:
        self._open = False
        if self._said.away_since is None:
            fields = {"where": self._database.where, "why": why}
            _log.error("the ledger cannot be written; rows stay in the store", extra={"fields": fields})
        since = self._said.away_since or time.time()
        self._is(fault=why, away_since=since)

    def _back(self) -> None:
        if self._said.away_since is not None:
            seconds = round(time.time() - self._said.away_since, 1)
            _log.warning("the ledger is written again", extra={"fields": {"away_seconds": seconds}})
            self._is(fault=None, away_since=None)

    def _is(self, **changed: object) -> None:
        """What is told of this writer has changed: it is told with the next look."""
        self._said = structs.replace(self._said, **changed)
        self._tell.due = 0.0

    async def _wait(self, seconds: float) -> None:
        """Cut short by `stop`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
