"""One folder under one pattern of traffic, from the first request to the last answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import cast

from gateway.admission import Admission
from gateway.errors import GatewayError
from gateway.fleet.leases import Leases
from gateway.model import Damped, DampedKey, Decision, Lease, Policy, Slo, Snapshot, UpstreamState, Visit
from gateway.routing.board import Board
from gateway.routing.damping import step
from gateway.routing.decide import decide
from gateway.routing.estimate import price_of, work_left
from gateway.routing.plan import plan_of
from gateway.waiting.lines import Lines
from loadtests.model.policies.clock import SimulatedLoop
from loadtests.model.policies.figures import Ended, Figures, Tally
from loadtests.model.policies.mix import HOUR, Pattern, Wish, wishes
from loadtests.model.policies.site import APIS, SAMPLE_SECONDS, SCRAPE_SECONDS, Api, Station, stations
from loadtests.model.policies.teacher import Ballot, Teacher
from loadtests.model.policies.till import Purse, Shelf
from loadtests.model.traffic import Source
from loadtests.model.worker import Job

MIDNIGHT = datetime(2026, 3, 3, tzinfo=UTC).timestamp()
"""A Tuesday."""


@dataclass(slots=True)
class Sent:
    """A job on a worker, and what is to be done at its first token and at its last."""

    first: Callable[[], None]
    done: asyncio.Future[None]


@dataclass(slots=True)
class Play:
    policy: Policy
    loop: SimulatedLoop
    epoch: float
    """What the store's clock shows when the simulated one shows 0."""
    rng: Random
    tally: Tally = field(init=False)
    shelf: Shelf = field(default_factory=Shelf)
    teacher: Teacher = field(default_factory=Teacher)
    board: Board = field(init=False)
    purse: Purse = field(init=False)
    stations: Mapping[str, Station] = field(init=False)
    lines: Lines = field(init=False)
    admission: Admission = field(init=False)
    damped: Mapping[DampedKey, Damped] = field(default_factory=dict)
    _sent: dict[Job, Sent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tally = Tally(self.policy.zones)
        self.purse = Purse(lambda: self.epoch + self.loop.time())
        self.stations = stations(self.policy, self.loop, self._told, self.rng)
        self.lines = Lines(self.loop.time)
        leases = cast(Leases, self.shelf)  # what of it admission uses, without a store
        self.admission = Admission(
            leases, self.purse, lambda: self.board.snapshot, self.lines, self.loop.time, self.rng
        )
        self._look(0)

    async def all(self, stream: Iterator[Wish]) -> None:
        async with asyncio.TaskGroup() as group:
            for wish in stream:
                await asyncio.sleep(wish.ask.at - self.loop.time())
                group.create_task(self._serve(wish))

    def _look(self, number: int) -> None:
        """A new snapshot, four times a second; every fourth reads the workers' pages."""
        now = self.loop.time()
        for name, station in self.stations.items():
            station.sample(now, self.shelf.counts[name])
            if number % round(SCRAPE_SECONDS / SAMPLE_SECONDS) == 0:
                station.scrape(now, self.epoch)
        states = {name: self._state(name, now) for name in self.policy.upstreams}
        scales, rules = dict(self.teacher.scales), self.teacher.rules(now)
        learned, lines = dict(self.teacher.lengths), self.lines.ahead(now)
        made = Snapshot(self.epoch + now, states, scales=scales, rules=rules, learned=learned, lines=lines)
        self.damped = step(self.policy, made, self.damped)
        paces, worths = dict(self.teacher.paces), self.teacher.worths
        self.lines.notice(made)
        self.board = Board(self.policy, replace(made, damped=self.damped), paces=paces, worths=worths)
        self.loop.call_at(now + SAMPLE_SECONDS, self._look, number + 1)

    def _state(self, name: str, now: float) -> UpstreamState:
        if name in self.stations:
            return self.stations[name].state(self.shelf, now)
        return UpstreamState(self.policy.upstreams[name], self.shelf.work[name], self.shelf.counts[name])

    async def _serve(self, wish: Wish) -> None:
        board = self.board
        try:
            decision = self._decide(wish)
            self.purse.arrived(decision.rule.name)
            self.teacher.decided(decision)
            lease = await self.admission.admit(wish.request, decision, Visit(), partial(self._decide, wish))
        except GatewayError:
            self.tally.ended.append(self._asked(wish, self._slo(wish, board)))
            return
        try:
            ended = await self._send(wish, decision, lease)
        finally:
            self.admission.release(lease)
        self.tally.ended.append(ended)

    def _decide(self, wish: Wish) -> Decision:
        return decide(wish.request, self.board, self.rng)

    def _slo(self, wish: Wish, board: Board) -> Slo:
        """Of the rule that refused it."""
        try:
            return plan_of(wish.request, board).rule.slo
        except GatewayError:
            return Slo()

    def _asked(self, wish: Wish, slo: Slo) -> Ended:
        ask = wish.ask
        served = self.policy.models[wish.request.model].served_by
        prices = [price_of(one.price, ask.prompt, ask.output) for one in served if one.price is not None]
        stream = wish.request.stream
        timed = stream and wish.request.priority != "batch"
        return Ended(ask.at, wish.demand, slo, timed, stream, ask.output, next(iter(prices), 0.0))

    async def _send(self, wish: Wish, decision: Decision, lease: Lease) -> Ended:
        ended = self._asked(wish, decision.rule.slo)
        upstream, price = lease.candidate.upstream, lease.candidate.served.price
        began, said = self.loop.time(), self.teacher.forecast(self.board, wish, lease)
        if upstream.kind == "managed":
            first = await self._buy(wish, APIS.get(upstream.backend, Api()))
        else:
            first = await self._compute(wish, decision, lease)
        now, pool = self.loop.time(), (upstream.backend, wish.request.model)
        self.teacher.finished(wish, pool, said, first - began, now - began)
        paid = 0.0 if price is None else price_of(price, wish.ask.prompt, wish.ask.output)
        if lease.reservation is not None:
            self.purse.settle(lease.reservation, paid)
        arrived = wish.ask.at
        return ended._replace(upstream=upstream, first=first - arrived, done=now - arrived, paid=paid)

    async def _buy(self, wish: Wish, api: Api) -> float:
        """When the first token came."""
        first = self.loop.time() + api.draw(self.rng)
        await asyncio.sleep(first + api.each * (wish.ask.output - 1) - self.loop.time())
        return first

    async def _compute(self, wish: Wish, decision: Decision, lease: Lease) -> float:
        """The same on a worker of ours, whose limit learns from it; the prompt's work is given back at that moment."""
        now, request, board = self.loop.time(), wish.request, self.board
        upstream = lease.candidate.upstream
        job = Job(wish.ask.prompt, wish.ask.output, now)
        guard = board.guard(upstream.backend, request.model) if decision.rule.learned else None
        ballot = None if guard is None else Ballot(self.teacher, board, wish, lease, job, guard)
        if ballot is not None and request.stream and ballot.guard.slo.ttft is not None:
            self.loop.call_at(now + ballot.guard.slo.ttft, ballot.late, self.loop)

        def first() -> None:
            if request.stream:
                self.admission.shrink(lease, min(lease.candidate.work, work_left(upstream, lease.candidate.ask)))

        done: asyncio.Future[None] = self.loop.create_future()
        self._sent[job] = Sent(first, done)
        self.teacher.came((upstream.backend, request.model), decision.rule.name, now)
        self.stations[upstream.name].send(job)
        await done
        if ballot is not None:
            ballot.say(job.done or self.loop.time(), "done")
        return job.first or self.loop.time()

    def _told(self, job: Job) -> None:
        sent = self._sent[job]
        if job.first is not None and job.done is None:
            sent.first()
        if job.done is not None:
            del self._sent[job]
            sent.done.set_result(None)


def play(policy: Policy, pattern: Pattern, src: Source, seed: int) -> Figures:
    """The same seed gives every folder the same traffic. Raises ExceptionGroup where the gateway raises."""
    loop = SimulatedLoop()
    try:
        stream = wishes(policy, pattern, src, Random(f"{pattern.name} {seed}"))
        made = Play(policy, loop, MIDNIGHT + pattern.hour * HOUR, Random(seed))
        loop.run_until_complete(made.all(stream))
        if made.shelf.held:
            raise AssertionError(f"{made.shelf.held} leases were never given back")
        return made.tally.figures(pattern.seconds)
    finally:
        loop.close()
