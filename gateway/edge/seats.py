"""How soon a place of a limit on requests at once comes free in this replica: what whoever finds none is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from gateway.model import Quota

MOST_QUOTAS = 4096
FIRST_SECONDS, LONGEST_SECONDS = 1.0, 60.0
"""What is said before anything is known, and the most that is said: a line that stands still is looked at again."""
NEWEST_WEIGHT = 0.2
"""Of the newest request in the mean."""


@dataclass(slots=True)
class Seats:
    """Of places that are all taken, one comes free in the time that a request has its own, divided by how many they
    are. Gaps between two that came free would count the time in which nobody asked."""

    _seen: dict[str, float] = field(default_factory=dict)
    """Quota -> mean seconds that a request had its place."""

    def left(self, quota: Quota, seconds: float) -> None:
        """A request of that limit is over; it had its place for so long."""
        mean = self._seen.get(quota.name)
        if mean is None and len(self._seen) >= MOST_QUOTAS:
            self._seen.clear()
        self._seen[quota.name] = seconds if mean is None else mean + NEWEST_WEIGHT * (seconds - mean)

    def seconds(self, quota: Quota) -> int:
        """Until the next one, at least one."""
        mean = self._seen.get(quota.name)
        soon = FIRST_SECONDS if mean is None else min(LONGEST_SECONDS, mean / quota.cap)
        return max(1, ceil(soon))
