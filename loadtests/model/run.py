"""One run in simulated time: arrivals, a rule that places or spills them, workers that answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import log
from random import Random
from typing import Protocol

from gateway.fleet.outside import OutsideLoad
from gateway.model import Price, Slo
from gateway.routing.estimate import price_of
from loadtests.model.scenarios import Scenario
from loadtests.model.traffic import Ask, Source
from loadtests.model.worker import IDLE, Job, Worker

PRICE = Price.of(input_per_1m=0.60, output_per_1m=1.80)
API_FIRST_MEDIAN, API_FIRST_SIGMA = 0.45, 0.35
"""Seconds until the managed API's first token: log-normal; sigma as in loadtests.simfleet."""
REFRESH_SECONDS = 0.25
"""How often the gateway takes a new snapshot (fleet.view)."""
SCRAPE_SECONDS = 1.0
ROUNDING = 1e-9


@dataclass(slots=True)
class Held:
    """A request on a worker, with the lease that it holds."""

    ask: Ask
    worker: int
    work: int
    job: Job
    left: int = 0
    """Work still held after the first token."""
    scale: float = 0.0
    """Of the learned limit when it was admitted, with how full its worker was then."""
    full: float = 0.0
    voted: bool = False


@dataclass(slots=True)
class Fleet:
    """What all rules may look at; `waiting` and `outside` are as old as a scrape is."""

    workers: list[Worker]
    slo: Slo
    leased: list[int]
    counts: list[int]
    waiting: list[int]
    outside: list[int]


class Rule(Protocol):
    def place(self, fleet: Fleet, ask: Ask, now: float) -> Held | None:
        """The worker and the lease, with a Job yet to be made; None spills."""

    def ended(self, fleet: Fleet, held: Held, now: float) -> None: ...

    def late(self, fleet: Fleet, held: Held, now: float) -> None:
        """The SLO's time for the first token has passed without one."""

    def refresh(self, fleet: Fleet, now: float) -> None: ...


@dataclass(slots=True)
class Tally:
    """What came of the requests that are judged; money in USD."""

    asked: int = 0
    met: int = 0
    spilled: int = 0
    paid: float = 0.0
    all_sent_out: float = 0.0
    light: int = 0
    light_spilled: int = 0
    local: int = 0
    local_met: int = 0

    @property
    def attained(self) -> float:
        return self.met / max(1, self.asked)

    @property
    def cost(self) -> float:
        return self.paid / self.all_sent_out if self.all_sent_out else 0.0

    @property
    def light_spill(self) -> float:
        return self.light_spilled / self.light if self.light else 0.0


TURN, LATE, REFRESH, SCRAPE = range(4)


@dataclass(slots=True)
class Run:
    scenario: Scenario
    rule: Rule
    fleet: Fleet
    rng: Random
    tally: Tally = field(default_factory=Tally)
    _events: list[tuple[float, int, int, int | Held]] = field(default_factory=list)
    _held: dict[Job, Held] = field(default_factory=dict)
    _watch: list[OutsideLoad] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    def play(self, asks: Sequence[Ask], others: Sequence[Ask]) -> Tally:
        """Until every request has its answer."""
        mine, theirs = deque(asks), deque(others)
        self._watch = [OutsideLoad() for _ in self.fleet.workers] if others else []
        self._push(0.0, REFRESH)
        self._push(0.0, SCRAPE)
        while mine or self._held:
            at = self._events[0][0]
            if mine and mine[0].at <= at and not (theirs and theirs[0].at < mine[0].at):
                self._arrive(mine.popleft())
            elif theirs and theirs[0].at <= at:
                self._intrude(theirs.popleft())
            else:
                self._happen()
        return self.tally

    def _push(self, at: float, kind: int, what: int | Held = 0) -> None:
        heappush(self._events, (at, kind, next(self._numbers), what))

    def _arrive(self, ask: Ask) -> None:
        held = self.rule.place(self.fleet, ask, ask.at)
        price = price_of(PRICE, ask.prompt, ask.output)
        judged = ask.at >= self.scenario.judged_from
        if judged:
            self.tally.asked += 1
            self.tally.all_sent_out += price
        if light := self.scenario.light(ask.at):
            self.tally.light += 1
        if held is None:
            self.tally.light_spilled += light
            if judged:
                first = self.rng.lognormvariate(log(API_FIRST_MEDIAN), API_FIRST_SIGMA)
                self.tally.met += self.fleet.slo.ttft is None or first <= self.fleet.slo.ttft
                self.tally.spilled += 1
                self.tally.paid += price
            return
        self._held[held.job] = held
        self.fleet.leased[held.worker] += held.work
        self.fleet.counts[held.worker] += 1
        self._send(held.worker, held.job, ask.at)
        if self.fleet.slo.ttft is not None and ask.stream:
            self._push(ask.at + self.fleet.slo.ttft, LATE, held)

    def _intrude(self, ask: Ask) -> None:
        self._send(self.rng.randrange(len(self.fleet.workers)), Job(ask.prompt, ask.output, ask.at), ask.at)

    def _send(self, index: int, job: Job, now: float) -> None:
        worker = self.fleet.workers[index]
        before = worker.next
        worker.add(job, now)
        if worker.next != before:
            self._push(worker.next, TURN, index)

    def _happen(self) -> None:
        now, kind, _, what = heappop(self._events)
        if isinstance(what, Held):
            if what.job.first is None:
                self.rule.late(self.fleet, what, now)
        elif kind == TURN:
            self._turn(what, now)
        elif kind == REFRESH:
            for watch, leases in zip(self._watch, self.fleet.counts, strict=False):
                watch.leases(now, leases)
            self.rule.refresh(self.fleet, now)
            self._push(now + REFRESH_SECONDS, REFRESH)
        else:
            self._scrape(now)

    def _turn(self, index: int, now: float) -> None:
        worker = self.fleet.workers[index]
        if worker.next != now:  # the run was cut short by an arrival
            return
        for job in worker.turn():
            if job.first == now and (held := self._held.get(job)) is not None and held.ask.stream and held.left:
                self.fleet.leased[index] -= held.work - held.left
                held.work = held.left
            if job.done is not None and (held := self._held.pop(job, None)) is not None:
                self.fleet.leased[index] -= held.work
                self.fleet.counts[index] -= 1
                self._judge(held)
                self.rule.ended(self.fleet, held, now)
        if worker.next < IDLE:
            self._push(worker.next, TURN, index)

    def _judge(self, held: Held) -> None:
        job, slo = held.job, self.fleet.slo
        assert job.first is not None
        assert job.done is not None
        if job.arrived < self.scenario.judged_from:
            return
        self.tally.local += 1
        if slo.ttft is None or slo.tpot is None:
            raise ValueError("the model judges by both parts of an SLO")
        if held.ask.stream:
            first = job.first - job.arrived <= slo.ttft
            met = first and job.done - job.first <= slo.tpot * (job.output - 1) + ROUNDING
        else:
            met = job.done - job.arrived <= slo.ttft + slo.tpot * job.output
        self.tally.met += met
        self.tally.local_met += met

    def _scrape(self, now: float) -> None:
        fleet = self.fleet
        fleet.waiting = [len(worker.waiting) for worker in fleet.workers]
        for index, watch in enumerate(self._watch):
            worker = fleet.workers[index]
            watch.scrape(now, len(worker.waiting) + worker.running)
            each = fleet.leased[index] // fleet.counts[index] if fleet.counts[index] else 0
            fleet.outside[index] = watch.requests(now) * each
        self._push(now + SCRAPE_SECONDS, SCRAPE)


def simulate(scenario: Scenario, src: Source, rule: Rule, seed: int) -> Tally:
    """The same seed gives every rule the same requests."""
    rng = Random(f"{scenario.name} {seed}")
    asks, others = scenario.asks(src, rng), scenario.others(src, rng)
    n = scenario.workers
    fleet = Fleet([Worker(scenario.hardware) for _ in range(n)], scenario.slo, [0] * n, [0] * n, [0] * n, [0] * n)
    return Run(scenario, rule, fleet, rng).play(asks, others)
