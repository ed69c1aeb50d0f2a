"""Everything that will be sent, settled before the first request: one seed makes a run repeatable."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import msgspec

from loadtests.lengths import Lengths, scaled
from loadtests.phases import arrivals, timeline

FLAGGED_SHARE = 0.10
"""Of the requests carry `X-Data-Residency: local`."""
PLAIN_SHARE = 0.05
"""Of the requests are not streamed."""
MIX_DRAWS = 20_000
SPREAD_SECONDS = 10.0

Draw = Callable[[random.Random], Lengths]


class Job(msgspec.Struct, frozen=True, array_like=True):
    """One request: when it is due (seconds since the start), its lengths in tokens, and what it asks for."""

    due: float
    prompt: int
    output: int
    stream: bool
    flagged: bool


class Plan(msgspec.Struct, frozen=True):
    model: str
    seed: int
    seconds: float
    capacity: float
    """Requests per second that the fleet carries with every seat busy."""
    jobs: tuple[Job, ...]


class Result(msgspec.Struct, frozen=True):
    """What became of a job, as its client saw it. Times are seconds since the start."""

    due: float
    began: float
    ended: float
    status: int
    """0 where no answer came."""
    stream: bool
    flagged: bool
    prompt: int
    output: int
    first: float | None = None
    """First byte of the first frame."""
    outcome: str = ""
    reason: str = ""
    upstream: str = ""
    waited: float = 0.0
    """For a worker with room, by the gateway's own word."""
    fault: str = ""
    """Why it counts as failed, in a word; empty where it does not."""

    @property
    def answered(self) -> bool:
        return self.status == 200 and not self.fault

    @property
    def left(self) -> bool:
        """Whether its data left the fleet."""
        return self.status == 200 and self.outcome != "local"

    @property
    def shed(self) -> bool:
        return self.status == 429

    @property
    def failed(self) -> bool:
        return not self.answered and not self.shed

    @property
    def ttft(self) -> float | None:
        """Seconds from when it was due, not from when it was sent: a late sender must not make the answer look fast."""
        return None if self.first is None or not self.stream else self.first - self.due


@dataclass(frozen=True, slots=True)
class Mix:
    """What a source of lengths amounts to, after scaling: the mean, and how much answers differ from it."""

    mean: Lengths
    variation: float
    """Standard deviation of the answer's length, as a share of its mean."""

    @classmethod
    def of(cls, source: Draw, seed: int) -> Mix:
        rng = random.Random(f"{seed} mix")
        drawn = [scaled(source(rng)) for _ in range(MIX_DRAWS)]
        mean = Lengths(round(fmean(d.prompt for d in drawn)), round(fmean(d.output for d in drawn)))
        return cls(mean, stdev(d.output for d in drawn) / mean.output)

    def spread(self, capacity: float) -> float:
        """Share by which what arrives in SPREAD_SECONDS makes the capacity differ: one standard error of the mean."""
        return self.variation / math.sqrt(capacity * SPREAD_SECONDS)


def build(source: Draw, *, model: str, seed: int, seconds: float, capacity: float) -> Plan:
    """The whole run. Arrivals, lengths and kinds have a generator each: changing one leaves the others alone."""
    times, lengths, kinds = (random.Random(f"{seed} {name}") for name in ("arrivals", "lengths", "kinds"))
    jobs = []
    for due in arrivals(timeline(seconds), capacity, times):
        drawn = scaled(source(lengths))
        stream, flagged = kinds.random() >= PLAIN_SHARE, kinds.random() < FLAGGED_SHARE
        jobs.append(Job(due, drawn.prompt, drawn.output, stream, flagged))
    return Plan(model, seed, seconds, capacity, tuple(jobs))


def load(path: Path) -> Plan:
    return msgspec.json.decode(path.read_bytes(), type=Plan)


def save(plan: Plan, path: Path) -> None:
    path.write_bytes(msgspec.json.encode(plan))
