"""What the gateway learns while it runs: limits and lengths, by its own functions, told at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from gateway.fleet.lessons import RULE_SECONDS
from gateway.model import Decision, Learned, Lease, PoolKey
from gateway.routing.board import Board
from gateway.routing.estimate import prompt_tokens
from gateway.routing.forecast import Forecast, Pace, correct, forecast
from gateway.routing.guard import Guard
from gateway.routing.learn import PRIOR, learn
from gateway.routing.limit import Admitted, clamp, factor
from gateway.routing.votes import Ending, Timings, alone, vote
from gateway.routing.worth import averaged
from loadtests.model.policies.mix import Wish
from loadtests.model.worker import Job

ROUNDING = 1e-9


@dataclass(slots=True)
class Teacher:
    """The in-memory form of `fleet.lessons`: one replica, so nothing is exchanged."""

    scales: dict[PoolKey, float] = field(default_factory=dict)
    lengths: dict[str, Learned] = field(default_factory=dict)
    paces: dict[PoolKey, Pace] = field(default_factory=dict)
    worths: dict[str, float] = field(default_factory=dict)
    _came: defaultdict[PoolKey, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))

    def came(self, pool: PoolKey, rule: str, now: float) -> None:
        self._came[pool][rule] = now

    def decided(self, decision: Decision) -> None:
        if decision.worth is not None:
            name = decision.rule.name
            self.worths[name] = averaged(self.worths.get(name), decision.worth)

    def rules(self, now: float) -> dict[PoolKey, tuple[str, ...]]:
        """The rules under which requests came to each pool lately."""
        return {
            pool: tuple(name for name, at in names.items() if at >= now - RULE_SECONDS)
            for pool, names in self._came.items()
        }

    def forecast(self, board: Board, wish: Wish, lease: Lease) -> Forecast:
        """What was to be expected when the lease was taken."""
        upstream, model = lease.candidate.upstream, wish.request.model
        inflight, pace = (
            board.snapshot.states[upstream.name].inflight,
            self.paces.get((upstream.backend, model), Pace()),
        )
        return forecast(lease.candidate, wish.request.n, inflight, board.known(model), pace)

    def finished(self, wish: Wish, pool: PoolKey, said: Forecast, first: float, done: float) -> None:
        """`first` and `done`: seconds from when it was sent to its first token and to its last."""
        ask, known = wish.ask, self.lengths.get(wish.request.model, PRIOR)
        self.lengths[wish.request.model] = learn(known, ask.text, ask.prompt, ask.output)
        if wish.request.stream:
            each = (done - first) / (ask.output - 1) if ask.output > 1 else None
            self.paces[pool] = correct(self.paces.get(pool, Pace()), said, first, each)


@dataclass(slots=True)
class Ballot:
    """One local answer's vote, as `edge.ballot` casts it."""

    teacher: Teacher
    board: Board
    wish: Wish
    lease: Lease
    job: Job
    guard: Guard
    cast: bool = False

    @property
    def pool(self) -> PoolKey:
        return self.lease.candidate.upstream.backend, self.wish.request.model

    def say(self, now: float, ending: Ending) -> None:
        job, request = self.job, self.wish.request
        if self.cast:
            return
        first = None if job.first is None else job.first - job.arrived
        age = now - job.arrived + (ROUNDING if ending == "open" else 0.0)  # the check runs as the limit passes
        seen = Timings(age, first, None if job.done is None else age, job.output, ending, request.stream)
        speed = self.lease.candidate.upstream.speed
        met = vote(self.guard.slo, seen, alone(speed, prompt_tokens(request, self.board.known(request.model))))
        if met is None:
            return
        self.cast = True
        admitted = Admitted(self.board.snapshot.scales.get(self.pool, 1.0), self.lease.full)
        before = self.teacher.scales.get(self.pool, 1.0)
        moved = factor(met, self.guard.slo.target, admitted, before)
        self.teacher.scales[self.pool] = clamp(before * moved, self.guard.within)

    def late(self, loop: asyncio.AbstractEventLoop) -> None:
        """The time for the first token is over."""
        if self.job.first is None:
            self.say(loop.time(), "open")
