"""Votes of attempts on the learned limit: cast once, as early as they are known."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from gateway.edge.account import Attempt
from gateway.edge.ballot import Ballot, ending_of, timings
from gateway.errors import ConnectFailed, Reset, UpstreamFault, UpstreamTimeout
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.model import GenRequest, Lease, Slo, Snapshot, UpstreamState, Usage
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.guard import Guard
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT
from gateway.routing.limit import FULL, RATE
from gateway.routing.votes import Ending
from gateway.store.connection import Store
from gateway.telemetry import Telemetry
from tests.worlds import policy, request, rule

POOL, SLO = ("gpu", "m"), Slo(ttft=0.05, tpot=0.02)
STREAM = request(stream=True, prompt_bytes=40, max_tokens=10)


class Desk:
    """One lease on a full enough worker, and what its attempt makes of the scale."""

    def __init__(self, asked: GenRequest = STREAM, full: float = FULL, slo: Slo = SLO, scale: float = 1.0) -> None:
        made = policy(rules=(rule(slo=slo),))
        states = {name: UpstreamState(one) for name, one in made.upstreams.items()}
        board = Board(made, Snapshot(100.0, states, scales={POOL: scale}))
        decision = decide(asked, board, Random(1))
        group = decision.primary[0]
        self.lessons = Lessons(Store("redis://127.0.0.1:1"), Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY))
        self.lessons.scales[POOL] = scale
        self.telemetry = Telemetry()
        self.attempt = Attempt("w1", "x", time.monotonic(), streamed=asked.stream)
        lease = Lease("id", group.candidates[0], group, "w1@0", decision, full)
        self.ballot = Ballot(self.lessons, self.telemetry, board, asked, lease, self.attempt, Guard(slo, (0.01, 100.0)))

    @property
    def moved(self) -> float:
        return self.lessons.scale(POOL)

    def answered(self, first: float, last: float, tokens: int, paused: bool = False) -> None:
        """In seconds since it was sent."""
        attempt = self.attempt
        attempt.first, attempt.last, attempt.ended = (attempt.began + s for s in (first, last, last))
        attempt.tokens = tokens
        attempt.held_at = attempt.began if paused else None

    def close(self, ending: Ending = "done", usage: Usage | None = None) -> float:
        self.ballot.close(ending, usage)
        return self.moved


async def test_an_answer_in_time_raises_the_limit_of_a_full_worker_only() -> None:
    for full, raised in ((FULL, True), (FULL - 0.01, False)):
        desk = Desk(full=full)
        desk.answered(0.01, 0.1, 10)
        assert (desk.close() > 1.0) is raised


async def test_a_late_first_token_votes_as_soon_as_its_time_is_over_and_only_once() -> None:
    desk = Desk()
    deadline = time.monotonic() + 5
    while desk.moved == 1.0:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    once = desk.moved
    assert once == pytest.approx(math.exp(-RATE * SLO.target))
    desk.answered(3.0, 9.0, 10)
    assert desk.close() == once
    rows = [s for f in desk.telemetry.collect() for s in f.samples if s.name == "gateway_votes_total"]
    assert [(row.labels["met"], row.value) for row in rows] == [("no", 1.0)]


async def test_a_first_token_in_time_is_no_miss_when_the_watch_looks() -> None:
    desk = Desk()
    desk.answered(0.01, 0.02, 1)
    desk.attempt.ended = 0.0
    desk.ballot.late()
    assert desk.moved == 1.0
    desk.answered(0.01, 0.1, 10)
    assert desk.close() > 1.0


@pytest.mark.parametrize(
    ("ending", "answered", "vote"),
    [
        ("timeout", {"first": 0.01, "last": 0.1, "tokens": 10}, "down"),
        ("failed", {"first": 0.01, "last": 9.0, "tokens": 10}, None),
        ("left", {"first": 0.01, "last": 0.02, "tokens": 2}, None),
        ("done", {"first": 0.01, "last": 0.9, "tokens": 10}, "down"),
        ("done", {"first": 0.01, "last": 0.9, "tokens": 10, "paused": True}, None),
    ],
)
async def test_endings(ending: Ending, answered: dict[str, Any], vote: str | None) -> None:
    desk = Desk()
    desk.answered(**answered)
    moved = desk.close(ending)
    assert moved < 1.0 if vote == "down" else moved == 1.0


async def test_told_tokens_count_before_counted_frames_and_choices_are_side_by_side() -> None:
    asked = replace(STREAM, n=4)
    attempt = Attempt("w1", "x", 10.0, ended=11.0, first=10.1, last=11.0, tokens=77, streamed=True)
    assert timings(attempt, asked, Usage(1, 40), "done", 99.0).tokens == 10
    assert timings(attempt, asked, Usage(1, 40, estimated=True), "done", 99.0).tokens == 19
    assert timings(attempt, asked, None, "left", 99.0).age == 1.0


async def test_an_answer_that_is_not_streamed_is_held_to_its_total() -> None:
    for took, raised in ((0.2, True), (0.9, False)):
        desk = Desk(request(prompt_bytes=40, max_tokens=10))
        desk.attempt.ended = desk.attempt.began + took
        assert (desk.close("done", Usage(10, 10)) > 1.0) is raised


@pytest.mark.parametrize(
    ("fault", "deadline", "ending"),
    [
        (None, None, "done"),
        (UpstreamTimeout("first_byte", 1.0), None, "timeout"),
        (UpstreamTimeout("total", 1.0), 0.0, "left"),
        (UpstreamTimeout("total", 1.0, held=True), None, "left"),
        (UpstreamTimeout("connect", 1.0, processed=False), None, "failed"),
        (Reset("gone"), None, "failed"),
        (ConnectFailed("refused"), None, "failed"),
    ],
)
def test_only_slowness_speaks_of_load(fault: UpstreamFault | None, deadline: float | None, ending: Ending) -> None:
    assert ending_of(fault, deadline) == ending


def test_the_cap_proves_a_miss_and_never_that_an_answer_was_in_time() -> None:
    """A whole answer whose usage nobody told may have been short: 30 s within `max_tokens` x tpot say nothing."""
    asked, attempt = request(max_tokens=4000), Attempt("w1", "x", 10.0, ended=40.0)
    assert timings(attempt, asked, None, "done", 99.0).tokens is None
    assert timings(attempt, asked, Usage(1, 100, estimated=True), "done", 99.0).tokens is None
    assert timings(attempt, asked, None, "left", 99.0).tokens == 4000


async def test_a_stream_that_is_answered_whole_is_judged_as_a_whole() -> None:
    desk = Desk()
    desk.attempt.streamed = False
    desk.ballot.late()
    assert desk.moved == 1.0
    desk.attempt.ended = desk.attempt.began + 0.2
    assert desk.close("done", Usage(10, 10)) > 1.0


async def test_the_vote_is_held_against_what_the_scale_was_when_it_was_admitted() -> None:
    """Admitted at 2, the scale has been halved since: a miss goes no further."""
    desk = Desk(scale=2.0)
    desk.lessons.scales[POOL] = 1.0
    desk.answered(3.0, 9.0, 10)
    assert desk.close() == 1.0
