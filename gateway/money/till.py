"""One replica's till: what may be used is held here before it is used, and what was used is told here after.

Quotas are counted in the store, by its clock, so that no two replicas can hold the same money. To spare requests the
way there, a replica draws a slice ahead (`purse.py`): at most a hundredth of what is left, for ten seconds. What is
over goes to the store in batches, counters and the rows of attempts in one script, so that the two cannot disagree; the
rows are entries of a stream that the ledger's writer reads (`gateway.ledger`): one field `row` per attempt, JSON.

Who dies leaves its name behind with what it held: the others find it silent and book all of that (beat.lua). Should it
come back, it begins anew under another name, and what it still has to tell of before changes nothing (ADR 23).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from gateway.errors import StoreFault
from gateway.model import Hold, Quota, Row, Share, Short
from gateway.money.counters import STREAM as STREAM
from gateway.money.counters import Answer, Counters, Spent, Standing
from gateway.money.kept import Host, Keeping
from gateway.money.openings import Openings
from gateway.money.purse import (
    CORRECTED,
    Delta,
    Left,
    Part,
    Purse,
    Settlement,
    Wanted,
    account_of,
    charged,
    loose,
)
from gateway.money.unsettled import Unsettled
from gateway.store.connection import Store

LINGER_SECONDS = 0.1
TICK_SECONDS = 1.0
PAUSES = (0.002, 0.005, 0.013, 0.030)
"""Between two looks for what others hold and do not use: 50 ms together, two exchanges of everybody asked."""
ASK_SECONDS = 1.0
"""Nobody is asked for the same quota more often: where all is in use, who comes too late hears so at once."""
LAST_SECONDS, LAST_PAUSE = 5.0, 0.05
"""For how long the last of it is told to a store that does not answer, and how often."""
NEVER = float("-inf")
TURNS_TO_THE_WIRE = 3
MANY = 32
"""Quotas whose slices are filled by one script."""
ASKED = "money "
"""What a message begins with by which another replica asks for idle slices (draw.lua)."""


class Till:
    """`clock` is monotonic seconds; `store_ms` replaces the store's clock in tests (0: its own). `on_drop` hears of
    each settlement that is lost because the store was away for too long. `rows`: whether there is a ledger for them.

    Hard quotas never have more used and held than their cap. Soft ones never refuse: ask `level` before.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        on_drop: Callable[[], None] = lambda: None,
        *,
        rows: bool = True,
        clock: Callable[[], float] = time.monotonic,
        store_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._counters = Counters(store, owner, store_ms)
        self._purse = Purse(self._counters.owner)
        self._clock, self._kept = clock, rows
        self._unsettled = Unsettled(on_drop)
        self._draws = self._drawing = 0
        self._unsure = False
        self._holds: dict[int, Hold] = {}
        self.kept = Keeping(
            store, self._counters, Host(self._joined, self._heard, self._take_over, self._moved, self._told)
        )
        """What attempts of jobs hold: it outlives this process."""
        self._openings = Openings(self._tell_opened, lambda: self._more.set())
        self._flushed: set[str] = set()
        self._asked: dict[str, float] = {}
        self._more, self._hurry = asyncio.Event(), asyncio.Event()
        self._telling = asyncio.Lock()
        self.fenced = 0
        """Settlements that came too late: others had found this replica silent, and booked what it held."""

    def take(self, id: str, wanted: Wanted, row: Row | None = None) -> Hold | None:
        """All of `wanted` at once out of what this replica has drawn already, or nothing: no look at the store. `row`
        as in `hold`; it is told to the store with this turn's pipeline."""
        shares = self._purse.take(wanted, self._clock()) if wanted else ()
        if shares is None:
            return None
        hold = Hold(id, shares)
        if shares:
            self._holds[_key(hold)] = hold
            if row is not None:
                self._openings.begin(id, shares, row)
        return hold

    async def hold(self, id: str, wanted: Wanted, row: Row | None = None) -> Hold | Short:
        """All of `wanted` or nothing. `row` is what the ledger gets of this attempt if this replica dies before
        `book`. Raises StoreFault where it takes a look at the store, and that is away.

        Where other replicas have what is missing, they are asked for what they do not use: PAUSES at most.
        """
        if (taken := self.take(id, wanted, row)) is not None:
            return taken
        for pause in PAUSES:
            got, others = await self._drawn(id, wanted, row)
            if isinstance(got, Hold) or not (self._unsettled.frees(got.quota) or (others and self._asks(got.quota))):
                return got
            await self.flush()
            await asyncio.sleep(pause)
        return (await self._drawn(id, wanted, row))[0]

    @staticmethod
    async def on_the_wire() -> None:
        """Returns once what was taken in this turn has been handed to the store's connection: who is killed from then
        on is known there. The next turn packs it, the one after that writes it, and then the writer's turn ends."""
        for _ in range(TURNS_TO_THE_WIRE):
            await asyncio.sleep(0)

    def give(self, hold: Hold, used: Callable[[Quota], int] = lambda _: 0) -> None:
        """What was held is settled at `used`, off the caller's path; once, however often it is called. Seats
        (`concurrent`) are never used up."""
        if self.kept.knows(hold.id):
            self.kept.close(hold.id, used, None)
            self._more.set()
        else:
            self._settle(hold, used, None)

    def book(self, row: Row, hold: Hold | None = None) -> None:
        """One attempt is over: its row, and what it held settled at `charged`. A hold without shares is of a kept
        attempt; where that is not known any more, it has been booked."""
        encoded = msgspec.json.encode(row) if self._kept else None
        if hold is not None and self.kept.knows(hold.id):
            self.kept.close(hold.id, lambda quota: charged(row, quota), encoded)
            self._more.set()
        elif hold is None:
            if encoded is not None:
                self._push(Settlement(encoded))
        elif hold.shares:
            self._settle(hold, lambda quota: charged(row, quota), encoded)

    def level(self, quota: Quota) -> float:
        """Which share of a quota is used or set aside, as the store last told this replica: above 1 where a soft one is
        past its cap; 0 where nothing has been asked of it in this period."""
        known = self.left(quota)
        return 0.0 if known is None else 1 - known.left / quota.cap if quota.cap else 1.0

    def left(self, quota: Quota) -> Left | None:
        """What is left of a quota for this replica, as the store last told; None where nothing has been asked of it in
        this period."""
        account = self._purse.current.get(quota.name)
        if account is None or account.ends <= self._clock():
            return None
        return Left(account.left + account.free, account.ending, account.resets)

    async def report(self, quotas: Sequence[Quota]) -> list[Spent]:
        """What the store counts of each, in the period of now. Raises StoreFault."""
        return await self._counters.usages(quotas)

    def heard(self, message: str) -> bool:
        """A message on this replica's channel; False where it is not about money."""
        if not message.startswith(ASKED):
            return False
        self._give_back(self._purse.asked(message.removeprefix(ASKED)))
        self._hurry.set()
        self._more.set()
        return True

    async def run(self) -> None:
        """Settles what is over, a batch at a time, and keeps slices as large as they are used, until cancelled; then
        everything goes back."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._settle_forever())
                group.create_task(self._tick_forever())
        finally:
            await asyncio.shield(self.aclose())

    async def aclose(self) -> None:
        """What is idle goes back, what is over is told, for LAST_SECONDS at most. What is still open is found by the
        others; what the store does not take by then is lost, and counted."""
        self._give_back(self._purse.emptied())
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self.flush()
                while self._unsettled or self.kept.owes:
                    await asyncio.sleep(LAST_PAUSE)
                    await self.flush()
        if self._unsettled:
            self._unsettled.lose()
        elif self._counters.joined:
            with suppress(StoreFault):
                await self._counters.leave()

    async def tick(self) -> None:
        """Once a second: this replica lives, who does not is found; idle slices go back, busy ones are filled."""
        self._give_back(self._purse.idle(self._clock()))
        try:
            if await self._joined():
                await self._beat()
            wanted = [(quota, 0) for quota in self._purse.wanting()]
            for at in range(0, len(wanted), MANY):
                await self._draw("", wanted[at : at + MANY], None)
        except StoreFault:
            return

    async def flush(self) -> None:
        """Everything that is over so far, in batches; what the store does not take stays for the next time."""
        async with self._telling:
            self._more.clear()
            try:
                await self._joined()
                self._openings.tell_again()
                await self._settle_all()
                await self.kept.tell(self._push)
                await self._settle_all()
            except StoreFault:
                self._more.set()

    async def _told(self) -> bool:
        """Whether the store has heard of all that is over, after one more try."""
        await self.flush()
        return not (self._unsettled or self.kept.owes)

    async def _settle_forever(self) -> None:
        while True:
            await self._more.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    await self._hurry.wait()
            self._hurry.clear()
            await self.flush()

    async def _tick_forever(self) -> None:
        while True:
            await self.tick()
            await asyncio.sleep(TICK_SECONDS)

    async def _joined(self) -> bool:
        """Makes the store know this replica; whether it did before."""
        if self._counters.joined:
            return True
        await self._counters.join()
        return False

    async def _beat(self) -> None:
        async with self._telling:
            await self._settle_all()
            # What the store has beyond `held` is lost only where nothing is under way that would explain it.
            unsure = self._unsure and self._drawing == 0
            owner, held = self._counters.owner, self._purse.held if unsure else {}
            standing = await self._counters.beat(self._draws if unsure else None, held)
            if unsure and standing is Standing.OK:
                self._unsure = False
            self._heard(owner, standing)

    async def _drawn(self, id: str, wanted: Wanted, row: Row | None) -> tuple[Hold | Short, bool]:
        """`_draw`, which goes on where its caller leaves: what it still gets goes back."""
        drawing = asyncio.create_task(self._draw(id, wanted, row))
        try:
            return await asyncio.shield(drawing)
        except asyncio.CancelledError:
            drawing.add_done_callback(self._unwanted)
            raise

    def _unwanted(self, drawing: asyncio.Task[tuple[Hold | Short, bool]]) -> None:
        if not drawing.cancelled() and drawing.exception() is None and isinstance(hold := drawing.result()[0], Hold):
            self.give(hold)

    async def _draw(self, id: str, wanted: Wanted, row: Row | None) -> tuple[Hold | Short, bool]:
        """One look at the store; and whether others hold as much as is missing."""
        for _ in range(2):  # a second time under a new name
            await self._joined()
            purse, sent = self._purse, self._clock()
            parts = purse.part(wanted, sent)
            opens = ("", b"") if row is None else (id, msgspec.json.encode(row))
            asks = any(sent - self._asked.get(quota.name, NEVER) >= ASK_SECONDS for quota, _ in wanted)
            self._draws += 1
            self._drawing += 1
            try:
                answer = await self._counters.draw(self._draws, self._unsettled.number, wanted, parts, opens, asks)
            except BaseException:
                self._undrawn(purse, parts, None if row is None else id)
                raise
            finally:
                self._drawing -= 1
            if purse is self._purse and answer.standing is Standing.OK:
                return self._granted(id, wanted, parts, answer, sent, row), False
            if purse is self._purse and answer.standing is Standing.SHORT:
                return self._refused(wanted, parts, answer, sent, asks), answer.others
            if answer.standing is Standing.REPEATED:
                self._undrawn(purse, parts, None)
            self._heard(purse.owner, answer.standing)
        raise StoreFault("the store does not keep what it is told")

    def _granted(
        self, id: str, wanted: Wanted, parts: Sequence[Part], answer: Answer, sent: float, row: Row | None
    ) -> Hold:
        shares, back = self._purse.granted(wanted, parts, answer.drawn, answer.at, sent)
        self._give_back(back)
        hold = Hold(id, shares)
        self._holds[_key(hold)] = hold
        if row is not None:
            self._openings.told(id, shares, row)
        return hold

    def _refused(self, wanted: Wanted, parts: Sequence[Part], answer: Answer, sent: float, asks: bool) -> Short:
        self._give_back(self._purse.refused(wanted, parts, answer.drawn, answer.at, sent))
        quota, told = wanted[answer.short][0], answer.drawn[answer.short]
        if asks and answer.others:
            self._asked[quota.name] = sent
        account = self._purse.current[quota.name]
        running = answer.running and quota.unit in CORRECTED
        return Short(quota, max(0, told.left) + account.free, account.ending, account.resets, running)

    def _undrawn(self, purse: Purse, parts: Sequence[Part], attempt: str | None) -> None:
        """No answer: the store may have granted it all the same. The next beat tells what this replica has."""
        if purse is self._purse:
            self._unsure = True
            self._push(Settlement(deltas=tuple(purse.undrawn(parts)), closed=attempt))

    def _take_over(self, hold: Hold) -> bool:
        self._openings.end(hold.id)
        return self._holds.pop(_key(hold), None) is not None

    def _moved(self, owner: str, shares: Sequence[Share]) -> None:
        if owner == self._purse.owner:
            for share in shares:
                self._purse.less(account_of(share.quota, share.period), share.amount)

    def _asks(self, quota: Quota) -> bool:
        """Whether others have just been asked for it, and may still answer."""
        return self._clock() - self._asked.get(quota.name, NEVER) < sum(PAUSES)

    def _tell_opened(self, entries: Mapping[str, bytes], failed: Callable[[], None]) -> None:
        self._counters.opened(entries, self._unsettled.number, failed)

    def _settle(self, hold: Hold, used: Callable[[Quota], int], row: bytes | None) -> None:
        if self._holds.pop(_key(hold), None) is None:
            return
        closed = hold.id if self._openings.end(hold.id) else None
        owner = hold.shares[0].slice or ""
        if owner == self._purse.owner:
            deltas = self._purse.settle(hold.shares, used, self._clock(), opened=closed is not None)
        elif owner in self._flushed:
            deltas = loose(hold.shares, used)
        else:
            self.fenced += 1
            return
        if row is not None or deltas or closed is not None:
            self._push(Settlement(row, deltas, closed))

    def _give_back(self, deltas: Sequence[Delta]) -> None:
        if deltas:
            self._push(Settlement(deltas=tuple(deltas)))

    def _push(self, one: Settlement) -> None:
        self._unsettled.push(one)
        self._more.set()

    async def _settle_all(self) -> None:
        while self._unsettled:
            batch, owner = self._unsettled.batch(), self._counters.owner
            standing = await self._counters.settle(self._unsettled.number, batch)
            if standing > 0:
                self._unsettled.told(batch)
            self._heard(owner, standing)
            await self._joined()

    def _heard(self, owner: str, standing: Standing) -> None:
        """This replica was found silent, or the store has lost its data: what was drawn is void, and it begins anew."""
        if standing >= 0 or owner != self._counters.owner:
            return
        if standing is Standing.FLUSHED:
            self._flushed.add(owner)
            self._openings.flushed()
            self._unsettled.flushed()
        else:
            self._openings.reaped()
            self.fenced += self._unsettled.reaped()
        self._unsure = False
        self._counters.begin()
        self._purse = Purse(self._counters.owner)
        self._more.set()


def _key(hold: Hold) -> int:
    """Each hold is settled once, whatever its id."""
    return id(hold)
