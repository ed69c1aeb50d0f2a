"""Attempts under way, as the store is to know them: what the ledger gets of each should this replica die.

Nobody waits for their telling, and most attempts that fail at once need none: the store hears of those that are still
open after UNTOLD_SECONDS. Of one that dies before, the ledger gets a part of its slice's row (beat.lua).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from gateway.model import Row, Share
from gateway.money.counters import entry

UNTOLD_SECONDS = 0.02
Tell = Callable[[Mapping[str, bytes], Callable[[], None]], object]
"""Sends attempts and their entries; its second argument is called where no answer comes."""


class Openings:
    """`lost` is called when something has to be told again (`tell_again`)."""

    def __init__(self, tell: Tell, lost: Callable[[], None]) -> None:
        self._tell, self._lost = tell, lost
        self._open: dict[str, tuple[Sequence[Share], Row]] = {}
        self._untold: set[str] = set()
        self._unsure: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, attempt: str, shares: Sequence[Share], row: Row) -> None:
        """It took from slices: the store has not heard of it."""
        self._open[attempt] = shares, row
        self._untold.add(attempt)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(UNTOLD_SECONDS, self.tell)

    def told(self, attempt: str, shares: Sequence[Share], row: Row) -> None:
        """The store knows it from its draw."""
        self._open[attempt] = shares, row

    def end(self, attempt: str) -> bool:
        """Whether the store may know it."""
        if self._open.pop(attempt, None) is None:
            return False
        if attempt in self._untold:
            self._untold.discard(attempt)
            return False
        return True

    def tell(self) -> None:
        """Those of which the store has not heard, with this turn's pipeline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        untold, self._untold = self._untold, set()
        self._send(untold)

    def tell_again(self) -> None:
        """Those of which the store may not have heard."""
        unsure, self._unsure = self._unsure, set()
        self._send(unsure & self._open.keys())

    def flushed(self) -> None:
        """The store knows none any more."""
        self._untold, self._unsure = set(), set(self._open)

    def reaped(self) -> None:
        """All of them were booked by others."""
        self._open, self._untold, self._unsure = {}, set(), set()

    def _send(self, attempts: Iterable[str]) -> None:
        entries = {}
        for attempt in attempts:
            shares, row = self._open[attempt]
            entries[attempt] = entry(shares, msgspec.json.encode(row))
        if entries:
            self._tell(entries, lambda: self._missed(entries))

    def _missed(self, attempts: Iterable[str]) -> None:
        self._unsure.update(attempts)
        self._lost()
