"""Whether the store has been away for so long, lately, that people should be told. Log and metrics tell every blip."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

TOLD_SECONDS = 1.0
"""Away for less than this of the last WINDOW_SECONDS is a blip: a banner that flashes is soon not read any more."""
WINDOW_SECONDS = 10.0
_MOST_SPELLS = 1000


class Spells:
    """`heard` listens to the store, which is thought to be there at first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._past: deque[tuple[float, float]] = deque(maxlen=_MOST_SPELLS)
        """From when to when it was away."""

    def heard(self, degraded: bool, _reason: str) -> None:
        now = self._clock()
        if degraded and self._since is None:
            self._since = now
        elif not degraded and self._since is not None:
            self._past.append((self._since, now))
            self._since = None

    @property
    def telling(self) -> bool:
        """It is away now, and was so for TOLD_SECONDS of the last WINDOW_SECONDS: in one piece, or again and again."""
        if self._since is None:
            return False
        now = self._clock()
        begin = now - WINDOW_SECONDS
        while self._past and self._past[0][1] <= begin:
            self._past.popleft()
        away = now - max(self._since, begin) + sum(end - max(start, begin) for start, end in self._past)
        return away >= TOLD_SECONDS
