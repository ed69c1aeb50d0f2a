"""Who waits for which backend: higher classes first, then first come, and when a newcomer may hope for room."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_WAITERS = 2_000
"""In one line of one process: each holds its request's body. Past it somebody is told to come again: one of the lowest
class that may be turned away for the newcomer, else the newcomer."""
RETRY_AFTER_SECONDS = (1, 60)
RETRY_AFTER_UNKNOWN_SECONDS = 5
"""Said before any lease was given back, when no rate is known: soon, but not at once."""
DRAIN_MEMORY_SECONDS = 10.0


@dataclass(order=True, slots=True)
class Waiter:
    rank: int
    number: int
    turn: asyncio.Event = field(compare=False, default_factory=asyncio.Event)
    gone: bool = field(compare=False, default=False)
    """Its place was taken away. It wakes to find so where that was for a newcomer of a higher class."""


@dataclass(slots=True)
class Line:
    """The waiters for one backend, and how fast it frees leases (per second, forgetting over DRAIN_MEMORY_SECONDS).

    Only the head looks for room; the others sleep until it is their turn,
    so a long line costs no more than a short one.
    """

    rate: float = 0.0
    last: float = 0.0
    size: int = 0
    _heap: list[Waiter] = field(default_factory=list)
    _sheddable: dict[int, dict[int, Waiter]] = field(default_factory=dict)
    """Rank -> number -> waiter that may be turned away, the last to come at the end."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def head(self) -> Waiter | None:
        return self._heap[0] if self._heap else None

    def behind(self, rank: int) -> bool:
        """Whether a newcomer of this class has to stand behind somebody."""
        return bool(self._heap) and self._heap[0].rank <= rank

    def join(self, rank: int, shed: bool = True) -> Waiter | None:
        """A place, or None where the line is too long. `shed`: whether it may be taken away for a higher class."""
        if self.size >= MAX_WAITERS and not self._make_room(rank):
            return None
        waiter = Waiter(rank, next(self._numbers))
        heapq.heappush(self._heap, waiter)
        self.size += 1
        if shed:
            self._sheddable.setdefault(rank, {})[waiter.number] = waiter
        return waiter

    def _make_room(self, rank: int) -> bool:
        """Turns away the last to come of the lowest class below `rank` of whom somebody may be."""
        lowest = max((low for low, waiters in self._sheddable.items() if waiters), default=rank)
        if lowest <= rank:
            return False
        victim = next(reversed(self._sheddable[lowest].values()))
        self.leave(victim)
        victim.turn.set()
        return True

    def leave(self, waiter: Waiter) -> None:
        """Takes the place away, served or not, and wakes whoever is first now. The heap forgets it when it comes up.
        A place that is gone already changes nothing."""
        if waiter.gone:
            return
        waiter.gone = True
        self.size -= 1
        self._sheddable.get(waiter.rank, {}).pop(waiter.number, None)
        while self._heap and self._heap[0].gone:
            heapq.heappop(self._heap)
        self.wake()

    def wake(self) -> None:
        if self._heap:
            self._heap[0].turn.set()

    def released(self, now: float) -> None:
        """A lease of this backend was given back at `now` (monotonic seconds)."""
        if self.last:
            gap = max(now - self.last, 1e-6)
            weight = min(1.0, gap / DRAIN_MEMORY_SECONDS)
            self.rate += weight * (1 / gap - self.rate)
        self.last = now

    def ahead(self, now: float) -> float | None:
        """Seconds that those who wait will take; None where nobody does, or no rate is known."""
        expected = self.expected(now) if self.size else None
        return None if expected is None else expected * self.size / (self.size + 1)

    def expected(self, now: float) -> float | None:
        """Seconds until a newcomer is likely to find room: those before it, at the rate at which leases come free; None
        while no rate is known."""
        if not self.rate:
            return None
        rate = min(self.rate, 1 / max(now - self.last, 1e-6))  # a line that stopped moving promises nothing
        return (self.size + 1) / rate

    def retry_after(self, now: float) -> int:
        """The same in whole seconds, within what a client can be told."""
        low, high = RETRY_AFTER_SECONDS
        seconds = self.expected(now)
        return RETRY_AFTER_UNKNOWN_SECONDS if seconds is None else min(high, max(low, math.ceil(seconds)))


class Lines(dict[str, Line]):
    """Backend -> its line in this process, made when somebody asks for it."""

    def __missing__(self, backend: str) -> Line:
        line = self[backend] = Line()
        return line

    def ahead(self, now: float) -> Mapping[str, float]:
        """Backend -> seconds that those who wait for it will take, where that is known; `now` is monotonic."""
        seconds = {backend: line.ahead(now) for backend, line in self.items()}
        return {backend: ahead for backend, ahead in seconds.items() if ahead is not None}
