"""Curves over time for the picture, smoothed over a few seconds. Pure; gaps are NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from loadtests.plan import Result
from loadtests.tally import percentile

STEP = 1.0
"""Seconds between two points of a curve."""
WINDOW = 6.0
"""Seconds that a point looks at, half before and half after it."""
FEWEST = 5
"""Times to first token below which a percentile would be a guess."""

Keep = Callable[[Result], bool]


def grid(start: float, end: float) -> list[float]:
    return [start + STEP * i for i in range(int((end - start) / STEP) + 1)]


def rate(results: Sequence[Result], keep: Keep, at: Sequence[float], end: float) -> list[float]:
    """Requests per second that were due around each time; windows are cut at 0 and `end`, not diluted there."""
    due = [r.due for r in results if keep(r)]
    found = []
    for t in at:
        low, high = max(0.0, t - WINDOW / 2), min(end, t + WINDOW / 2)
        found.append(sum(low <= d < high for d in due) / (high - low))
    return found


def quantile(results: Sequence[Result], keep: Keep, at: Sequence[float], share: float) -> list[float]:
    """That share's time to first token of the requests due around each time."""
    timed = [(r.due, r.ttft) for r in results if r.answered and r.ttft is not None and keep(r)]
    found = []
    for t in at:
        near = [ttft for due, ttft in timed if t - WINDOW / 2 <= due < t + WINDOW / 2]
        value = percentile(near, share) if len(near) >= FEWEST else None
        found.append(math.nan if value is None else value)
    return found


def waiting(results: Sequence[Result], at: Sequence[float]) -> list[float]:
    """How many requests waited in the gateway for a worker at each time."""
    spans = [(r.began, r.began + r.waited) for r in results if r.waited]
    return [sum(began <= t < ended for began, ended in spans) for t in at]


def cumulative(results: Sequence[Result], worth: Callable[[Result], float], at: Sequence[float]) -> list[float]:
    """What all answers that had ended by each time are worth together."""
    ended = sorted((r.ended, worth(r)) for r in results if r.answered)
    found, total, i = [], 0.0, 0
    for t in at:
        while i < len(ended) and ended[i][0] <= t:
            total += ended[i][1]
            i += 1
        found.append(total)
    return found
