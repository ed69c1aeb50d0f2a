"""What is offered when: five phases, rates as multiples of the fleet's capacity, and the arrivals that follow them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DEFAULT_SECONDS = 130.0
CALM, TWICE = 0.4, 2.0
"""Offered load as a multiple of capacity: what the fleet carries alone, and the peak."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Seconds since the start; the load goes from `low` to `high` (multiples of capacity) in a straight line."""

    name: str
    start: float
    end: float
    low: float
    high: float

    def load(self, at: float) -> float:
        return self.low + (self.high - self.low) * (at - self.start) / (self.end - self.start)


SHARES = (
    ("warm", 25, CALM, CALM),
    ("ramp up", 25, CALM, TWICE),
    ("peak", 40, TWICE, TWICE),
    ("ramp down", 20, TWICE, CALM),
    ("calm", 25, CALM, CALM),
)
"""Name, share of the run, load at its start and end."""


def timeline(seconds: float = DEFAULT_SECONDS) -> tuple[Phase, ...]:
    unit = seconds / sum(share for _, share, _, _ in SHARES)
    phases: list[Phase] = []
    at = 0.0
    for name, share, low, high in SHARES:
        phases.append(Phase(name, at, at + share * unit, low, high))
        at += share * unit
    return tuple(phases)


def phase_at(phases: Sequence[Phase], at: float) -> Phase:
    """The phase of a time; before the start the first one, after the end the last one."""
    return next((phase for phase in phases if at < phase.end), phases[-1])


def arrivals(phases: Sequence[Phase], capacity: float, rng: random.Random) -> Iterator[float]:
    """Times of a Poisson process whose rate is load x capacity (requests/s).

    By thinning (Lewis and Shedler, 1979): candidates at the highest rate, each kept with probability rate / highest.
    """
    highest = capacity * max(max(phase.low, phase.high) for phase in phases)
    at = phases[0].start
    while True:
        at += rng.expovariate(highest)
        if at >= phases[-1].end:
            return
        if rng.random() * highest < phase_at(phases, at).load(at) * capacity:
            yield at
