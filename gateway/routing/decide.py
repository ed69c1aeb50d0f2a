"""Step 5: which upstreams may serve this request, in which order, and why the others may not. Pure."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from random import Random

from gateway.errors import (
    GatewayError,
    InvalidRequest,
    MaxCostExceeded,
    ModelNotAllowed,
    ModelNotFound,
    NoCapacity,
    ResidencyRefused,
)
from gateway.model import (
    Candidate,
    Decision,
    Demand,
    GenRequest,
    Group,
    Learned,
    Match,
    Model,
    Outcome,
    Permit,
    Priority,
    Reason,
    Rule,
    Served,
    Tenant,
    UpstreamState,
)
from gateway.routing.board import Board, holds
from gateway.routing.estimate import expected_price, price_ceiling, work_on
from gateway.routing.filters import call_drop
from gateway.routing.pickers import sample
from gateway.routing.residency import strictest
from gateway.routing.scorers import score

CLASS_SHARE: dict[Priority, float] = {"interactive": 1.0, "standard": 0.9, "batch": 0.7}
"""Share of a worker's limit that each class may fill, so that the higher classes always find some room."""
RETRY_AFTER_DOWN_SECONDS = 5
"""Told to clients when nothing is up: about the time in which a restarted worker is noticed."""


def decide(request: GenRequest, board: Board, rng: Random, *, excluded: frozenset[str] = frozenset()) -> Decision:
    """The decision for `request` on `board`; `excluded` names upstreams that already failed this request.

    Raises ModelNotFound, ModelNotAllowed, ResidencyRefused, MaxCostExceeded, InvalidRequest or NoCapacity where
    nothing may, or can, serve it.
    """
    model = find_model(request, board)
    asked = strictest(request.residency, request.tenant.residency, model.residency)
    rule = find_rule(request, asked, board)
    demand = strictest(asked, rule.residency)
    permitted = board.permitted(rule, model, demand)
    drops = Counter[str]()

    def groups(backends: tuple[str, ...], outcome: Outcome, reason: Reason) -> tuple[Group, ...]:
        made = (
            build_group(request, rule, model, demand, board, b, outcome, reason, excluded, rng, drops) for b in backends
        )
        return tuple(group for group in made if group is not None and group.candidates)

    home: Reason = "residency" if demand else "local_has_room"
    primary = tuple(
        group
        for backend in rule.backends
        for group in (
            groups((backend,), "local", home)
            if board.policy.backends[backend][0].kind == "local"
            else groups((backend,), "managed", "rule")
        )
    )
    spill = rule.spill.backends if rule.spill else ()
    if primary:
        overflow = groups(spill, "spilled", "slo_limit")
    elif drops["health"] or drops["failed_before"]:
        overflow = groups(rule.fallback, "fallback", "no_healthy_worker")
    else:  # nothing at home may or can serve it at all, up or down
        overflow = groups(spill, "spilled", "residency" if drops["residency"] else "capability")
    if not primary and not overflow:
        refusal = nobody(request, rule, permitted, drops, bool(demand))
        refusal.rule, refusal.drops = rule.name, dict(drops)
        raise refusal
    permit = Permit(request.id, board.policy.version, permitted)
    return Decision(rule, permit, demand, primary, overflow, drops, max_wait(request, rule), spill_word(rule, board))


def find_model(request: GenRequest, board: Board) -> Model:
    model = board.policy.models.get(request.model)
    if model is None:
        raise ModelNotFound("this gateway has no such model; GET /v1/models lists those it has", param="model")
    if not may_use(request.tenant, model.name):
        raise ModelNotAllowed("this key may not use this model", param="model")
    return model


def may_use(tenant: Tenant, model: str) -> bool:
    """Whether the tenant's allow-list holds this model; no list allows all."""
    return tenant.models is None or any(fnmatchcase(model, glob) for glob in tenant.models)


def find_rule(request: GenRequest, demand: Demand, board: Board) -> Rule:
    """First match wins."""
    for rule in board.policy.rules:
        if matches(rule.match, request, demand):
            return rule
    raise ModelNotFound("no rule of the policy matches this request", param="model")


def matches(match: Match, request: GenRequest, demand: Demand) -> bool:
    return (
        (match.model is None or fnmatchcase(request.model, match.model))
        and (match.endpoint is None or match.endpoint == request.endpoint)
        and (match.tenant is None or match.tenant == request.tenant.name)
        and (match.residency is None or (match.residency == "any") is bool(demand))
        and (match.priority is None or match.priority == request.priority)
        and (match.stream is None or match.stream is request.stream)
    )


def build_group(
    request: GenRequest,
    rule: Rule,
    model: Model,
    demand: Demand,
    board: Board,
    backend: str,
    outcome: Outcome,
    reason: Reason,
    excluded: frozenset[str],
    rng: Random,
    drops: Counter[str],
) -> Group | None:
    """The sampled candidates of one backend; what was dropped is added to `drops`."""
    pool = board.pool(model, backend, demand, request.endpoint, learned=rule.learned)
    if pool is None:
        drops["capability"] += len(board.policy.backends[backend])
        return None
    drops.update(pool.drops)
    fresh = [s for s in pool.states if s.upstream.name not in excluded] if excluded else pool.states
    if len(fresh) < len(pool.states):
        drops["failed_before"] += len(pool.states) - len(fresh)
    candidates, learned = [], board.known(model.name)
    for state in sample(fresh, rng):
        why = call_drop(rule, request, state, pool.served)
        if why is None:
            candidates.append(candidate(request, state, pool.served, learned))
        else:
            drops[why] += 1
    return Group(backend, outcome, reason, tuple(candidates))


def candidate(request: GenRequest, state: UpstreamState, served: Served, learned: Learned) -> Candidate:
    upstream = state.upstream
    share = CLASS_SHARE[request.priority] if upstream.kind == "local" else 1.0
    limit = max(1, int((upstream.limit if state.limit is None else state.limit) * share))
    price = None if served.price is None else expected_price(served.price, request, learned)
    most = None if served.price is None else price_ceiling(served.price, request)
    return Candidate(
        upstream=upstream,
        served=served,
        score=score(request, state, served),
        work=min(work_on(upstream, request, learned), limit),
        limit=limit,
        seats=upstream.seats,
        outside=state.outside,
        life=state.life,
        price=price,
        price_most=price if most is None else most,
    )


def max_wait(request: GenRequest, rule: Rule) -> float:
    """The lower of what the rule allows and the caller wants."""
    return rule.max_wait if request.max_wait is None else min(rule.max_wait, request.max_wait)


def spill_word(rule: Rule, board: Board) -> str | None:
    """The first threshold of `spill.when` that holds now, in the user's words."""
    if rule.spill is None or not rule.spill.when:
        return None
    signals = board.signals(rule.backends)
    for threshold in rule.spill.when:
        if holds(threshold, signals):
            sign = (">" if threshold.above else "<") + ("=" if threshold.inclusive else "")
            return f"{threshold.signal} {sign} {threshold.value:g}"
    return None


def nobody(
    request: GenRequest, rule: Rule, permitted: frozenset[str], drops: Counter[str], flagged: bool
) -> GatewayError:
    """Why there is no candidate at all: the caller's demand, the caller's limits, or nothing is up."""
    if not permitted:
        if flagged:
            return ResidencyRefused(f"rule `{rule.name}` has no upstream where this request's data may go")
        return ModelNotFound(f"rule `{rule.name}` names no backend that serves this model", param="model")
    if drops["health"] or drops["failed_before"]:
        tried = "every upstream that may serve it is down"
        return NoCapacity(f"rule `{rule.name}`: {tried}", retry_after=RETRY_AFTER_DOWN_SECONDS)
    if drops["max_cost"]:
        return MaxCostExceeded("no upstream is sure to stay under X-Gateway-Max-Cost-Usd; set max_tokens or raise it")
    if drops["capability"] and not drops["fields"]:
        return ModelNotFound(
            f"no upstream of rule `{rule.name}` serves this model at {request.endpoint}", param="model"
        )
    if not drops["fields"]:
        return NoCapacity(f"rule `{rule.name}` has no upstream for it", retry_after=RETRY_AFTER_DOWN_SECONDS)
    names = ", ".join(request.fields)
    return InvalidRequest(
        f"rule `{rule.name}` refuses {names}: leave them out", param=request.fields[0] if request.fields else None
    )
