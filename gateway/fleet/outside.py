"""Load on a worker that is not ours, from gauges that lag behind our own leases."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

LAG_SECONDS = 5.0
"""How far vLLM's gauges may trail the truth: 3 to 6 s under load.
Engines that publish faster only make this cautious."""


@dataclass(slots=True)
class OutsideLoad:
    """Requests on one worker that hold none of our leases:

    `max(0, min over the last 2 x lag of (scraped running + waiting - the largest lease count in the lag before it))`.

    The largest count, because a gauge may still show requests of ours that have ended; the smallest difference,
    because what is really there stays. Times are seconds of any one clock.
    """

    lag: float = LAG_SECONDS
    _counts: deque[tuple[float, int]] = field(default_factory=deque)
    _extra: deque[tuple[float, int]] = field(default_factory=deque)

    def leases(self, at: float, count: int) -> None:
        """Our lease count at `at`, as often as it is known."""
        self._counts.append((at, count))
        while self._counts and self._counts[0][0] < at - 2 * self.lag:
            self._counts.popleft()

    def scrape(self, at: float, requests: int) -> None:
        """The worker's own running + waiting, read at `at`; of one that does not tell who waits, those that run."""
        ours = max((count for seen, count in self._counts if at - self.lag <= seen <= at), default=0)
        self._extra.append((at, requests - ours))
        while self._extra and self._extra[0][0] < at - 2 * self.lag:
            self._extra.popleft()

    def requests(self, now: float) -> int:
        """Outside requests; 0 until a whole lag has been watched,
        since before that every difference may be our own past."""
        if not self._extra or not self._counts or self._extra[-1][0] - self._extra[0][0] < self.lag:
            return 0
        since, (seen, newest) = now - 2 * self.lag, self._extra[-1]
        if newest <= 0 or seen < since:  # the usual case, for every worker in every snapshot
            return 0
        return max(0, min(extra for seen, extra in self._extra if seen >= since))
