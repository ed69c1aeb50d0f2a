"""Stretches of a run: the offered load goes from level to level in straight lines; levels are multiples of a base."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phase:
    """Seconds since the start; the load goes from `low` at its beginning to `high` at its end in a straight line."""

    name: str
    start: float
    end: float
    low: float
    high: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def load(self, at: float) -> float:
        return self.low + (self.high - self.low) * (at - self.start) / self.seconds

    @property
    def area(self) -> float:
        """The load added up over the phase, in level x seconds."""
        return self.seconds * (self.low + self.high) / 2


def joined(parts: Sequence[tuple[str, float, float, float]], seconds: float) -> tuple[Phase, ...]:
    """Phases one after the other from (name, share of the run, level at its beginning, level at its end)."""
    unit = seconds / sum(share for _, share, _, _ in parts)
    phases: list[Phase] = []
    at = 0.0
    for name, share, low, high in parts:
        phases.append(Phase(name, at, at + share * unit, low, high))
        at += share * unit
    return tuple(phases)


def phase_at(phases: Sequence[Phase], at: float) -> Phase:
    """The phase of a time; before the start the first one, after the end the last one."""
    return next((phase for phase in phases if at < phase.end), phases[-1])


DAY_PARTS = 8
"""A day is drawn as so many straight lines of three hours each."""


def days(low: float, high: float, count: int, seconds: float) -> tuple[Phase, ...]:
    """`count` days whose load is `low` at midnight and `high` at noon, on a cosine."""
    nodes = [low + (high - low) * (1 - math.cos(2 * math.pi * i / DAY_PARTS)) / 2 for i in range(DAY_PARTS + 1)]
    hours = 24 // DAY_PARTS
    parts = [
        (f"{f'day {day + 1}, ' if count > 1 else ''}{i * hours:02}-{(i + 1) * hours:02} h", 1.0, nodes[i], nodes[i + 1])
        for day in range(count)
        for i in range(DAY_PARTS)
    ]
    return joined(parts, seconds)


def square(low: float, high: float, count: int, seconds: float) -> tuple[Phase, ...]:
    """`count` times low and then high, of equal length, and low once more: the last edge goes down."""
    parts = [("low 1", 1.0, low, low)]
    for i in range(count):
        parts += [(f"high {i + 1}", 1.0, high, high), (f"low {i + 2}", 1.0, low, low)]
    return joined(parts, seconds)
