"""A decision without a fleet: what `gateway explain` and `gateway test` run. The same functions as on the path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from gateway.edge import body as bodies
from gateway.edge.calls import Call
from gateway.edge.routes import build, demanded
from gateway.errors import FleetSaturated, GatewayError, NotFound
from gateway.model import Candidate, Decision, GenRequest, Group, Policy, Reading, Snapshot, Tenant, UpstreamState
from gateway.money.keys import ANYBODY
from gateway.policy.schema import RequestIn, WorkerState
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.draw import Draw
from gateway.routing.explained import why_dropped
from gateway.routing.order import order, spill_reason, why_full
from gateway.routing.pickers import pick
from gateway.routing.plan import plan_of
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.surface import PATHS

NOW = 1_000_000.0
"""Any instant: readings are placed before it by their age."""
DRY_SEED = 0
"""Ties between equal workers fall the same way every time, so that a case cannot pass by luck."""


@dataclass(frozen=True, slots=True)
class Story:
    """How it would end: the names of `expect` in a case, and the way there."""

    result: dict[str, Any]
    rule: str | None = None
    residency: tuple[str, ...] = ()
    rows: tuple[dict[str, Any], ...] = ()
    """One per upstream that the rule names: why it was dropped, or what the pick saw."""
    notes: tuple[str, ...] = ()


def dry_run(policy: Policy, request: RequestIn, fleet: Mapping[str, WorkerState]) -> Story:
    """Decides `request` on `fleet` (upstream name -> state; the rest is idle and healthy).
    Raises nothing of the gateway's."""
    states = {name: state_of(policy, name, fleet.get(name, WorkerState())) for name in policy.upstreams}
    board = Board(policy, Snapshot(NOW, states))
    try:
        endpoint = endpoint_of(request)
        asked = asked_of(policy, request, endpoint)
        decision = decide(asked, board, Random(DRY_SEED))
        if fleet:  # loads are shares of a limit, which is the model's and the rule's
            states = loaded(board, decision, str(request.body.get("model")), fleet)
            board = Board(policy, Snapshot(NOW, states))
            decision = decide(asked, board, Random(DRY_SEED))
    except GatewayError as error:
        dropped = tuple(f"dropped {count} by {reason}" for reason, count in error.drops.items())
        return Story(refusal(error), error.rule, notes=dropped)
    demand = decision.demand
    told = (*(("local",) if demand.local else ()), *sorted(demand.zones))
    return Story(
        outcome_of(decision, states), decision.rule.name, told, rows_of(decision, asked, board), notes_of(decision)
    )


def endpoint_of(request: RequestIn) -> Endpoint:
    endpoint = PATHS.get(request.path)
    if endpoint is None:
        raise NotFound(f"{request.path} is not a generation path; there are {', '.join(PATHS)}")
    return endpoint


def asked_of(policy: Policy, request: RequestIn, endpoint: Endpoint) -> GenRequest:
    headers = {name.lower().encode(): value.encode() for name, value in request.headers.items()}
    residency = request.headers.get("X-Data-Residency") or headers.get(b"x-data-residency", b"").decode() or None
    call = Call("dry-run", 0.0, request.path, headers, residency, "127.0.0.1")
    body = bodies.decode(json.dumps(request.body).encode(), endpoint)
    demand = demanded(call, body, policy)
    asked, _ = build(call, tenant_of(policy, request), endpoint, body, demand, policy)
    return asked


def tenant_of(policy: Policy, request: RequestIn) -> Tenant:
    return policy.tenants[request.tenant] if request.tenant is not None else ANYBODY


def loaded(board: Board, decision: Decision, model: str, fleet: Mapping[str, WorkerState]) -> dict[str, UpstreamState]:
    """The states of `board` with the work leased on them that `fleet` says."""
    made = dict(board.snapshot.states)
    for name, given in fleet.items():
        state = made[name]
        learned = board.limit(state, model) if decision.rule.learned else None
        made[name] = replace(state, leased=round((given.load or 0.0) * (learned or state.upstream.limit)))
    return made


def state_of(policy: Policy, name: str, given: WorkerState) -> UpstreamState:
    upstream = policy.upstreams[name]
    reading = Reading(
        at=NOW - (given.age or 0.0),
        healthy=given.healthy,
        running=given.running,
        waiting=given.waiting,
        kv=given.kv,
        gpu=given.gpu,
    )
    return UpstreamState(
        upstream,
        reading=reading if upstream.kind == "local" else None,
        out=None if given.healthy else "unhealthy",
    )


def outcome_of(decision: Decision, states: Mapping[str, UpstreamState]) -> dict[str, Any]:
    """What admission would do with these loads, without waiting."""
    home = [(c, states[c.upstream.name]) for g in decision.primary for c in g.candidates]
    full = why_full(home, waited=False)
    for groups in order(decision):
        for group in groups:
            index = pick(group.candidates, *loads(group, states), group.load_weight)
            if index is not None:
                reason = spill_reason(decision, group, full) if groups is decision.overflow else group.reason
                chosen = group.candidates[index].upstream.name
                return {"outcome": group.outcome, "backend": group.backend, "upstream": chosen, "reason": reason} | {
                    "rule": decision.rule.name,
                    "status": 200,
                }
    waited = f" after waiting {decision.max_wait:g} s" if decision.max_wait else ""
    return refusal(FleetSaturated(f"every upstream is full{waited}")) | {"rule": decision.rule.name}


def loads(group: Group, states: Mapping[str, UpstreamState]) -> tuple[list[int], list[int]]:
    seen = [states[candidate.upstream.name] for candidate in group.candidates]
    return [state.leased for state in seen], [state.inflight for state in seen]


def rows_of(decision: Decision, asked: GenRequest, board: Board) -> tuple[dict[str, Any], ...]:
    candidates = {c.upstream.name: c for g in (*decision.primary, *decision.overflow) for c in g.candidates}
    draw = Draw(asked, board, plan_of(asked, board), Random(DRY_SEED), frozenset())
    rows, told = [], set[str]()
    for pool in (*draw.plan.home, *draw.plan.spill, *draw.plan.fallback):
        for upstream in board.policy.backends[pool.backend]:
            if upstream.name not in told:
                told.add(upstream.name)
                state = board.snapshot.states[upstream.name]
                rows.append(row(state, candidates.get(upstream.name), why_dropped(draw, pool, state)))
    return tuple(rows)


def row(state: UpstreamState, candidate: Candidate | None, dropped: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {"upstream": state.upstream.name, "backend": state.upstream.backend}
    if dropped is not None or candidate is None:
        return made | {"dropped": dropped or "not needed"}
    limit = candidate.limit
    return made | {
        "load": round(state.leased / limit, 3),
        "after": round((state.leased + candidate.outside + candidate.work) / limit, 3),
        "score": round(candidate.score, 3),
        "work": candidate.work,
        "limit": limit,
        "usd": candidate.price,
    }


def notes_of(decision: Decision) -> tuple[str, ...]:
    notes = []
    if decision.spill_now is not None:
        notes.append(f"spill.when holds: {decision.spill_now}")
    if decision.max_wait:
        notes.append(f"waits up to {decision.max_wait:g} s for room")
    return tuple(notes)


def refusal(error: GatewayError) -> dict[str, Any]:
    return {"status": error.status, "code": error.code, "message": error.message}
