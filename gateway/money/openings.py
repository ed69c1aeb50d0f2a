"""Attempts under way, as the store is to know them: what the ledger gets of each should this replica die.

Those that took from slices are told in the turn of the loop in which they leave, all together, and nobody waits for it.
Later would be cheaper, but whoever is killed may have been billed for them by then, and the ledger would know of that
only as a part of a slice (beat.lua).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from gateway.model import Row, Share
from gateway.money.counters import entry

Tell = Callable[[Mapping[str, bytes], Callable[[], None]], object]
"""Sends attempts and their entries; its second argument is called where no answer comes."""


class Openings:
    """`lost` is called when something has to be told again (`tell_again`)."""

    def __init__(self, tell: Tell, lost: Callable[[], None]) -> None:
        self._tell, self._lost = tell, lost
        self._open: dict[str, tuple[Sequence[Share], Row]] = {}
        self._untold: set[str] = set()
        self._unsure: set[str] = set()
        self._telling = False

    def begin(self, attempt: str, shares: Sequence[Share], row: Row) -> None:
        """It took from slices: the store has not heard of it."""
        self._open[attempt] = shares, row
        self._untold.add(attempt)
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self.tell)

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
        self._telling = False
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
