"""When requests are due: a renewal process with Gamma gaps whose rate follows the phases. Pure; open loop by nature,
as nothing here knows of answers."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from loadtests.load.phases import Phase


def arrivals(phases: Sequence[Phase], base: float, burstiness: float, rng: random.Random) -> Iterator[float]:
    """Times in order; the rate at a time is its load x `base` (requests/s).

    Gaps are drawn in operational time, in which one request is due for every unit, and carried to real time through
    the inverse of the cumulative rate (Cinlar, Introduction to Stochastic Processes, 1975, ch. 4.7). `burstiness` is
    the Gamma distribution's shape, as in `vllm bench serve`: gaps vary by 1/sqrt(burstiness) of their mean; 1 is a
    Poisson process, less has bursts, more is regular.
    """
    reached, due = 0.0, rng.gammavariate(burstiness, 1 / burstiness)
    for phase in phases:
        while due < reached + base * phase.area:
            yield phase.start + _time_for((due - reached) / base, phase)
            due += rng.gammavariate(burstiness, 1 / burstiness)
        reached += base * phase.area


def _time_for(area: float, phase: Phase) -> float:
    """Seconds into a phase after which its load adds up to `area`: the root of low t + slope t^2 / 2 = area, in the
    form that is exact for a level phase too."""
    slope = (phase.high - phase.low) / phase.seconds
    seconds = 2 * area / (phase.low + math.sqrt(max(0.0, phase.low**2 + 2 * slope * area)))
    return min(seconds, phase.seconds)
