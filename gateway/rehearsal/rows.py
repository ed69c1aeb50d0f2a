"""One row for each upstream that a rule names: why the request may not go there, or what it would find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from gateway.model import Decision, GenRequest, UpstreamState
from gateway.rehearsal.waiting import ahead
from gateway.rehearsal.words import usd
from gateway.rehearsal.world import SEED, World
from gateway.routing.board import Board, Plan, Pool
from gateway.routing.capability import TWIN
from gateway.routing.draw import Draw
from gateway.routing.estimate import price_ceiling
from gateway.routing.filters import Standing, most_cost
from gateway.routing.needs import in_gpus, in_need
from gateway.routing.offers import complaint
from gateway.routing.scene import asked_of, first_token_there, wait_there
from gateway.routing.scorers import parts
from gateway.routing.signals import comparison
from gateway.routing.thresholds import BELOW, FORECAST, STANDING
from gateway.routing.versions import choose

Row = dict[str, Any]
NOT_NEEDED = "not_needed"
"""Of a backend of `fallback` while workers are up, and of `spill` while none is."""
_DIGITS = 4
_SHOWN = 3
"""Digits of a score and of its parts, so that they add up as they are printed."""
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

    def judged(self, name: str, pool: Pool) -> UpstreamState:
        """One that is in no pool, with its limit for the model."""
        return self.board.judged(self.world.state(name), self.standing(pool), self.plan.rule)[0]

    def standing(self, pool: Pool) -> Standing:
        plan = self.plan
        return self.board.standing(plan.model, pool.served, plan.demand, self.asked.endpoint, plan.rule)

    def shown(self, pools: Sequence[Pool]) -> list[Pool]:
        """Of each backend's pools, one for each of its versions, the one that the session gets there."""
        if not self.plan.versions:
            return list(pools)
        home = [self.draw.left(pool) for pool in self.plan.home]
        return choose(self.asked, self.plan.versions, home).beyond(pools)

    def sampled(self, backend: str) -> frozenset[str]:
        """Who of a backend is asked."""
        decision = self.decision
        groups = () if decision is None else (*decision.primary, *decision.overflow)
        return frozenset(one.upstream.name for group in groups if group.backend == backend for one in group.candidates)

    @property
    def ahead(self) -> float:
        """Seconds that those take who stand in line at home already."""
        return 0.0 if self.decision is None else ahead(self.decision, self.world)

    @property
    def draw(self) -> Draw:
        return Draw(self.asked, self.board, self.plan, Random(SEED), frozenset())


def rows(scene: Scene) -> tuple[Row, ...]:
    """In the order of the rule: its own backends, spill, fallback. A backend that is both for spill and for fallback
    stands there once, as what it is for now."""
    plan, decision = scene.plan, scene.decision
    groups = () if decision is None else (*decision.primary, *decision.overflow)
    used = {group.backend: "fallback" if group.outcome == "fallback" else "spill" for group in groups}
    made: dict[str, list[Row]] = {}
    for role, pools in (("home", plan.home), ("spill", plan.spill), ("fallback", plan.fallback)):
        for pool in scene.shown(pools):
            needed = role == "home" or pool.backend in used
            if pool.backend not in made:
                shown = role if role == "home" else used.get(pool.backend, role)
                made[pool.backend] = pool_rows(scene, pool, shown, needed=needed)
    return tuple(row for found in made.values() for row in found)


def pool_rows(scene: Scene, pool: Pool, role: str, *, needed: bool) -> list[Row]:
    may = {state.upstream.name: state for state in pool.states}
    sampled = scene.sampled(pool.backend)
    made = []
    for upstream in scene.world.policy.backends[pool.backend]:
        row: Row = {"upstream": upstream.name, "backend": pool.backend, "role": role}
        state = may.get(upstream.name) or scene.judged(upstream.name, pool)
        dropped = why(scene, pool, state)
        if dropped is None and not needed:
            dropped = NOT_NEEDED
        row |= readings(state, scene.world.snapshot.at)
        if dropped is None:
            queue = scene.ahead if role == "home" else 0.0
            row |= {"sampled": upstream.name in sampled, **candidate_row(scene, pool, state, queue)}
        else:
            row |= {"dropped": dropped, "why": in_words(dropped, scene, pool, state)}
        made.append(row)
    return made


def why(scene: Scene, pool: Pool, state: UpstreamState) -> str | None:
    """The first filter that drops it, or None."""
    if not scene.world.policy.ways(scene.plan.model, pool.backend):
        return "capability"
    _, standing = scene.board.judged(state, scene.standing(pool), scene.plan.rule)
    if standing is not None:
        return standing
    if BELOW in pool.drops:
        return BELOW
    return next(iter(scene.draw.left(replace(pool, states=(state,), drops={})).drops), None)


def candidate_row(scene: Scene, pool: Pool, state: UpstreamState, queue: float) -> Row:
    """Loads are shares of the whole limit, as in a fleet file, whatever part of it the class may fill. `queue`: seconds
    before its turn to look for room."""
    at, weighed = scene.draw.scene(pool), scene.plan.rule.scorers
    work, fills = asked_of(at, state)
    limit = state.upstream.limit if state.limit is None else state.limit
    after = state.leased + state.outside + work
    weights, given = dict(weighed), parts(weighed, at, state)
    made = {name: round(weights[name] * max(0.0, value), _SHOWN) for name, value in given.items()}
    return {
        "load": round(state.leased / limit, _DIGITS),
        **({"outside": round(state.outside / limit, _DIGITS)} if state.outside else {}),
        "after": round(after / limit, _DIGITS),
        "limit": limit,
        "may_fill": at.share,
        "work": work,
        "inflight": state.inflight,
        "seats": state.holds,
        **({"ramp": round(state.ramp, _DIGITS)} if state.ramp < 1 else {}),
        **({"version": pool.version} if pool.version is not None else {}),
        "room": after <= fills and state.inflight < state.holds,
        "score": round(sum(made.values()), _SHOWN),
        "parts": made,
        "wait_ms": round(((wait_there(at, state, work, fills) or 0.0) + queue) * _MS, 1),
        "first_ms": round((first_token_there(at, state, work, fills) + queue) * _MS, 1),
        "usd": at.ask.price,
        "usd_most": at.ask.price_most,
    }


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
    return _filtered(dropped, scene, pool, state) if say is None else say(scene, pool, state)


def _filtered(dropped: str, scene: Scene, pool: Pool, state: UpstreamState) -> str:
    """By one of the rule's own `filters`."""
    broken = [one for one in scene.plan.rule.filters if one.signal == dropped]
    if dropped in STANDING:
        value = STANDING[dropped](state, scene.board.since(scene.plan.rule))
    else:
        value = FORECAST[dropped](scene.draw.scene(pool), state) if dropped in FORECAST else None
    wants = " and ".join(comparison(one) for one in broken)
    return f"it is {value:.4g}, and `filters` want {wants}" if broken and value is not None else f"by `{dropped}`"


def _residency(scene: Scene, _: Pool, state: UpstreamState) -> str:
    demand, upstream = scene.plan.demand, state.upstream
    zones = " and ".join(sorted(demand.zones))
    if upstream.kind == "local":
        return f"its zone {upstream.zone} does not lie in {zones}"
    if demand.local:
        return "a bought API is never one of our own machines"
    held = ", ".join(sorted(upstream.private_in)) or "none"
    return f"it is no private endpoint in {zones} (declared: {held})"


def _capability(scene: Scene, pool: Pool, state: UpstreamState) -> str:
    if not scene.world.policy.ways(scene.plan.model, pool.backend):
        return f"{pool.backend} does not serve {scene.plan.model.name}"
    if scene.asked.media is not None:
        found = complaint(scene.asked.endpoint, scene.asked.media, pool.served)
        if found is not None:
            return f"{found.param}: {found.message}"
    reworded = scene.asked.reworded
    obstacle = reworded.obstacle() if reworded is not None and state.upstream.name in pool.foreign else None
    if obstacle is not None:
        return f"it speaks {TWIN[scene.asked.endpoint]} alone, and {obstacle.why}"
    return f"it does not speak {scene.asked.endpoint}"


def _gpu_memory(scene: Scene, _: Pool, state: UpstreamState) -> str:
    return f"{scene.plan.model.name} {in_need(scene.plan.model.need)}, and it has {in_gpus(state.upstream.hardware)}"


def _model_loaded(_: Scene, pool: Pool, state: UpstreamState) -> str:
    has = ", ".join((state.reading.models or ()) if state.reading else ()) or "nothing that is known"
    return f"it does not have {pool.served.name} loaded (loaded: {has})"


def _max_cost(scene: Scene, pool: Pool, _: UpstreamState) -> str:
    most = None if pool.served.price is None else price_ceiling(pool.served.price, scene.asked, pool.served.offer)
    cap = most_cost(scene.plan.rule, scene.asked)
    allowed = "less is allowed" if cap is None else f"{usd(cap)} is allowed"
    return f"nothing bounds its price, and {allowed}" if most is None else f"may cost up to {usd(most)}, {allowed}"


def _fields(scene: Scene, pool: Pool, _: UpstreamState) -> str:
    who = "our own workers" if pool.kind == "local" else "bought APIs"
    return f"{', '.join(scene.asked.fields)} may not go to {who} under this rule"


def _not_needed(scene: Scene, pool: Pool, _: UpstreamState) -> str:
    if pool in scene.plan.fallback:
        return "only for when no worker is up"
    return "not asked for this request"


def _below(scene: Scene, _: Pool, __: UpstreamState) -> str:
    priority = scene.asked.priority
    most = scene.plan.rule.classes[priority].below
    return f"{priority} begins here only while the workers are, on average, less than {most:.0%} full"


_WORDS: Mapping[str, Callable[[Scene, Pool, UpstreamState], str]] = {
    "residency": _residency,
    "capability": _capability,
    "drained": lambda _, __, state: f"it takes nothing new: {state.out}",
    "health": lambda _, __, state: f"it is out: {state.out}",
    "dedicated": lambda _, __, state: f"it is kept for {', '.join(state.upstream.models)}",
    "gpu_memory": _gpu_memory,
    "asleep": lambda _, __, ___: "it is asleep: its weights are put away",
    "model_loaded": _model_loaded,
    "max_cost": _max_cost,
    "fields": _fields,
    BELOW: _below,
    NOT_NEEDED: _not_needed,
}
"""A filter's name -> what it says of this upstream. One without a row here is told by its name."""
