"""One row for each upstream that a rule names: why the request may not go there, or what it would find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.model import Candidate, Decision, GenRequest, UpstreamState
from gateway.rehearsal.words import usd
from gateway.rehearsal.world import World
from gateway.routing.board import Board, Plan, Pool
from gateway.routing.candidates import make_candidates
from gateway.routing.decide import narrow
from gateway.routing.estimate import estimate, price_ceiling
from gateway.routing.filters import Standing, standing_drop
from gateway.routing.forecast import AS_ASSUMED, forecast, wait_for_room
from gateway.routing.pickers import LOAD_WEIGHT
from gateway.routing.scorers import SCORERS

Row = dict[str, Any]
NOT_NEEDED = "not_needed"
"""Of a backend of `fallback` while workers are up, and of `spill` while none is."""
_DIGITS = 4
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What the rows are made from."""

    world: World
    board: Board
    plan: Plan
    asked: GenRequest
    decision: Decision | None
    """None where nobody may, or can, serve it."""


def rows(scene: Scene) -> tuple[Row, ...]:
    """In the order of the rule: its own backends, spill, fallback. A backend that is both for spill and for fallback
    stands there once, as what it is for now."""
    plan, decision = scene.plan, scene.decision
    groups = () if decision is None else (*decision.primary, *decision.overflow)
    used = {group.backend: "fallback" if group.outcome == "fallback" else "spill" for group in groups}
    made: dict[str, list[Row]] = {}
    for role, pools in (("home", plan.home), ("spill", plan.spill), ("fallback", plan.fallback)):
        for pool in pools:
            needed = role == "home" or pool.backend in used
            if pool.backend not in made:
                shown = role if role == "home" else used.get(pool.backend, role)
                made[pool.backend] = pool_rows(scene, pool, shown, needed=needed)
    return tuple(row for found in made.values() for row in found)


def pool_rows(scene: Scene, pool: Pool, role: str, *, needed: bool) -> list[Row]:
    may = {state.upstream.name: state for state in pool.states}
    made = []
    for upstream in scene.world.policy.backends[pool.backend]:
        row: Row = {"upstream": upstream.name, "backend": pool.backend, "role": role}
        state = may.get(upstream.name) or scene.world.state(upstream.name)
        dropped = why(scene, pool, state)
        if dropped is None and not needed:
            dropped = NOT_NEEDED
        row |= readings(state, scene.world.snapshot.at)
        if dropped is None:
            row |= candidate_row(scene, pool, state)
        else:
            row |= {"dropped": dropped, "why": in_words(dropped, scene, pool, state)}
        made.append(row)
    return made


def why(scene: Scene, pool: Pool, state: UpstreamState) -> str | None:
    """The first filter that drops it, or None."""
    if all(served.backend != pool.backend for served in scene.plan.model.served_by):
        return "capability"
    standing = standing_drop(Standing(scene.plan.demand, scene.world.policy.zones, scene.asked.endpoint), state)
    if standing is not None:
        return standing
    alone = narrow(replace(pool, states=(state,), drops={}), scene.plan.rule, scene.asked, frozenset())
    return next(iter(alone.drops), None)


def candidate_row(scene: Scene, pool: Pool, state: UpstreamState) -> Row:
    asked, board = scene.asked, scene.board
    learned = board.known(asked.model)
    one = make_candidates(asked, pool.served, (state,), learned)[0]
    pace = scene.world.paces.get((pool.backend, asked.model), AS_ASSUMED)
    said = forecast(one, asked, state.inflight, learned, pace)
    wait = wait_for_room(state.leased, one.outside, one.work, one.limit)
    free = free_after(one, state)
    return {
        "load": round((state.leased + one.outside) / one.limit, _DIGITS),
        "after": round(1 - free, _DIGITS),
        "limit": one.limit,
        "work": one.work,
        "inflight": state.inflight,
        "seats": one.seats,
        "room": free >= 0 and state.inflight < one.seats,
        "score": round(one.score + LOAD_WEIGHT * max(0.0, free), _DIGITS),
        "parts": parts(scene, one, state, free),
        "wait_ms": round(wait * _MS, 1),
        "first_ms": round((wait + said.first) * _MS, 1),
        "usd": one.price,
        "usd_most": one.price_most,
    }


def free_after(one: Candidate, state: UpstreamState) -> float:
    """The free share of its limit with this request on board; below 0 where it has no room."""
    return 1 - (state.leased + one.outside + min(one.work, one.limit)) / one.limit


def parts(scene: Scene, one: Candidate, state: UpstreamState, free: float) -> dict[str, float]:
    """What each scorer adds to the score, the live load among them."""
    told = estimate(scene.asked, one.served, scene.board.known(scene.asked.model))
    made = {name: round(weight * score(told, state), _DIGITS) for name, weight, score in SCORERS}
    return made | {"load": round(LOAD_WEIGHT * max(0.0, free), _DIGITS)}


def readings(state: UpstreamState, at: float) -> Row:
    """What its own pages said, as on receipts; what was not published is absent."""
    reading = state.reading
    told: Row = {"headroom": state.headroom, "error_rate": state.errors}
    gauges: Row = {} if reading is None else {"queue_depth": reading.waiting, "gpu": reading.gpu, "kv": reading.kv}
    published = {name: value for name, value in gauges.items() if value is not None}
    if reading is not None and published:
        told["age_ms"] = round(max(0.0, at - reading.at) * _MS, 1)
    return published | {name: value for name, value in told.items() if value is not None}


def in_words(dropped: str, scene: Scene, pool: Pool, state: UpstreamState) -> str:
    say = _WORDS.get(dropped)
    return f"dropped by `{dropped}`" if say is None else say(scene, pool, state)


def _residency(scene: Scene, _: Pool, state: UpstreamState) -> str:
    demand, upstream = scene.plan.demand, state.upstream
    zones = " and ".join(sorted(demand.zones))
    if upstream.kind == "local":
        return f"its zone {upstream.zone} does not lie in {zones}"
    if demand.local:
        return "a bought API is never one of our own machines"
    held = ", ".join(sorted(upstream.private_in)) or "none"
    return f"it is no private endpoint in {zones} (declared: {held})"


def _capability(scene: Scene, pool: Pool, _: UpstreamState) -> str:
    if all(served.backend != pool.backend for served in scene.plan.model.served_by):
        return f"{pool.backend} does not serve {scene.plan.model.name}"
    return f"it does not speak {scene.asked.endpoint}"


def _max_cost(scene: Scene, pool: Pool, _: UpstreamState) -> str:
    most = None if pool.served.price is None else price_ceiling(pool.served.price, scene.asked)
    caps = [cap for cap in (scene.asked.max_cost, scene.plan.rule.max_cost) if cap is not None]
    allowed = f"{usd(min(caps))} is allowed" if caps else "less is allowed"
    return f"nothing bounds its price, and {allowed}" if most is None else f"may cost up to {usd(most)}, {allowed}"


def _fields(scene: Scene, pool: Pool, _: UpstreamState) -> str:
    who = "our own workers" if pool.kind == "local" else "bought APIs"
    return f"{', '.join(scene.asked.fields)} may not go to {who} under this rule"


def _not_needed(scene: Scene, pool: Pool, _: UpstreamState) -> str:
    if pool in scene.plan.fallback:
        return "only for when no worker is up"
    return "not asked for this request"


_WORDS: Mapping[str, Callable[[Scene, Pool, UpstreamState], str]] = {
    "residency": _residency,
    "capability": _capability,
    "health": lambda _, __, state: f"it is out: {state.out}",
    "max_cost": _max_cost,
    "fields": _fields,
    NOT_NEEDED: _not_needed,
}
"""A filter's name -> what it says of this upstream. One without a row here is told by its name."""
