"""Step 5: which upstreams may serve this request, in which order, and why the others may not. Pure.

`plan.py` finds model, rule and pools (standing filters) once per board; `draw.py` narrows them for each request (call
filters) and samples them; `candidates.py` estimates and scores those sampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, isfinite
from random import Random

from gateway.errors import (
    FleetSaturated,
    GatewayError,
    InvalidRequest,
    MaxCostExceeded,
    ModelNotFound,
    NoCapacity,
    ResidencyRefused,
)
from gateway.model import ASKED_TO_WAIT, RATE_LIMITED, Decision, GenRequest, Group, Outcome, Permit, Reason, Rule
from gateway.routing.board import Board, Plan, Pool
from gateway.routing.capability import TWIN
from gateway.routing.draw import NOBODY, Draw, Unable
from gateway.routing.filters import ABSENT, most_cost
from gateway.routing.offers import complaint
from gateway.routing.overflow import in_order
from gateway.routing.plan import plan_of
from gateway.routing.ranks import ranked
from gateway.routing.signals import price_word
from gateway.routing.thresholds import broken
from gateway.routing.versions import choose

RETRY_AFTER_DOWN_SECONDS = 5
"""Told to clients when nothing is up: about the time in which a restarted worker is noticed."""
DOWN = frozenset({"drained", "health", "failed_before", *ABSENT})
"""Reasons of drops that mean a failure: who has them could serve the request at another time."""


def decide(
    request: GenRequest,
    board: Board,
    rng: Random,
    *,
    excluded: frozenset[str] = frozenset(),
    unable: Unable = NOBODY,
) -> Decision:
    """The decision for `request` on `board`; `excluded` names upstreams that already failed it, `unable` those
    that turned out not to be able to do it.

    Raises ModelNotFound, ModelNotAllowed, ResidencyRefused, MaxCostExceeded, InvalidRequest, NoCapacity or
    FleetSaturated where nothing may, or can, serve it.
    """
    plan = plan_of(request, board)
    draw = Draw(request, board, plan, rng, excluded, unable)
    home = [draw.left(pool) for pool in plan.home]
    choice = None if not plan.versions else choose(request, plan.versions, home)
    if choice is not None:
        home = choice.at_home(home)
    pools, outcome, reason = beyond(plan, home)
    away = [draw.left(pool) for pool in pools]
    if choice is not None:
        away = choice.beyond(away)
    if plan.order != "listed" and outcome == "spilled":
        away = in_order(away, plan, request, board)
    if plan.cheap and not any(pool.states for pool in away):
        draw = draw._replace(stays=True)
        home = [draw.left(pool) for pool in plan.home]
        if choice is not None:
            home = choice.at_home(home)
    tried = (*home, *away)
    drops = tally(tried)
    primary = at_home(draw, home)
    overflow = tuple([draw.group(pool, outcome, reason) for pool in away if pool.states])
    if not primary and not overflow:
        refusal = nobody(request, plan, tried, drops, board, unable)
        refusal.rule, refusal.drops = plan.rule.name, drops
        try:
            raise refusal
        finally:
            del refusal  # its traceback has this frame, which holds the request
    permit = Permit(request.id, board.policy.version, plan.permitted)
    spill_now, (wait, kept) = plan.spill_now, plan.waits
    if plan.priced and spill_now is None:
        spill_now = price_word(plan, away, request, board)
    if request.max_wait is not None:
        wait, kept = min(wait, request.max_wait), min(kept, request.max_wait)
    told = (wait, spill_now, kept, plan.worth, draw.cheap, None if choice is None else choice.mine)
    return Decision(plan.rule, permit, board.policy, plan.demand, primary, overflow, drops, *told)


def at_home(draw: Draw, home: Sequence[Pool]) -> tuple[Group, ...]:
    """The groups that are tried first. Where filters leave out all that are up, one that is full for now: a request
    may wait for it as for any other."""
    plan = draw.plan
    groups = tuple([draw.group(pool, *words(pool, plan)) for pool in home if pool.states])
    if not groups and broken(tally(home)) is not None:
        vetoed = next(pool for pool in home if broken(pool.drops) is not None)
        return (draw.group(vetoed, *words(vetoed, plan)),)
    return ranked(groups, plan.rule) if plan.rule.ranked and len(groups) > 1 else groups


def words(pool: Pool, plan: Plan) -> tuple[Outcome, Reason]:
    if pool.kind == "managed":
        return "managed", "rule"
    return "local", "residency" if plan.demand else "local_has_room"


def beyond(plan: Plan, home: Sequence[Pool]) -> tuple[tuple[Pool, ...], Outcome, Reason]:
    """Where it may go when `home` is full, or because nothing there is left for it."""
    if any(pool.states for pool in home):
        return plan.spill, "spilled", "slo_limit"
    drops = tally(home)
    if (why := broken(drops)) is not None:  # they are up, and full in the user's own words
        return plan.spill, "spilled", why
    if not DOWN.isdisjoint(drops) or any(pool.awaits for pool in home):
        return plan.fallback, "fallback", "no_healthy_worker"
    return plan.spill, "spilled", "residency" if "residency" in drops else "capability"  # up or down, none ever could


def tally(pools: Iterable[Pool]) -> dict[str, int]:
    """The drops of all pools together, by reason; a reason that dropped nobody is absent."""
    drops: dict[str, int] = {}
    for pool in pools:
        for why, count in pool.drops.items():
            drops[why] = drops.get(why, 0) + count
    return drops


def busy_until(plan: Plan, tried: Iterable[Pool], board: Board) -> float | None:
    """When the first API account in `tried`, the pools where the request could go now, takes requests again that is
    not down, but out of its rate limit."""
    backends = {pool.backend for pool in tried}
    states = [board.snapshot.states.get(name) for name in plan.permitted]
    busy = [one for one in states if one is not None and one.out in (RATE_LIMITED, ASKED_TO_WAIT)]
    backs = [one.back for one in busy if one.upstream.backend in backends]
    return min((back for back in backs if back is not None and isfinite(back)), default=None)


def nobody(
    request: GenRequest,
    plan: Plan,
    tried: Sequence[Pool],
    drops: Mapping[str, int],
    board: Board,
    unable: Unable = NOBODY,
) -> GatewayError:
    """Why there is no candidate in `tried` at all: the caller's demand, the caller's limits, or nothing is up."""
    rule = plan.rule
    if not plan.permitted and any(pool.awaits for pool in tried):
        none = f"rule `{rule.name}`: no worker is there now that may serve it"
        return NoCapacity(none, retry_after=RETRY_AFTER_DOWN_SECONDS)
    if not plan.permitted:
        if plan.demand:
            return ResidencyRefused(f"rule `{rule.name}` has no upstream where this request's data may go")
        return ModelNotFound(f"rule `{rule.name}` names no backend that serves this model", param="model")
    if broken(drops) is not None:
        full = f"rule `{rule.name}`: its filters leave out every upstream that is up"
        return FleetSaturated(full, retry_after=RETRY_AFTER_DOWN_SECONDS)
    if not DOWN.isdisjoint(drops) or any(pool.awaits for pool in tried):
        if (back := busy_until(plan, tried, board)) is not None:
            wait = max(1, ceil(back - board.snapshot.at))
            return FleetSaturated(f"rule `{rule.name}`: the API's rate limit is used up", retry_after=wait)
        return NoCapacity(f"rule `{rule.name}`: {down(plan, drops)}", retry_after=RETRY_AFTER_DOWN_SECONDS)
    if "max_cost" in drops:
        return too_dear(request, rule)
    if "capability" in drops and (refusal := beyond_all(request, tried, unable)) is not None:
        return refusal
    if "capability" in drops and (unsaid := unsaid_in_twin(request, plan)) is not None:
        return unsaid
    if "capability" in drops and "fields" not in drops:
        return ModelNotFound(
            f"no upstream of rule `{rule.name}` serves this model at {request.endpoint}", param="model"
        )
    if "fields" not in drops:
        return NoCapacity(f"rule `{rule.name}` has no upstream for it", retry_after=RETRY_AFTER_DOWN_SECONDS)
    names = ", ".join(request.fields)
    return InvalidRequest(
        f"rule `{rule.name}` refuses {names}: leave them out", param=request.fields[0] if request.fields else None
    )


def beyond_all(request: GenRequest, tried: Sequence[Pool], unable: Unable) -> InvalidRequest | None:
    """Where somebody speaks what is asked and nobody can do it: what the first one has against it."""
    for why in unable.values():
        return InvalidRequest(why.message, param=why.param)
    if request.media is None:
        return None
    for pool in tried:
        found = complaint(request.endpoint, request.media, pool.served)
        if found is not None:
            return InvalidRequest(f"{found.param}: {found.message}", param=found.param)
    return None


def unsaid_in_twin(request: GenRequest, plan: Plan) -> InvalidRequest | None:
    """Where those who could serve it speak only the twin of its endpoint, and it cannot be said there."""
    obstacle = None if request.reworded is None else request.reworded.obstacle()
    pools = (*plan.home, *plan.spill, *plan.fallback)
    if obstacle is None or not any(pool.foreign for pool in pools):
        return None
    twin = TWIN[request.endpoint]
    return InvalidRequest(
        f"who serves this model speaks {twin} alone, and this request cannot be translated: {obstacle.why}",
        param=obstacle.param,
    )


def down(plan: Plan, drops: Mapping[str, int]) -> str:
    """Why nobody can serve it now who could at another time."""
    if "model_loaded" in drops:
        return f"no worker that is up has `{plan.model.name}` loaded"
    if "asleep" in drops:
        return f"every worker that is up and has `{plan.model.name}` is asleep"
    return "every upstream that may serve it is down"


def too_dear(request: GenRequest, rule: Rule) -> MaxCostExceeded:
    """Names whichever of the two is the lower."""
    ours = rule.max_cost is not None and rule.max_cost == most_cost(rule, request)
    limit = f"max_cost_usd of rule `{rule.name}`" if ours else "X-Gateway-Max-Cost-Usd"
    advice = "set max_tokens" if ours else "set max_tokens or raise it"
    return MaxCostExceeded(f"no upstream is sure to stay under {limit}; {advice}")
