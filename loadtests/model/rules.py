"""The rules that are compared: the gateway's own, and what others do."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count
from random import Random

from gateway.model import (
    Demand,
    GenRequest,
    Learned,
    Match,
    Model,
    Policy,
    Rule,
    Served,
    Slo,
    Snapshot,
    Spill,
    Tenant,
    Timeouts,
    Upstream,
    UpstreamState,
)
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.estimate import work_left
from gateway.routing.learn import PRIOR, learn
from gateway.routing.limit import Admitted, bounds, clamp, expected_limit_us, factor
from gateway.routing.pickers import pick, sample
from gateway.routing.priors import DEFAULT_SPEED, prior_limit_us, work_us
from gateway.routing.votes import Ending, Timings, alone, vote
from loadtests.model.run import PRICE, ROUNDING, Fleet, Held
from loadtests.model.traffic import Ask
from loadtests.model.worker import Job

SEATS = 128
_NET = (ip_network("127.0.0.0/8"),)


def make_policy(workers: int, slo: Slo) -> Policy:
    """Alike workers of a GPU kind nobody knows: the gateway starts from its priors, whatever the hardware is."""
    limit = prior_limit_us(DEFAULT_SPEED, SEATS)
    gpus = tuple(
        Upstream(f"w{i}", "gpu", "local", "http://127.0.0.1", "openai", "home", _NET, DEFAULT_SPEED, limit, SEATS)
        for i in range(workers)
    )
    api = Upstream("api", "api", "managed", "http://127.0.0.1", "openai", "out", _NET, DEFAULT_SPEED, 10**6, 10**6)
    rule = Rule("all", Match(), ("gpu",), slo, 0.0, Spill(("api",)), (), 1, Timeouts(), Demand(), {})
    model = Model("m", "text", (Served("gpu", "m"), Served("api", "m", PRICE)))
    every = {one.name: one for one in (*gpus, api)}
    return Policy("v", {}, {"gpu": gpus, "api": (api,)}, every, {"m": model}, (rule,), {}, {}, True)


TENANT = Tenant("t")


@dataclass(slots=True)
class LearnedLimit:
    """The gateway: real decide, pick, limit, votes and estimates; the snapshot is as old as it is there."""

    policy: Policy
    rng: Random
    scale: float = 1.0
    learned: Learned = PRIOR
    shrinking: bool = True
    """Whether a lease gives back the work of its prompt when the first token is out."""
    replicas: int = 1
    """They vote in turn, each by the scale of the last snapshot and its own votes since; the store has all votes."""
    _seen: list[float] = field(default_factory=list)
    _turns: count[int] = field(default_factory=count)
    _board: Board | None = None
    _expected: float = 0.0
    _scale_seen: float = 1.0

    @property
    def worker(self) -> Upstream:
        return self.policy.backends["gpu"][0]

    def refresh(self, fleet: Fleet, now: float) -> None:
        self._seen = [self.scale] * self.replicas
        worker = self.worker
        self._expected = expected_limit_us(worker.speed, worker.seats, fleet.slo, self.learned)
        self._scale_seen = self.scale
        states = {
            one.name: UpstreamState(one, outside=outside)
            for one, outside in zip(self.policy.backends["gpu"], fleet.outside, strict=True)
        }
        snapshot = Snapshot(now, states, scales={("gpu", "m"): self.scale}, learned={"m": self.learned})
        self._board = Board(self.policy, snapshot)

    def place(self, fleet: Fleet, ask: Ask, now: float) -> Held | None:
        request = GenRequest(
            "r", "chat/completions", "m", TENANT, b"", prompt_bytes=ask.text, stream=ask.stream, priority=ask.priority
        )
        assert self._board is not None
        decision = decide(request, self._board, self.rng)
        candidates = decision.primary[0].candidates
        places = [int(one.upstream.name[1:]) for one in candidates]
        index = pick(candidates, [fleet.leased[i] for i in places], [fleet.counts[i] for i in places])
        if index is None:
            return None
        place, one = places[index], candidates[index]
        full = (fleet.leased[place] + one.outside + one.work) / one.limit
        left = min(one.work, work_left(one.upstream, one.ask)) if self.shrinking else 0
        return Held(ask, place, one.work, Job(ask.prompt, ask.output, now), left, self._scale_seen, full)

    def late(self, fleet: Fleet, held: Held, now: float) -> None:
        self._vote(fleet, held, now, "open")

    def ended(self, fleet: Fleet, held: Held, now: float) -> None:
        self.learned = learn(self.learned, held.ask.text, held.ask.prompt, held.ask.output)
        self._vote(fleet, held, now, "done")

    def _vote(self, fleet: Fleet, held: Held, now: float, ending: Ending) -> None:
        if held.voted:
            return
        job, worker = held.job, self.worker
        first = None if job.first is None else job.first - job.arrived
        age = now - job.arrived + (ROUNDING if ending == "open" else 0.0)  # the check runs as the limit passes
        timings = Timings(age, first, None if job.done is None else age, job.output, ending, held.ask.stream)
        met = vote(fleet.slo, timings, alone(worker.speed, round(held.ask.text / self.learned.bytes_per_token)))
        if met is None:
            return
        held.voted = True
        replica = next(self._turns) % self.replicas
        moved = factor(met, fleet.slo.target, Admitted(held.scale, held.full), self._seen[replica])
        within = bounds(self._expected, worker.speed, worker.seats, self.learned)
        self._seen[replica] = clamp(self._seen[replica] * moved, within)
        self.scale = clamp(self.scale * moved, within)


@dataclass(slots=True)
class Baseline:
    """Everything that needs no vote. `room` says whether a worker may take `work` more."""

    rng: Random
    learned: Learned = PRIOR

    def refresh(self, fleet: Fleet, now: float) -> None: ...

    def late(self, fleet: Fleet, held: Held, now: float) -> None: ...

    def ended(self, fleet: Fleet, held: Held, now: float) -> None:
        self.learned = learn(self.learned, held.ask.text, held.ask.prompt, held.ask.output)

    def work(self, ask: Ask) -> int:
        prompt = round(ask.text / self.learned.bytes_per_token)
        return work_us(DEFAULT_SPEED, SEATS, prompt, round(self.learned.output))

    def sampled(self, fleet: Fleet) -> list[int]:
        return sample(range(len(fleet.workers)), self.rng)

    def held(self, ask: Ask, worker: int, now: float) -> Held:
        return Held(ask, worker, self.work(ask), Job(ask.prompt, ask.output, now))


@dataclass(slots=True)
class NoSpill(Baseline):
    """Least in flight of the sampled workers, always."""

    def place(self, fleet: Fleet, ask: Ask, now: float) -> Held | None:
        return self.held(ask, min(self.sampled(fleet), key=lambda i: fleet.counts[i]), now)


@dataclass(slots=True)
class Gauge(Baseline):
    """Spills when every sampled worker's scraped waiting gauge is at least one; scraped every second."""

    def place(self, fleet: Fleet, ask: Ask, now: float) -> Held | None:
        free = [i for i in self.sampled(fleet) if fleet.waiting[i] < 1]
        return self.held(ask, min(free, key=lambda i: fleet.counts[i]), now) if free else None


@dataclass(slots=True)
class FixedCount(Baseline):
    most: float = 1.0

    def place(self, fleet: Fleet, ask: Ask, now: float) -> Held | None:
        least = min(self.sampled(fleet), key=lambda i: fleet.counts[i])
        return self.held(ask, least, now) if fleet.counts[least] + 1 <= self.most else None


@dataclass(slots=True)
class FixedWork(Baseline):
    """`most` in GPU-us."""

    most: float = 1.0

    def place(self, fleet: Fleet, ask: Ask, now: float) -> Held | None:
        held = self.held(ask, 0, now)
        held.work = min(held.work, round(self.most))
        held.worker = min(self.sampled(fleet), key=lambda i: fleet.leased[i] + fleet.outside[i])
        load = fleet.leased[held.worker] + fleet.outside[held.worker] + held.work
        return held if load <= self.most and fleet.counts[held.worker] < SEATS else None


EXIT_SHARE = 0.8
DWELL_SECONDS = 2.0


@dataclass(slots=True)
class Switch(Baseline):
    """The route is turned over to the API at `most` requests per worker, back at 0.8 of it, never within 2 s."""

    most: float = 1.0
    spilling: bool = False
    since: float = -DWELL_SECONDS

    def place(self, fleet: Fleet, ask: Ask, now: float) -> Held | None:
        mean = sum(fleet.counts) / len(fleet.counts)
        wanted = mean > EXIT_SHARE * self.most if self.spilling else mean >= self.most
        if wanted is not self.spilling and now - self.since >= DWELL_SECONDS:
            self.spilling, self.since = wanted, now
        return None if self.spilling else self.held(ask, min(self.sampled(fleet), key=lambda i: fleet.counts[i]), now)
