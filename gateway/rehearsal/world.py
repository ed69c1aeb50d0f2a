"""What a rehearsed decision is made on: a policy, the state of a fleet, and what has been spent already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from gateway.edge import body as bodies
from gateway.edge import media
from gateway.edge.calls import Call
from gateway.edge.routes import build, demanded
from gateway.edge.strays import DEMAND, strays
from gateway.errors import GatewayError, InvalidKey, NotFound
from gateway.model import (
    DRAINED,
    Decision,
    GenRequest,
    Policy,
    PoolKey,
    Reading,
    Snapshot,
    Tenant,
    Upstream,
    UpstreamState,
)
from gateway.money.budgets import Booked
from gateway.money.keys import ANYBODY
from gateway.policy.case_schema import Case, RequestIn, WorkerState
from gateway.rehearsal.words import percent
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.forecast import Pace
from gateway.routing.plan import plan_of
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.surface import PATHS

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()
"""A Monday: when a case happens that does not say when."""
SEED = 0
"""Ties between equal workers fall the same way every time, so that a case cannot pass by luck."""
REHEARSAL_ID = "rehearsal"
MANY = 1_000_000
"""Arrivals of a rehearsal, which knows only a share of them: the bound of a busy hour."""
_LOOKS = 2
"""A rule's own condition may look at the loads that depend on its limits."""
_IDLE = WorkerState()
_US = 1e6


@dataclass(frozen=True, slots=True)
class World:
    """`books`: rule -> what it has spent and who left, this request counted as arrived; None where the store, which
    keeps that, is away."""

    policy: Policy
    snapshot: Snapshot
    books: Mapping[str, Booked | None] = field(default_factory=dict)
    paces: Mapping[PoolKey, Pace] = field(default_factory=dict)
    """What this process learned about how fast each pool answers."""
    worths: Mapping[str, float] = field(default_factory=dict)
    """As on a board."""
    zone: str | None = None
    """The gateway's own, where it is known."""

    def board(self) -> Board:
        return Board(self.policy, self.snapshot, paces=self.paces, worths=self.worths, zone=self.zone)

    def state(self, name: str) -> UpstreamState:
        return self.snapshot.states.get(name) or UpstreamState(self.policy.upstreams[name])

    def booked(self, rule: str) -> Booked | None:
        return self.books.get(rule, Booked(0, MANY, 0.0))

    def with_booked(self, rule: str, booked: Booked) -> World:
        return replace(self, books={**self.books, rule: booked})

    def where(self, name: str, **changes: Any) -> World:
        """The same world with one upstream in another state."""
        states = {**self.snapshot.states, name: replace(self.state(name), **changes)}
        return replace(self, snapshot=replace(self.snapshot, states=states))

    def under(self, policy: Policy) -> World:
        """The same fleet under another policy."""
        return replace(self, policy=policy)


def world_of_case(policy: Policy, case: Case) -> World:
    at = NOON if case.at is None else case.at
    return world_of(policy, case.request, case.fleet, at=at, spent_usd=case.spent_usd, share=case.share)


def world_of(
    policy: Policy,
    request: RequestIn,
    fleet: Mapping[str, WorkerState],
    *,
    at: float = NOON,
    spent_usd: float = 0.0,
    share: float = 0.0,
) -> World:
    """`fleet`: upstream name -> state; the rest is idle and healthy. Loads are shares of a limit, which is the model's
    and the rule's, so the rule is looked for on the idle fleet first. The upstreams of `fleet` are the policy's."""
    states = {name: state_of(one, fleet.get(name, _IDLE), at) for name, one in policy.upstreams.items()}
    rules = [rule.name for rule in policy.rules]
    world = World(policy, Snapshot(at, states), dict.fromkeys(rules, Booked(round(share * MANY), MANY, spent_usd)))
    try:
        asked = ask(policy, request)
        for _ in range(_LOOKS):
            world = _loaded(world, asked, fleet)
    except GatewayError:
        return world
    return world


def _loaded(world: World, asked: GenRequest, fleet: Mapping[str, WorkerState]) -> World:
    """`world` with the work that `fleet` says, by the limits of the rule that the request meets in it."""
    board = world.board()
    rule = plan_of(asked, board).rule
    states = dict(world.snapshot.states)
    for name, given in fleet.items():
        state = states[name]
        learned = board.limit(state, asked.model) if rule.learned else None
        states[name] = loaded(state, given, state.upstream.limit if learned is None else learned)
    return replace(world, snapshot=replace(world.snapshot, states=states))


def state_of(upstream: Upstream, given: WorkerState, at: float) -> UpstreamState:
    """All of `given` that is no share of a limit."""
    reading = Reading(
        at=at - (given.age or 0.0),
        healthy=given.healthy,
        running=given.running,
        waiting=given.waiting,
        kv=given.kv,
        gpu=given.gpu,
        models=given.models,
        asleep=given.asleep,
        gpu_at=None if given.gpu is None else at - (given.age or 0.0),
    )
    return UpstreamState(
        upstream,
        inflight=given.inflight or 0,
        reading=reading if upstream.kind == "local" else None,
        out=DRAINED if given.drained else None if given.healthy else "unhealthy",
        headroom=given.headroom,
        errors=given.errors,
        warm=frozenset(given.warm),
        ramp=given.ramp,
    )


def loaded(state: UpstreamState, given: WorkerState, limit: int) -> UpstreamState:
    leased = (given.load or 0.0) * limit if given.wait is None else limit + given.wait * _US
    return replace(state, leased=round(leased), outside=round((given.outside or 0.0) * limit))


def decided(world: World, asked: GenRequest) -> Decision:
    return decide(asked, world.board(), Random(SEED))


def left_of(booked: Booked) -> str:
    """How many of a rule's requests left, in words."""
    if booked.arrived == MANY:
        return f"{percent(booked.left / MANY)} of its requests"
    return f"{booked.left} of its {booked.arrived} requests"


def ask(policy: Policy, request: RequestIn) -> GenRequest:
    """`request` as routing sees it. Raises what the client would get where it is malformed."""
    endpoint = endpoint_of(request.path)
    headers = {name.lower().encode(): value.encode("utf-8") for name, value in request.headers.items()}
    residency = headers[DEMAND].decode() if DEMAND in headers else None
    call = Call(REHEARSAL_ID, 0.0, request.path, headers, residency, "127.0.0.1", strays=strays(headers))
    raw = json.dumps(request.body).encode()
    body = bodies.decode(raw, endpoint) if endpoint.asks is None else media.rehearsed(raw, endpoint)
    made, _ = build(call, tenant_of(policy, request), endpoint, body, demanded(call, body, policy), policy)
    return made


def endpoint_of(path: str) -> Endpoint:
    endpoint = PATHS.get(path)
    if endpoint is None:
        raise NotFound(f"{path} is not a generation path; there are {', '.join(PATHS)}")
    return endpoint


def tenant_of(policy: Policy, request: RequestIn) -> Tenant:
    """Raises InvalidKey, as for a call without a key where the policy has keys, or NotFound."""
    if request.tenant is None:
        if policy.tenants:
            names = ", ".join(f"`{name}`" for name in sorted(policy.tenants))
            raise InvalidKey(
                f"a call without a key is refused here: say whose it carries by `tenant`; there is {names}"
            )
        return ANYBODY
    tenant = policy.tenants.get(request.tenant)
    if tenant is None:
        raise NotFound(f"the policy has no tenant `{request.tenant}`")
    return tenant
