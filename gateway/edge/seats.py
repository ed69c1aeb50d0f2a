"""How fast the places of limits on requests at once come free in this replica: what whoever finds none is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

MOST_QUOTAS = 4096
FIRST_SECONDS, LONGEST_SECONDS = 1.0, 60.0
"""What is said before anything is known, and the most that is said: a line that stands still is looked at again."""
NEWEST_WEIGHT = 0.2
"""Of the newest gap in the mean."""


@dataclass(slots=True)
class Seats:
    """`clock` is monotonic seconds."""

    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Quota -> when a place last came free, and the mean seconds between two."""

    def left(self, name: str) -> None:
        """A request of that limit is over."""
        now, before = self.clock(), self._seen.get(name)
        if before is None:
            if len(self._seen) >= MOST_QUOTAS:
                self._seen.clear()
            self._seen[name] = now, FIRST_SECONDS
            return
        last, mean = before
        self._seen[name] = now, mean + NEWEST_WEIGHT * (min(LONGEST_SECONDS, now - last) - mean)

    def seconds(self, name: str) -> int:
        """Until the next one, at least one."""
        return max(1, ceil(self._seen.get(name, (0.0, FIRST_SECONDS))[1]))
