"""The Locust user: claims an arrival, waits until it is due, asks, and reads the answer to its end.

The load of a scenario is open loop. Arrivals are fixed beforehand; an idle user claims the next one and sleeps until it
is due, so a slow answer delays nobody else's request as long as some user is idle. All times count from when a request
was due. The number of users bounds the requests in flight: should all of them be busy, an arrival starts late, and both
its lateness and its longer time to first token are on record. Without a scenario each user asks again a moment after
its last answer, as Locust's users do: closed loop, for looking at it by hand.
"""

from __future__ import annotations

import os
from random import Random
from typing import ClassVar

import gevent
from locust import User, task

from loadtests.lengths import builtin
from loadtests.load.exchange import Wire
from loadtests.load.feed import Feed
from loadtests.load.plan import Draws, Job, Kind, Plan, Result, scaled
from loadtests.load.scenario import Scenario

IDLE_SECONDS = 0.5
"""Between two looks of a user for whom no arrival is left."""
PAUSE_SECONDS = 1.0
"""Closed loop: mean of the exponential pause between an answer and the next request."""


class Endless(Feed):
    """Jobs without end, each due as it is claimed: the closed loop."""

    def __init__(self, scenario: Scenario, seed: int = 1) -> None:
        super().__init__(Plan("free", seed, 0.0, 0.0, (), tuple(map(Kind.of, scenario.requests)), ()))
        self._draws, self._rng, self._number = Draws(scenario, seed), Random(seed), 0
        self._bounds = scenario.lengths

    def claim(self) -> tuple[int, Job]:
        self._number += 1
        due = self.now() + self._rng.expovariate(1 / PAUSE_SECONDS)
        return self._number, self._draws.job(due, scaled(builtin(self._rng), self._bounds), "")

    def over(self) -> bool:
        return False


class GatewayUser(User):
    """One client. `feed` is set when a test starts."""

    feed: ClassVar[Feed]

    def on_start(self) -> None:
        self._wire = Wire(self.host or "", os.environ.get("GATEWAY_KEY", "demo"), self.feed.now)

    @task
    def ask(self) -> None:
        claimed = self.feed.claim()
        if claimed is None:
            gevent.sleep(IDLE_SECONDS)
            return
        number, job = claimed
        gevent.sleep(max(0.0, job.due - self.feed.now()))
        result = self._wire.exchange(self.feed.kind(job), job, number)
        self.feed.done(result)
        self._tell(result)

    def _tell(self, result: Result) -> None:
        """Locust's own tables: by kind and outcome, times from when it was due."""
        until = result.ended if result.first is None else result.first
        outcome = "left by its client" if result.gone else result.outcome or f"status {result.status}"
        self.environment.events.request.fire(
            request_type=result.kind,
            name=outcome,
            response_time=1000 * (until - result.due),
            response_length=0,
            exception=RuntimeError(result.fault or f"status {result.status}") if result.failed else None,
            context={},
        )
