"""Who of a backend is slower than the others: by the ratio of what answers took to what was forecast for them.

The forecast has the size of the prompt and the load of the worker in it: one with long prompts is not taken for a slow
one. Pure: `now` is given, seconds of one clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median, median_high

SAMPLES = 8
"""Answers of a worker before it is judged, or judges others: below that a median may be chance."""
REMEMBERED = 64
"""Newest answers of each worker that count."""
JUDGES = 2
"""Other workers that it takes: of two that differ nobody can say which is right."""
EVERY_SECONDS = 1.0
"""How often one worker is judged."""


@dataclass(slots=True)
class _Pace:
    ratios: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """(when, took / forecast)."""
    judged: float = float("-inf")

    def median(self, since: float) -> float | None:
        newest = [ratio for at, ratio in self.ratios if at >= since]
        return median(newest) if len(newest) >= SAMPLES else None


@dataclass(slots=True)
class Outliers:
    _paces: dict[str, _Pace] = field(default_factory=dict)

    def saw(self, name: str, ratio: float, now: float) -> None:
        self._paces.setdefault(name, _Pace()).ratios.append((now, ratio))

    def usual(self, others: Iterable[str], since: float) -> float | None:
        """The median of the others' medians, the higher one of two: a single worker that claims to be fast makes no
        other one slow. None where fewer than JUDGES have anything to say."""
        paces = [pace.median(since) for name in others if (pace := self._paces.get(name)) is not None]
        known = [pace for pace in paces if pace is not None]
        return median_high(known) if len(known) >= JUDGES else None

    def slow(self, name: str, others: Iterable[str], times: float, span: float, now: float) -> bool:
        """Whether its median of the last `span` seconds is more than `times` that of `others`; judged each second."""
        pace = self._paces.get(name)
        if pace is None or 0 <= now - pace.judged < EVERY_SECONDS:
            return False
        pace.judged = now
        mine = pace.median(now - span)
        if mine is None:
            return False
        usual = self.usual(others, now - span)
        return usual is not None and mine > times * usual

    def forget(self, name: str) -> None:
        """What it was before it was left alone does not count after."""
        self._paces.pop(name, None)

    def keep(self, names: frozenset[str]) -> None:
        for name in self._paces.keys() - names:
            del self._paces[name]
