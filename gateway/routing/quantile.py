"""How long something takes at most, most of the time: a histogram of seconds that forgets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

SHORTEST_SECONDS, LONGEST_SECONDS = 1e-3, 1e3
"""What is outside counts as one of these."""
STEPS_PER_DOUBLING = 8
"""A bound is 2^(1/8) times the one before it: what is told is at most 9 % too long."""
MEMORY = 2_000
"""Past so many samples each counts half: what was true hours ago is outvoted."""
_SIZE = math.ceil(math.log2(LONGEST_SECONDS / SHORTEST_SECONDS) * STEPS_PER_DOUBLING) + 1


@dataclass(slots=True)
class Spread:
    """Of the times of one kind. `seen` is their number, old ones counting less."""

    seen: float = 0.0
    _counts: list[float] = field(default_factory=lambda: [0.0] * _SIZE)

    def add(self, seconds: float) -> None:
        if self.seen >= MEMORY:
            self._counts = [count / 2 for count in self._counts]
            self.seen /= 2
        self._counts[_place(seconds)] += 1
        self.seen += 1

    def quantile(self, share: float) -> float | None:
        """A time (seconds) that this share of the samples did not pass; None without samples. Rounded up to the next
        bound."""
        if not self.seen:
            return None
        wanted = share * self.seen
        for place, count in enumerate(self._counts):
            wanted -= count
            if wanted <= 0 and count:
                return _bound(place)
        return _bound(_SIZE - 1)


def _place(seconds: float) -> int:
    bounded = min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
    return min(_SIZE - 1, math.ceil(math.log2(bounded / SHORTEST_SECONDS) * STEPS_PER_DOUBLING))


def _bound(place: int) -> float:
    return SHORTEST_SECONDS * math.exp2(place / STEPS_PER_DOUBLING)
