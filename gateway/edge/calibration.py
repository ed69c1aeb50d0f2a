"""How good the estimates are: each answer is compared with its forecast, and the forecasts learn from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.edge.account import Attempt
from gateway.model import GenRequest, Lease, PoolKey, Usage
from gateway.routing.board import Board
from gateway.routing.forecast import AS_ASSUMED, Forecast, Pace, correct, error, forecast
from gateway.telemetry import Telemetry

MEDIA_RATE = 0.3
"""Step of one picture or film: there are fewer of them than texts, and they differ less from what is learned."""


@dataclass(slots=True)
class Calibration:
    """One per process. Its paces are this process's own: what an answer takes, all replicas see alike."""

    telemetry: Telemetry
    paces: dict[PoolKey, Pace] = field(default_factory=dict)

    def forecast(self, board: Board, request: GenRequest, lease: Lease) -> Forecast:
        """What was to be expected when the lease was taken; `board` is the one that decided."""
        upstream = lease.candidate.upstream
        state = board.snapshot.states.get(upstream.name)
        pace = self.paces.get((upstream.backend, request.model), AS_ASSUMED)
        inflight = 0 if state is None else state.inflight
        return forecast(lease.candidate, request.n, inflight, board.known(request.model), pace)

    def heard(
        self, said: Forecast, request: GenRequest, lease: Lease, attempt: Attempt, usage: Usage, usd: float | None
    ) -> None:
        """A complete answer, with the usage that its upstream told."""
        if request.media is not None:
            self._heard_media(said, request, lease, attempt, usd)
            return
        first, each = paces_of(attempt, usage.output_tokens // request.n)
        total: float | None = attempt.ended - attempt.began
        if attempt.held_at is not None:  # its own reader took the time
            each = total = None
        pool = (lease.candidate.upstream.backend, request.model)
        self.paces[pool] = correct(self.paces.get(pool, AS_ASSUMED), said, first, each)
        self._note("prompt_tokens", said.prompt, usage.input_tokens)
        self._note("output_tokens", said.output, usage.output_tokens)
        self._note("first_token", said.first, first)
        self._note("total", said.total, total)
        self._note("price", said.price, usd)

    def _heard_media(
        self, said: Forecast, request: GenRequest, lease: Lease, attempt: Attempt, usd: float | None
    ) -> None:
        """How long a unit takes: from those that had their worker to themselves. A media server works on one after the
        other, and what waited inside it would be taken for slowness."""
        total, one = attempt.ended - attempt.began, lease.candidate
        self._note("price", said.price, usd)
        if attempt.held_at is not None or not alone_there(lease):
            return
        pool = (one.upstream.backend, request.model)
        self.paces[pool] = correct(self.paces.get(pool, AS_ASSUMED), said, total, None, MEDIA_RATE)
        self._note("total", said.total, total)

    def waited(self, said: float, was: float) -> None:
        """Seconds in a line, against what its newcomer was to expect."""
        self._note("wait", said, was)

    def _note(self, what: str, said: float | None, was: float | None) -> None:
        wrong = None if said is None or was is None else error(said, was)
        if wrong is not None and said is not None and was is not None:
            self.telemetry.estimated(what, wrong, said, was)


def alone_there(lease: Lease) -> bool:
    """Whether nothing else was on its worker as it was admitted. A bought API has room for all."""
    one = lease.candidate
    return one.upstream.kind == "managed" or lease.full * one.limit < one.work + 1


def paces_of(attempt: Attempt, tokens: int) -> tuple[float | None, float | None]:
    """Seconds to the first token and for each later one, where the attempt tells them: a stream of two or more."""
    if attempt.first is None:
        return None, None
    first = attempt.first - attempt.began
    if attempt.last is None or tokens < 2:
        return first, None
    return first, (attempt.last - attempt.first) / (tokens - 1)
