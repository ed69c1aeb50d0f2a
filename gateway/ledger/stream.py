"""The writer's end of the stream that gateways put rows on: a consumer group of the store.

An entry belongs to whoever read it until it is acknowledged; of a writer that died the others take it over. The stream
ends where the group does: what is acknowledged is removed in the same step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.ledger.batch import Entry, Refused, entry
from gateway.ledger.watch import REFUSED, STATE
from gateway.money.till import STREAM
from gateway.store.connection import Store
from gateway.store.scripts import load
from gateway.store.wire import ReplyFault

GROUP = "writers"
STORE_SECONDS = 2.0
"""How long the store may take for a whole batch: nobody waits for the writer."""
WRITER = "gw:{money}:ledger:writer"
READ = 64
"""Entries of one look: up to 4,096 rows."""
TURN_MS = 6_000
"""How long one that died keeps others from writing to SQLite."""
CLAIM_MS = 15_000
"""An entry that is not acknowledged after so long is taken over; longer than any batch should take."""
GONE_MS = 3_600_000
_BEGIN, _DONE, _TURN, _TIDY = (load("gateway.ledger", name) for name in ("begin", "done", "turn", "tidy"))


class Stream:
    """Every call raises StoreFault."""

    def __init__(self, store: Store, writer: str, claim_ms: int = CLAIM_MS) -> None:
        self._store, self._writer, self._claim_ms = store, writer, claim_ms
        self._cursor: bytes | str = "0-0"

    async def begin(self) -> None:
        """The group from the stream's first entry on, where it is not there."""
        await self._store.eval(_BEGIN, [STREAM, STATE], [GROUP, self._writer])

    async def read(self) -> list[Entry]:
        """Entries that nobody has read; none where there are no more."""
        reply = await self._grouped("XREADGROUP", "GROUP", GROUP, self._writer, "COUNT", READ, "STREAMS", STREAM, ">")
        return [] if reply is None else [entry(*each) for each in reply[0][1]]

    async def claim(self) -> list[Entry]:
        """Entries that their reader has not acknowledged in time; call again until there are none."""
        self._cursor, found, *_ = await self._grouped(
            "XAUTOCLAIM", STREAM, GROUP, self._writer, self._claim_ms, self._cursor, "COUNT", READ
        )
        return [entry(*each) for each in found if each is not None]

    async def done(self, ids: Sequence[bytes], refused: Sequence[Refused] = ()) -> None:
        """To be called once their rows are committed, and not before. Doing it again changes nothing."""
        words = [word for each in refused for word in each]
        await self._store.eval(_DONE, [STREAM, REFUSED], [GROUP, len(ids), *ids, *words])

    async def take_turn(self) -> bool:
        """Whether this writer alone may write for the next TURN_MS."""
        return bool(await self._store.eval(_TURN, [WRITER], [self._writer, TURN_MS]))

    async def give_turn(self) -> None:
        await self._store.eval(_TURN, [WRITER], [self._writer, 0])

    async def tell(self, state: bytes) -> None:
        """What others may know of this writer (`watch.py`)."""
        await self._store.call("HSET", STATE, self._writer, state)

    async def leave(self) -> None:
        await self._store.call("HDEL", STATE, self._writer)
        await self.give_turn()

    async def tidy(self) -> None:
        await self._store.eval(_TIDY, [STREAM, STATE], [GROUP, GONE_MS])

    async def _grouped(self, *command: str | int | bytes) -> Any:
        """An answer; the group is made again in a store that has lost it."""
        try:
            return await self._store.call(*command)
        except ReplyFault as fault:
            if fault.code != "NOGROUP":
                raise
        await self.begin()
        return await self._store.call(*command)
