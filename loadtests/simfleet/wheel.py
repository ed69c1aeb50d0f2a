"""Many timers for the price of few: due times are rounded up to a grid, and one loop timer serves each grid point."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable

GRID_S = 0.005

Callback = Callable[[float], None]


class Wheel:
    """Calls back at planned times on time.monotonic(); the callback gets the time that was planned.

    `on_late` hears how late each wake-up was, in seconds.
    """

    def __init__(self, on_late: Callable[[float], None] | None = None) -> None:
        self._due: list[tuple[int, int, float, Callback]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._next = math.inf
        self._on_late = on_late

    def at(self, when: float, callback: Callback) -> None:
        slot = math.ceil(when / GRID_S)
        heapq.heappush(self._due, (slot, next(self._order), when, callback))
        if slot < self._next:
            self._arm(slot)

    def _arm(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = slot
        delay = max(0.0, slot * GRID_S - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._turn)

    def _turn(self) -> None:
        now = time.monotonic()
        if self._on_late is not None:
            self._on_late(now - self._next * GRID_S)
        self._timer, self._next = None, -math.inf  # no arming while the due callbacks plan their next ones
        slot = max(math.floor(now / GRID_S), self._due[0][0])
        while self._due and self._due[0][0] <= slot:
            _, _, when, callback = heapq.heappop(self._due)
            callback(when)
        self._next = math.inf
        if self._due:
            self._arm(self._due[0][0])
