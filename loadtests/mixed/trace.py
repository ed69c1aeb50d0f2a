"""Mixed image traffic: most pictures are thumbnails of one step, a few are large ones of fifty. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of picture and its share of the traffic."""

    name: str
    share: float
    side: int
    """Pixels; they are square."""
    steps: int

    @property
    def units(self) -> float:
        """Of 50 steps at 1024x1024, which take `unit_s`."""
        return self.steps / REFERENCE_STEPS * self.side**2 / 1024**2


REFERENCE_STEPS = 50
KINDS = (Kind("thumbnail", 0.90, 512, 1), Kind("picture", 0.08, 1024, 20), Kind("large", 0.02, 2048, 50))


@dataclass(frozen=True, slots=True)
class Arrival:
    """`at`: seconds after the first."""

    at: float
    kind: Kind


def trace(seed: int, count: int, workers: int, unit_s: float, busy: float) -> list[Arrival]:
    """So many arrivals at random (Poisson) that `workers` are `busy` (share of their time) in the mean."""
    rng = Random(seed)
    mean = sum(kind.share * kind.units for kind in KINDS) * unit_s
    rate = busy * workers / mean
    at, found = 0.0, []
    for kind in rng.choices(KINDS, [kind.share for kind in KINDS], k=count):
        found.append(Arrival(at, kind))
        at += rng.expovariate(rate)
    return found
