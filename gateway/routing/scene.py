"""What scorers and forecasting filters look at: one request before one pool, and what would happen on its upstreams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.model import Estimate, Learned, UpstreamState
from gateway.routing.estimate import work_for
from gateway.routing.forecast import AS_ASSUMED, Pace, pace_there, queue_wait, wait_at
from gateway.routing.ramp import filled

US_PER_SECOND = 1e6


class Scene(NamedTuple):
    """Holds neither board nor snapshot: a decision lives as long as its request."""

    ask: Estimate
    model: str
    learned: Learned
    n: int = 1
    """Outputs asked for."""
    pace: Pace = AS_ASSUMED
    """Learned, of this backend and model."""
    share: float = 1.0
    """What of a limit the request's class may fill."""
    ttft: float | None = None
    """The rule's SLO of the first token, seconds."""
    bought: float = 0.0
    """USD that this request would cost at the cheapest bought API that the rule names, and so what its place at home
    is worth to another one. 0 where the rule names none."""
    since: float = float("-inf")
    """Readings taken before this moment say nothing."""
    near: Mapping[str, float] = {}
    """Zone -> nearness to the gateway's own, 0 to 1; empty where its own is not known."""
    session: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    """Upstreams that the key belongs to, its owner first."""


def asked_of(at: Scene, state: UpstreamState) -> tuple[int, int]:
    """What of the upstream's limit this class may fill, and before it the work there, clamped to that (GPU-us)."""
    limit = int((state.upstream.limit if state.limit is None else state.limit) * at.share) or 1
    work = work_for(state.upstream, at.ask)
    if state.ramp < 1:
        limit = filled(limit, state.ramp, work)
    return min(limit, work), limit


def wait_there(at: Scene, state: UpstreamState, work: int, limit: int) -> float | None:
    """Seconds before the upstream begins with it: until there is room under the limit and a seat, or until its own
    queue is empty, whichever is later. None for a bought API: nobody sees its queue."""
    if state.upstream.kind == "managed":
        return None
    room = wait_at(state, work, limit)
    reading = state.reading
    if reading is None or reading.waiting is None or reading.at < at.since:
        return room
    return max(room, queue_wait(reading.waiting, state.leased, state.inflight, work))


def first_token_there(at: Scene, state: UpstreamState, work: int, limit: int) -> float:
    """Seconds to the first token, its wait included."""
    if at.ask.work and state.upstream.kind == "local":
        first = at.ask.work / US_PER_SECOND
    else:
        first, _ = pace_there(state.upstream, at.ask.input_tokens, state.inflight + at.n, at.learned, at.pace)
    return first + (wait_there(at, state, work, limit) or 0.0)
