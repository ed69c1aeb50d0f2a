"""What an attempt of a job holds outlives the process that set it aside: it is kept under the job's name.

An attempt that is kept stands in one hash of the store, with what it holds and the row that the ledger gets should
nobody ever tell what became of it. Whoever takes that entry out books it, in the same script; so it is booked once,
however many processes believe that they have to, and none of them dies with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from gateway.errors import StoreFault
from gateway.model import NOT_SENT, Fate, Hold, Quota, Row, Share
from gateway.money.counters import KEPT_KEY, Counters, Standing
from gateway.money.purse import Settlement, charged, loose
from gateway.store.connection import Store

SCAN_COUNT = 100
PAUSE_SECONDS = 0.1


class Entry(msgspec.Struct, frozen=True):
    """As the store has it."""

    job: str
    shares: tuple[Share, ...]
    row: Row

    def encoded(self) -> bytes:
        """Without what only alarms need: a webhook's address may hold a secret."""
        bare = tuple(one._replace(quota=replace(one.quota, webhook=None, warn_at=())) for one in self.shares)
        return msgspec.json.encode(Entry(self.job, bare, self.row))


_decode = msgspec.json.Decoder(Entry).decode


@dataclass(slots=True)
class Known:
    """A kept attempt that this process may settle. `epoch` '' while the store has not said that it keeps it; `void`:
    it never will, or somebody else has booked what it held."""

    shares: tuple[Share, ...]
    epoch: str = ""
    void: bool = False
    entry: Entry | None = None
    """What this process had kept; None: another one did."""


@dataclass(frozen=True, slots=True)
class Closing:
    """A kept attempt that is over, as it is to be told."""

    attempt: str
    known: Known
    used: Callable[[Quota], int]
    row: bytes | None


class Host(NamedTuple):
    """What the till does for it: `joined` makes the store know this replica, `heard` takes what the store said of it,
    `take_over` tells whether a hold was still the till's own and makes it so no more, `moved` that it is kept, and
    `told` whether the store has heard of all that is over."""

    joined: Callable[[], Awaitable[bool]]
    heard: Callable[[str, Standing], None]
    take_over: Callable[[Hold], bool]
    moved: Callable[[str, Sequence[Share]], None]
    told: Callable[[], Awaitable[bool]]


class Keeping:
    """The kept attempts that this process works on, and those of which it has still to tell. The till's `book` and
    `give` settle them as any other."""

    def __init__(self, store: Store, counters: Counters, host: Host) -> None:
        self._store, self._counters, self._host = store, counters, host
        self._keeps = 0
        self._known: dict[str, Known] = {}
        self._closing: list[Closing] = []

    @property
    def owes(self) -> bool:
        """Whether something is over that the store has not heard of."""
        return bool(self._closing)

    def knows(self, attempt: str) -> bool:
        return attempt in self._known

    async def keep(self, job: str, row: Row, hold: Hold | None = None) -> Hold:
        """From now on what this attempt holds is kept under the name of its job, and outlives this process: whichever
        process works on the job then settles it (`adopt`). `row` as in `Till.hold`.

        Call it before anything is sent. It returns once the store has said so, and waits while that is away; where it
        raises StoreFault, what was held is void, and nothing may be sent; `book` then does what is right.
        """
        shares = () if hold is None else hold.shares
        known = self._known[row.attempt] = Known(shares)
        if hold is not None:
            known.void = not self._host.take_over(hold) and bool(shares)
        known.entry = Entry(job, shares, row)
        await asyncio.shield(asyncio.create_task(self._keep(known, known.entry)))
        return Hold(row.attempt, shares)

    async def stands(self, attempt: str) -> bool:
        """Whether the store still has what `keep` was told that it keeps: one that fell comes back without what it had
        not written. That is kept anew then; raises StoreFault where it cannot be, as `keep`."""
        known = self._known.get(attempt)
        if known is None or known.entry is None:
            return True
        while True:
            try:
                there = await self._store.call("HEXISTS", KEPT_KEY, attempt)
                break
            except StoreFault:
                await asyncio.sleep(PAUSE_SECONDS)
        if not there:
            await asyncio.shield(asyncio.create_task(self._keep(known, known.entry)))
        return bool(there)

    def close(self, attempt: str, used: Callable[[Quota], int], row: bytes | None) -> None:
        """It is over; told with the next `tell`."""
        self._closing.append(Closing(attempt, self._known.pop(attempt), used, row))

    def leave(self, attempt: str) -> None:
        """Another process goes on with it: what this one still says of it changes nothing."""
        if (known := self._known.get(attempt)) is not None:
            known.void = True

    async def adopt(self, attempt: str) -> Hold | None:
        """What is kept of an attempt that another process began; None: it was booked. Raises StoreFault."""
        await self._host.joined()
        entry = await self._entry(attempt)
        if entry is None:
            return None
        self._known[attempt] = Known(entry.shares, self._counters.epoch)
        return Hold(attempt, entry.shares)

    async def tell(self, push: Callable[[Settlement], None]) -> None:
        """All that is over and known to be kept. `push` gets what the store has forgotten. Raises StoreFault."""
        for one in list(self._closing):
            if not one.known.void:
                if not one.known.epoch:
                    continue
                standing = await self._counters.close(
                    one.known.epoch, one.attempt, one.known.shares, one.used, one.row, lost=False
                )
                if standing is Standing.FLUSHED:
                    push(Settlement(one.row, loose(one.known.shares, one.used)))
            self._closing.remove(one)

    async def told(self) -> None:
        """Returns once the store has heard of all that is over. Raises StoreFault."""
        if not await self._host.told():
            raise StoreFault("the store has not taken what is over")

    async def lost(self, attempt: str) -> None:
        """Nobody will tell what became of it: booked at what was set aside. Raises StoreFault."""
        await self._close(attempt, lambda row: row)

    async def unsent(self, attempt: str) -> None:
        """It surely never left: what was set aside goes back, and its row says that it cost nothing. Raises
        StoreFault."""
        await self._close(attempt, _unsent)

    async def sweep(self, fate_of: Callable[[str, str], Awaitable[Fate]]) -> None:
        """Either of these for each that is not `open`, by the ids of its job and its own. Raises StoreFault."""
        for attempt, fate in await self._orphans(fate_of):
            await (self.unsent(attempt) if fate == "unsent" else self.lost(attempt))

    async def _close(self, attempt: str, booked: Callable[[Row], Row]) -> None:
        await self._host.joined()
        entry = await self._entry(attempt)
        if entry is None:
            return
        row = booked(entry.row)
        await self._counters.close(
            self._counters.epoch,
            attempt,
            entry.shares,
            lambda quota: charged(row, quota),
            msgspec.json.encode(row),
            lost=row.state == "unreconciled",
        )

    async def _orphans(self, fate_of: Callable[[str, str], Awaitable[Fate]]) -> list[tuple[str, Fate]]:
        found, cursor = list[tuple[str, Fate]](), b"0"
        ours = {name for name, known in self._known.items() if not known.void}
        ours.update(one.attempt for one in self._closing if not one.known.void)
        while True:
            cursor, pairs = await self._store.call("HSCAN", KEPT_KEY, cursor, "COUNT", SCAN_COUNT)
            for attempt, entry in zip(map(bytes.decode, pairs[::2]), pairs[1::2], strict=True):
                if attempt not in ours and (fate := await fate_of(_decode(entry).job, attempt)) != "open":
                    found.append((attempt, fate))
            if cursor == b"0":
                return found

    async def _keep(self, known: Known, entry: Entry) -> None:
        owner, shares = self._counters.owner, entry.shares
        while not known.void:
            self._keeps += 1
            try:
                await self._host.joined()
                standing = await self._counters.keep(self._keeps, entry.row.attempt, entry.encoded(), shares)
            except StoreFault:
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                if standing is Standing.OK:
                    if not known.epoch:  # else the store has only moved it once more
                        self._host.moved(owner, shares)
                    known.epoch = self._counters.epoch
                    return
                self._host.heard(owner, standing)
            known.void = known.void or (bool(shares) and owner != self._counters.owner)
        raise StoreFault("what was set aside is void")

    async def _entry(self, attempt: str) -> Entry | None:
        entry = await self._store.call("HGET", KEPT_KEY, attempt)
        return None if entry is None else _decode(entry)


def _unsent(row: Row) -> Row:
    return replace(row, cost=0, basis="none", state="settled", result=NOT_SENT)
