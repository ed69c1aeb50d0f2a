"""Everything that will be sent, settled before the first request: one seed makes a run repeatable."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

import msgspec

from loadtests.lengths import Lengths
from loadtests.load.arrivals import arrivals
from loadtests.load.phases import Phase, phase_at
from loadtests.load.scenario import Chat, Replay, Request, Scenario, Speech
from loadtests.load.scenario import Lengths as Bounds
from loadtests.traces import Row

MIX_DRAWS = 20_000
SPREAD_SECONDS = 10.0
PARTS = 4
"""A replay has no phases of its own: it is told in so many equal parts."""
STAYS = -1.0

Draw = Callable[[random.Random], Lengths]


class Kind(msgspec.Struct, frozen=True):
    """One entry of a scenario's `requests`, as the sender needs it."""

    kind: Literal["chat", "image", "speech", "video"]
    model: str
    size: str = ""
    seconds: int = 0

    @classmethod
    def of(cls, asked: Request) -> Kind:
        return cls(asked.kind, asked.model, getattr(asked, "size", ""), getattr(asked, "seconds", 0))


class Job(msgspec.Struct, frozen=True, array_like=True):
    """One request: when it is due (seconds since the start), its lengths in tokens (of speech: characters), and what
    it asks for."""

    due: float
    prompt: int
    output: int
    stream: bool
    flagged: bool
    kind: int = 0
    """Which of the plan's kinds."""
    pace: float = 0.0
    """Bytes/s at which its client reads; 0: as fast as they come."""
    leaves: float = STAYS
    """Seconds after asking at which its client closes the connection."""
    blocks: tuple[int, ...] = ()
    """A trace's ids of the prompt's blocks: equal ids are sent as equal text."""


class Plan(msgspec.Struct, frozen=True):
    scenario: str
    seed: int
    seconds: float
    drain: float
    phases: tuple[Phase, ...]
    kinds: tuple[Kind, ...]
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
    kind: str = "chat"
    gone: bool = False
    """Its client left, as planned: neither answered nor failed."""
    slow: bool = False
    """Its client read slowly, so that its times tell of the client."""
    cost: float | None = None
    """USD, by the gateway's own word; streams do not say it."""

    @property
    def answered(self) -> bool:
        return self.status == 200 and not self.fault and not self.gone

    @property
    def left(self) -> bool:
        """Whether its data left the fleet. Where a gateway does not say, it counts as kept."""
        return self.outcome not in ("", "local")

    @property
    def shed(self) -> bool:
        return self.status == 429

    @property
    def failed(self) -> bool:
        return not self.answered and not self.shed and not self.gone

    @property
    def ttft(self) -> float | None:
        """Seconds from when it was due, not from when it was sent: a late sender must not make the answer look fast."""
        return None if self.first is None or not self.stream else self.first - self.due

    @property
    def tpot(self) -> float | None:
        """Seconds for each token after the first, of a whole stream that was read as it came."""
        if self.first is None or not self.stream or not self.answered or self.slow or self.output < 2:
            return None
        return (self.ended - self.first) / (self.output - 1)


@dataclass(frozen=True, slots=True)
class Mix:
    """What a source of lengths amounts to, after scaling: the mean, and how much answers differ from it."""

    mean: Lengths
    variation: float
    """Standard deviation of the answer's length, as a share of its mean."""

    @classmethod
    def of(cls, source: Draw, bounds: Bounds, seed: int) -> Mix:
        rng = random.Random(f"{seed} mix")
        drawn = [scaled(source(rng), bounds) for _ in range(MIX_DRAWS)]
        mean = Lengths(round(fmean(d.prompt for d in drawn)), round(fmean(d.output for d in drawn)))
        return cls(mean, stdev(d.output for d in drawn) / mean.output)

    @classmethod
    def of_jobs(cls, jobs: Sequence[Job]) -> Mix:
        """What a replay really sends."""
        outputs = [job.output for job in jobs]
        mean = Lengths(round(fmean(job.prompt for job in jobs)), max(1, round(fmean(outputs))))
        return cls(mean, (stdev(outputs) if len(outputs) > 1 else 0.0) / mean.output)

    def spread(self, capacity: float) -> float:
        """Share by which what arrives in SPREAD_SECONDS makes the capacity differ: one standard error of the mean."""
        return self.variation / math.sqrt(capacity * SPREAD_SECONDS)


def scaled(drawn: Lengths, bounds: Bounds) -> Lengths:
    """What is sent: the answer scaled, both bounded."""
    output = round(drawn.output * bounds.output_scale)
    return Lengths(min(bounds.longest_prompt, max(1, drawn.prompt)), min(bounds.longest_output, max(1, output)))


def build(name: str, scenario: Scenario, source: Draw, *, seed: int, base: float) -> Plan:
    """The whole run of a scenario that is not a replay; `base`: requests per second at level 1.

    Arrivals, lengths, kinds and clients have a generator each: changing one leaves the others alone.
    """
    phases = scenario.load.phases(scenario.seconds)
    times, lengths = (random.Random(f"{seed} {what}") for what in ("arrivals", "lengths"))
    draws = Draws(scenario, seed)
    dues = arrivals(phases, base, scenario.burstiness, times)
    jobs = [draws.job(due, scaled(source(lengths), scenario.lengths), phase_at(phases, due).name) for due in dues]
    return _plan(name, scenario, seed, phases, jobs)


def replayed(name: str, scenario: Scenario, replay: Replay, rows: Sequence[Row], *, seed: int) -> Plan:
    """The requests of a trace at their own times and with their own lengths, `speed` times as fast, in their order,
    as far as the scenario's seconds go."""
    draws = Draws(scenario, seed)
    jobs = []
    for row in rows:
        due = (row.at - replay.skip) / replay.speed
        if 0 <= due < scenario.seconds:
            jobs.append(draws.job(due, scaled(row.lengths, scenario.lengths), "", row.blocks))
    return _plan(name, scenario, seed, _parts(jobs, scenario.seconds), jobs)


def _plan(name: str, scenario: Scenario, seed: int, phases: tuple[Phase, ...], jobs: Sequence[Job]) -> Plan:
    kinds = tuple(map(Kind.of, scenario.requests))
    return Plan(name, seed, scenario.seconds, scenario.drain_seconds, phases, kinds, tuple(jobs))


def _parts(jobs: Sequence[Job], seconds: float) -> tuple[Phase, ...]:
    """PARTS equal stretches; their level is what is due in them per second."""
    step = seconds / PARTS
    counts = [sum(i * step <= job.due < (i + 1) * step for job in jobs) / step for i in range(PARTS)]
    return tuple(Phase(f"part {i + 1}", i * step, (i + 1) * step, rate, rate) for i, rate in enumerate(counts))


class Draws:
    """What else a request is, drawn in its order: its kind, whether it is flagged and streamed, and its client."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._asked, self._clients = scenario.requests, scenario.clients
        self._weights = list(accumulate(asked.weight for asked in self._asked))
        self._kinds, self._behaviour = (random.Random(f"{seed} {what}") for what in ("kinds", "clients"))

    def job(self, due: float, lengths: Lengths, phase: str, blocks: tuple[int, ...] = ()) -> Job:
        kind = self._kinds.choices(range(len(self._asked)), cum_weights=self._weights)[0]
        one, two = self._kinds.random(), self._kinds.random()
        asked = self._asked[kind]
        if not isinstance(asked, Chat):
            size = asked.characters if isinstance(asked, Speech) else 0
            return Job(due, size, 0, stream=False, flagged=False, kind=kind)
        pace, leaves = self._client(phase)
        stream, flagged = one >= asked.plain, two < asked.flagged
        return Job(due, lengths.prompt, lengths.output, stream, flagged, kind, pace, leaves, blocks)

    def _client(self, phase: str) -> tuple[float, float]:
        """Bytes/s at which it reads, and when it leaves. Every client draws the same numbers, whatever it is."""
        slow, leave = self._clients.slow, self._clients.leave
        one, two, moment = (self._behaviour.random() for _ in range(3))
        pace = slow.bytes_per_second if slow and one < slow.share else 0.0
        if leave and two < leave.share and (not leave.phases or phase in leave.phases):
            return pace, moment * leave.within
        return pace, STAYS


def load(path: Path) -> Plan:
    return msgspec.json.decode(path.read_bytes(), type=Plan)


def save(plan: Plan, path: Path) -> None:
    path.write_bytes(msgspec.json.encode(plan))
