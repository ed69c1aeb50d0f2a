"""How fast the work of one backend comes free while somebody waits for it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MEMORY_SECONDS = 10.0
PRIOR_SECONDS = 1.0
"""What is assumed counts as much as so many seconds of measuring."""
ARRIVAL_SECONDS = 30.0
"""What came is remembered so long: one burst says little about the next half minute."""
MOST_TAKEN = 0.9
"""Newcomers of higher classes are counted on to take at most this share of what comes free: no class waits for ever."""
_RANKS = 3


@dataclass(slots=True)
class Drain:
    """Means that forget over MEMORY_SECONDS. Only the time in which somebody waits is measured: what comes free when
    there is room anyway says how much is asked, not how fast a line moves. Work in GPU-us, moments in seconds."""

    prior: float = 0.0
    """What is assumed where nothing is measured, GPU-us a second; 0: nothing."""
    _work: float = 0.0
    _seconds: float = 0.0
    _at: float = 0.0
    _busy: bool = False
    _came: list[float] = field(default_factory=lambda: [0.0] * _RANKS)
    _came_at: float = 0.0

    def busy(self, now: float, waits: bool) -> None:
        """Somebody waits from now on, or nobody."""
        self._pass(now)
        self._busy = waits

    def freed(self, work: int, now: float) -> None:
        """So much was given back."""
        self._pass(now)
        if self._busy:
            self._work += work

    def came(self, rank: int, work: int, now: float) -> None:
        """A request of this class was served at once, or waits from now on."""
        fade = math.exp(-(now - self._came_at) / ARRIVAL_SECONDS)
        self._came = [before * fade for before in self._came]
        self._came[rank] += work
        self._came_at = now

    def rate(self, rank: int, now: float) -> float | None:
        """GPU-us a second that come free and are not for requests of higher classes that are yet to come; None where
        nothing is known."""
        self._pass(now)
        known = self._seconds + (PRIOR_SECONDS if self.prior else 0.0)
        if not known or not (work := self._work + self.prior * PRIOR_SECONDS):
            return None
        freed = work / known
        fade = math.exp(-(now - self._came_at) / ARRIVAL_SECONDS)
        taken = sum(self._came[:rank]) * fade / ARRIVAL_SECONDS
        return max(freed - taken, freed * (1 - MOST_TAKEN))

    def _pass(self, now: float) -> None:
        passed, self._at = max(0.0, now - self._at), now
        if self._busy:
            fade = math.exp(-passed / MEMORY_SECONDS)
            self._work *= fade
            self._seconds = self._seconds * fade + MEMORY_SECONDS * (1 - fade)
