"""Curves over time for the picture, smoothed over a few seconds. Pure; gaps are NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from loadtests.load.measures import percentile
from loadtests.load.plan import Result

STEP = 1.0
"""Seconds between two points of a curve."""
WINDOW = 6.0
"""Seconds that a point looks at, half before and half after it."""
FEWEST = 5
"""Times to first token below which a percentile would be a guess."""

FULL_SHARE = 0.05
"""Of what was due around a time: where so much was bought or shed, the fleet was full."""
FULL_GAP = 8.0
"""Seconds. Two stretches with less than this between them are told as one; a stretch of less than WINDOW is noise."""

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
    """What the answers to all requests that were due by each time are worth together."""
    due = sorted((r.due, worth(r)) for r in results if r.answered)
    found, total, i = [], 0.0, 0
    for t in at:
        while i < len(due) and due[i][0] <= t:
            total += due[i][1]
            i += 1
        found.append(total)
    return found


def full(results: Sequence[Result], end: float) -> list[tuple[float, float]]:
    """Stretches (start, end) in which the fleet had no room for everything."""
    times = grid(0, end)
    due = rate(results, lambda r: True, times, end)
    out = rate(results, lambda r: r.shed or (r.answered and r.left), times, end)
    found: list[tuple[float, float]] = []
    for t, all_of_it, gone in zip(times, due, out, strict=True):
        if gone <= FULL_SHARE * all_of_it or not gone:
            continue
        if found and t - found[-1][1] <= FULL_GAP:
            found[-1] = (found[-1][0], t)
        else:
            found.append((t, t))
    return [(start, last) for start, last in found if last - start >= WINDOW]
