"""One timer for all the deadlines of a connection."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """One deadline at a time; to set another replaces it. The timer is moved only when a deadline comes before it, and
    looks again when it fires too early: to put a deadline off, or to drop it, costs an assignment.
    """

    __slots__ = ("_at", "_expired", "_loop", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired: Callable[[], None] | None = expired
        self._at = self._timer_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, seconds: float) -> None:
        """Call `expired` so many seconds from now."""
        self._at = self._loop.time() + seconds
        self._arm()

    def drop(self) -> None:
        self._at = math.inf

    def close(self) -> None:
        """For good: forgets whom to call."""
        self._at, self._expired = math.inf, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = self._at
            self._timer = self._loop.call_at(self._at, self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._loop.time() < self._at:
            self._arm()
        elif self._expired is not None:
            self._at = math.inf
            self._expired()
