"""One upstream of a pool, told whole: why it is no candidate, or what it would be. For explain and tests; the path
counts drops and looks at a sample, by the same functions."""

from __future__ import annotations

from gateway.model import Candidate, UpstreamState
from gateway.routing.board import Pool
from gateway.routing.candidates import make_candidates
from gateway.routing.draw import Draw
from gateway.routing.filters import call_drop
from gateway.routing.scorers import parts
from gateway.routing.thresholds import forecast_break


def why_dropped(draw: Draw, pool: Pool, state: UpstreamState) -> str | None:
    """The first reason that holds, as the receipt would count it; None for one that may serve the request."""
    plan, request = draw.plan, draw.request
    if all(served.backend != pool.backend for served in plan.model.served_by):
        return "capability"
    state, reason = draw.board.judged(state, plan.model.name, plan.demand, request.endpoint, plan.rule)
    if reason is None and state.upstream.name in draw.excluded:
        reason = "failed_before"
    reason = reason or call_drop(plan.rule, request, pool.kind, pool.served)
    return reason or forecast_break(plan.terms.foresees, draw.scene(pool), state)


def as_candidate(draw: Draw, pool: Pool, state: UpstreamState) -> tuple[Candidate, dict[str, float]]:
    """The row that the pick would see, without the picker's lift; and what each of the rule's scorers gives it, 0 to 1,
    unweighted (`Rule.scorers` has the weights). `load` is the free share by the snapshot, below 0 where it is full."""
    plan, scene = draw.plan, draw.scene(pool)
    state, _ = draw.board.judged(state, plan.model.name, plan.demand, draw.request.endpoint, plan.rule)
    static, learned = plan.terms.scoring.static, draw.board.known(plan.model.name)
    one = make_candidates(draw.request, pool.served, (state,), learned, draw.share(pool), scene, static)[0]
    return one, parts(plan.rule.scorers, scene, state)
