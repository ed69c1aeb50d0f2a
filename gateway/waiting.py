"""Who waits for which backend: higher classes first, then first come, and when a newcomer may hope for room."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from dataclasses import dataclass, field

MAX_WAITERS = 2_000
"""In one line of one process: each holds its request's body. Past it newcomers are told to come again."""
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
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def head(self) -> Waiter | None:
        return self._heap[0] if self._heap else None

    def behind(self, rank: int) -> bool:
        """Whether a newcomer of this class has to stand behind somebody."""
        return bool(self._heap) and self._heap[0].rank <= rank

    def join(self, rank: int) -> Waiter | None:
        """A place, or None where the line is too long."""
        if self.size >= MAX_WAITERS:
            return None
        waiter = Waiter(rank, next(self._numbers))
        heapq.heappush(self._heap, waiter)
        self.size += 1
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Takes the place away, served or not, and wakes whoever is first now. The heap forgets it when it comes up."""
        waiter.gone = True
        self.size -= 1
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
