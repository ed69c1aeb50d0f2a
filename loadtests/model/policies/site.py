"""The machines of a policy folder: a simulated worker per local upstream, its gauges, and the bought APIs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import log
from random import Random

from gateway.fleet.outside import OutsideLoad
from gateway.fleet.view import mean_work
from gateway.model import Policy, Reading, Upstream, UpstreamState
from loadtests.model.policies.till import Shelf
from loadtests.model.worker import IDLE, Hardware, Job, Worker

KV_TOKENS = 450_000
LAG_SECONDS = (3.0, 6.0)
"""How far the gauges of a worker trail the truth, drawn for each worker: what vLLM's do."""
SAMPLE_SECONDS = 0.25
SCRAPE_SECONDS = 1.0
Told = Callable[[Job], None]


@dataclass(frozen=True, slots=True)
class Api:
    """A bought API: first token log-normal (median in seconds, sigma), then `each` seconds per token. Assumed."""

    first: float = 0.45
    sigma: float = 0.35
    each: float = 0.02

    def draw(self, rng: Random) -> float:
        return rng.lognormvariate(log(self.first), self.sigma)


APIS: Mapping[str, Api] = {"groq": Api(first=0.25, each=0.005), "deepinfra": Api(first=0.60, each=0.025)}
"""By backend; every other one is the API of docs/limit.md."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What a worker shows at one instant."""

    at: float
    running: int
    waiting: int
    kv: float
    busy: bool


@dataclass(slots=True)
class Station:
    """A worker on the simulated loop. `told` hears of each job's first token and of its last."""

    upstream: Upstream
    loop: asyncio.AbstractEventLoop
    told: Told
    lag: float
    worker: Worker = field(init=False)
    reading: Reading | None = None
    outside: OutsideLoad = field(default_factory=OutsideLoad)
    _shown: deque[Gauges] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.worker = Worker(Hardware(self.upstream.speed, self.upstream.seats, kv_tokens=KV_TOKENS))

    def send(self, job: Job) -> None:
        before = self.worker.next
        self.worker.add(job, self.loop.time())
        if self.worker.next != before:
            self.loop.call_at(self.worker.next, self._turn, self.worker.next)

    def _turn(self, at: float) -> None:
        if self.worker.next != at:  # the run was cut short by an arrival
            return
        for job in self.worker.turn():
            self.told(job)
        if self.worker.next < IDLE:
            self.loop.call_at(self.worker.next, self._turn, self.worker.next)

    def sample(self, now: float, leases: int) -> None:
        """Notes what the gauges will show a lag later, and how many leases we hold."""
        worker = self.worker
        kv = worker.used / worker.hardware.kv_tokens
        self._shown.append(Gauges(now, worker.running, len(worker.waiting), kv, worker.next < IDLE))
        while len(self._shown) > 1 and self._shown[1].at <= now - self.lag:
            self._shown.popleft()
        self.outside.leases(now, leases)

    def scrape(self, now: float, epoch: float) -> None:
        """GPU utilisation is a duty cycle: of the last second that the gauges know."""
        old = self._shown[0]
        recent = [one.busy for one in self._shown if one.at < old.at + SCRAPE_SECONDS]
        busy = sum(recent) / len(recent)
        at = epoch + now
        self.reading = Reading(
            at=at, healthy=True, running=old.running, waiting=old.waiting, kv=min(1.0, old.kv), kv_tokens=KV_TOKENS,
            gpu=busy, gpu_at=at,
        )  # fmt: skip
        self.outside.scrape(now, old.running + old.waiting)

    def state(self, shelf: Shelf, now: float) -> UpstreamState:
        name = self.upstream.name
        made = UpstreamState(self.upstream, shelf.work[name], shelf.counts[name], reading=self.reading)
        strangers = self.outside.requests(now)
        return replace(made, outside=strangers * mean_work(made)) if strangers else made


def stations(policy: Policy, loop: asyncio.AbstractEventLoop, told: Told, rng: Random) -> dict[str, Station]:
    """One for each local upstream, by name."""
    local = [one for one in policy.upstreams.values() if one.kind == "local"]
    return {one.name: Station(one, loop, told, rng.uniform(*LAG_SECONDS)) for one in local}
