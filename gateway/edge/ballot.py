"""One attempt's vote on the learned limit of its worker: as soon as it is known to have missed, else at its end."""

from __future__ import annotations

import asyncio
import time

from gateway.edge.account import Attempt
from gateway.edge.verdict import passed
from gateway.errors import UpstreamFault, UpstreamTimeout
from gateway.fleet.lessons import Bounds, Lessons
from gateway.model import GenRequest, Lease, Usage
from gateway.routing.board import Board
from gateway.routing.guard import Guard
from gateway.routing.limit import Admitted, factor, reach
from gateway.routing.votes import Alone, Ending, Timings, alone, vote
from gateway.telemetry import Telemetry

_US = 1e6
TICK_SECONDS = 0.002
"""The event loop's timers are up to a millisecond early."""


class Ballot:
    """Casts at most one vote. `close` must be called once, whatever became of the attempt."""

    __slots__ = (
        "_admitted", "_attempt", "_guard", "_idle", "_lessons", "_pool", "_request", "_telemetry", "_timer",
    )  # fmt: skip

    def __init__(
        self,
        lessons: Lessons,
        telemetry: Telemetry,
        board: Board,
        request: GenRequest,
        lease: Lease,
        attempt: Attempt,
        guard: Guard,
    ) -> None:
        """`guard` is that of the pool on `board`, which decided and is not kept."""
        upstream = lease.candidate.upstream
        self._lessons, self._telemetry, self._request, self._attempt = lessons, telemetry, request, attempt
        self._pool = (upstream.backend, request.model)
        self._guard: Guard | None = guard
        self._admitted = Admitted(board.snapshot.scales.get(self._pool, 1.0), lease.full)
        ask = lease.candidate.ask
        if ask.work:
            self._idle = Alone(ask.work / _US, 0.0)
        else:
            self._idle = alone(upstream.speed, ask.input_tokens, ask.output_tokens // request.n)
        self._timer: asyncio.TimerHandle | None = None
        ttft = guard.slo.ttft
        if request.stream and ttft is not None:
            self._timer = asyncio.get_running_loop().call_later(ttft + TICK_SECONDS, self.late)

    def late(self) -> None:
        """The time for the first token is over."""
        if self._attempt.first is None and self._attempt.streamed:
            self._cast("open", None)

    def close(self, ending: Ending, usage: Usage | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._cast(ending, usage)

    def _cast(self, ending: Ending, usage: Usage | None) -> None:
        guard = self._guard
        if guard is None:
            return
        seen = timings(self._attempt, self._request, usage, ending, time.monotonic())
        met = vote(guard.slo, seen, self._idle)
        if met is None:
            return
        self._guard = None
        moved = factor(met, guard.slo.target, self._admitted, self._lessons.scale(self._pool))
        self._lessons.vote(self._pool, moved, Bounds(*reach(self._admitted), *guard.within))
        self._telemetry.count_vote(*self._pool, met)


def ending_of(fault: UpstreamFault | None, deadline: float | None) -> Ending:
    """What a fault says of the load: only that an upstream was too slow, and not if the caller's own time was up."""
    if isinstance(fault, UpstreamTimeout) and fault.processed:
        return "left" if fault.held or passed(deadline) else "timeout"
    return "done" if fault is None else "failed"


def timings(attempt: Attempt, request: GenRequest, usage: Usage | None, ending: Ending, now: float) -> Timings:
    """What is known of the attempt at `now` (monotonic). Choices are written side by side: their tokens take the time
    of one. The caller's cap stands for the tokens of an answer that has not ended: it can prove a miss alone."""
    told = None if usage is None or usage.estimated else usage.output_tokens
    tokens: int | None = attempt.tokens if told is None and attempt.streamed else told
    if tokens is None and request.max_tokens is not None and ending != "done":
        tokens = request.max_tokens * request.n
    return Timings(
        age=(attempt.ended or now) - attempt.began,
        first=None if attempt.first is None else attempt.first - attempt.began,
        last=None if attempt.last is None else attempt.last - attempt.began,
        tokens=None if tokens is None else tokens // request.n,
        ending=ending,
        stream=attempt.streamed,
        paused=attempt.held_at is not None,
    )


def later(seen: Timings, by: float) -> Timings:
    """The same, counted from a moment `by` seconds earlier."""
    return seen._replace(
        age=seen.age + by,
        first=None if seen.first is None else seen.first + by,
        last=None if seen.last is None else seen.last + by,
    )
