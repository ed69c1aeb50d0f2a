"""What (policy, snapshot) alone say, worked out once, so that a request's cost does not grow with fleet or policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from gateway.model import (
    Demand,
    GenRequest,
    Kind,
    Learned,
    Model,
    Policy,
    PoolKey,
    Priority,
    Rule,
    Served,
    Snapshot,
    SpillOrder,
    Tenant,
    Threshold,
    Upstream,
    UpstreamState,
)
from gateway.routing.affinity import Circle, circle_of
from gateway.routing.capability import TWIN, asked_at
from gateway.routing.filters import Standing, engine_of, standing_drop
from gateway.routing.forecast import Pace
from gateway.routing.guard import Guard, guard, limit_on
from gateway.routing.learn import PRIOR
from gateway.routing.ramp import beside_the_warmest
from gateway.routing.residency import allows
from gateway.routing.robust import fair_mean
from gateway.routing.terms import Terms
from gateway.routing.thresholds import satisfied, standing_break

FRESH_SECONDS = 10.0
"""A reading older than this says nothing about now: vLLM's gauges lag 3 to 6 s, up to 18 s after a cold start."""
HOLD_SECONDS = 300.0
"""How old a reading may be under `on_stale: hold`: past it nobody can say that it is about this worker's load."""
MAX_REMEMBERED = 4096
"""Answers kept of one kind. A policy asks for far fewer; callers who combine zones at will cost time, not memory."""
MOST_QUEUED = 4
"""Times its seats: a longer queue than that tells no more about the load than this one does, and may be a lie."""
_SIGNALS = {"queue_depth": "waiting", "gpu_util": "gpu", "kv_util": "kv"}

Judged = tuple[bool, tuple[Threshold, ...], bool]
"""What of a rule says who is in a pool: `learned`, `filters`, and whether an old reading holds."""
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Pool:
    """What of one backend may serve one model at one endpoint under one demand. `drops` counts the rest by reason."""

    backend: str
    kind: Kind
    served: Served
    states: tuple[UpstreamState, ...]
    drops: Mapping[str, int]
    circle: Circle | None = None
    """Who of `states` a prompt or a session belongs to; None where no rule asks."""
    foreign: frozenset[str] = frozenset()
    """Names of those of `states` that do not speak the endpoint's words, but those of its twin."""
    awaits: bool = False
    """It has nobody at all, and whoever is found there may serve: its workers have not come yet, or have left."""

    @property
    def version(self) -> str | None:
        """Of several that its backend serves, the one that it is about."""
        return self.served.version


class Asked(NamedTuple):
    """All that a plan may depend on of a request: names out of the policy and enumerations, never a caller's text."""

    model: str
    endpoint: str
    tenant: Tenant
    residency: Demand
    priority: Priority
    stream: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The part of a decision that is the same for all requests that ask alike on one board."""

    rule: Rule
    model: Model
    demand: Demand
    permitted: frozenset[str]
    home: tuple[Pool, ...]
    """Of the rule's own backends, in its order; `spill` and `fallback` are where its class may go beyond them."""
    spill: tuple[Pool, ...]
    fallback: tuple[Pool, ...]
    spill_now: str | None
    """As in Decision, but for what the price of a request makes leave (`priced`)."""
    priced: tuple[Threshold, ...]
    order: SpillOrder
    share: float
    """What of a worker's limit its class may fill."""
    worth: float | None
    cheap: bool
    """Both as in Decision."""
    waits: tuple[float, float]
    """`max_wait` and `kept_wait` as in Decision, before the caller's own say."""
    terms: Terms
    versions: Mapping[str, float]
    """Of the model, side by side at some backend, with their weights; empty where there is but one: then each backend
    has one pool, else one for each version that it serves."""


@dataclass(slots=True)
class Course:
    """One rule that requests which ask alike may meet. `plan` is made when the first of them does."""

    rule: Rule
    further: Callable[[GenRequest, Board], bool] | None
    """What must still be asked of each request; None: nothing, the rule is met."""
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """Immutable in meaning; the dicts only remember what pure functions gave: those here, of `plan` and of `facts`."""

    policy: Policy
    snapshot: Snapshot
    courses: dict[Asked, tuple[Course, ...]] = field(default_factory=dict)
    facts: dict[tuple[str, tuple[str, ...], str, bool], Mapping[str, object]] = field(default_factory=dict)
    paces: Mapping[PoolKey, Pace] = field(default_factory=dict)
    """What this replica learned of how long answers take; a pool without an entry is as assumed."""
    worths: Mapping[str, float] = field(default_factory=dict)
    """Rule -> what its requests were worth lately in this replica, on average (routing/worth.py)."""
    zone: str | None = None
    """The gateway's own."""
    _pools: dict[tuple[str, str, Demand, str, Judged], tuple[Pool, ...]] = field(default_factory=dict)
    _guards: dict[PoolKey, Guard | None] = field(default_factory=dict)
    _permits: dict[tuple[str, str, Demand], frozenset[str]] = field(default_factory=dict)
    _signals: dict[tuple[tuple[str, ...], float], Mapping[str, float]] = field(default_factory=dict)
    _near: dict[str, float] = field(default_factory=dict)

    def pools(self, model: Model, backend: str, demand: Demand, endpoint: str, rule: Rule) -> tuple[Pool, ...]:
        """Of one backend under `rule`, one for each version; rules that judge upstreams alike share them."""
        judged = (rule.learned, rule.filters, rule.on_stale == "hold")
        key = (model.name, backend, demand, endpoint, judged)
        found = self._pools.get(key)
        if found is None:
            found = remember(self._pools, key, build_pools(self, model, backend, demand, endpoint, rule))
        return found

    def standing(self, model: Model, served: Served, demand: Demand, endpoint: str, rule: Rule) -> Standing:
        """What standing filters look at for one pool."""
        return Standing(demand, self.policy.zones, endpoint, model.name, served.name, model.need, self.since(rule))

    def judged(self, state: UpstreamState, standing: Standing, rule: Rule) -> tuple[UpstreamState, str | None]:
        """An upstream with its limit for the model, and why it is out of the pool of `rule`, or None."""
        reason = standing_drop(standing, state)
        if reason is not None:
            return state, reason
        if rule.learned and (limit := self.limit(state, standing.model)) is not None:
            state = replace(state, limit=limit)
        return state, standing_break(rule.filters, state, standing.since)

    def since(self, rule: Rule) -> float:
        """The moment before which a reading says nothing under `rule`."""
        return self.snapshot.at - how_long(rule)

    def near(self) -> Mapping[str, float]:
        """Zone -> how near it is to the gateway's own: 1 for that and what lies in it, else the share of the zones
        around the gateway that are around the other too. Empty where the gateway's zone is not known."""
        if self.zone is not None and not self._near:
            around = self.policy.zones[self.zone]
            self._near.update({zone: len(around & its) / len(around) for zone, its in self.policy.zones.items()})
        return self._near

    def known(self, model: str) -> Learned:
        return self.snapshot.learned.get(model, PRIOR)

    def guard(self, backend: str, model: str) -> Guard | None:
        """What the learned limits of this backend's workers keep for this model; None where nothing is learned."""
        key = (backend, model)
        if key not in self._guards:
            lately, kv_tokens = self.snapshot.rules.get(key, ()), self._most_kv(backend)
            self._guards[key] = guard(self.policy, backend, model, lately, self.known(model), kv_tokens)
        return self._guards[key]

    def states(self, backend: str) -> list[UpstreamState]:
        """What is known of each upstream of a backend, as the policy has it."""
        return [self._state(upstream) for upstream in self.policy.backends[backend]]

    def _state(self, upstream: Upstream) -> UpstreamState:
        state = self.snapshot.states.get(upstream.name)
        if state is None:
            return UpstreamState(upstream)
        if state.upstream is not upstream:  # the snapshot is older or newer than the policy: its readings still hold
            return replace(state, upstream=upstream)
        return state

    def _most_kv(self, backend: str) -> int | None:
        states = [self.snapshot.states.get(upstream.name) for upstream in self.policy.backends[backend]]
        told = [state.reading.kv_tokens if state and state.reading else None for state in states]
        known = [tokens for tokens in told if tokens is not None]
        return max(known) if known and len(known) == len(told) else None

    def limit(self, state: UpstreamState, model: str) -> int | None:
        """The learned limit of a worker for a model, GPU-us; None where nothing is learned."""
        upstream = state.upstream
        found = self.guard(upstream.backend, model) if upstream.kind == "local" else None
        if found is None:
            return None
        scale = self.snapshot.scales.get((upstream.backend, model), 1.0)
        kv_tokens = None if state.reading is None else state.reading.kv_tokens
        return limit_on(upstream, found.slo, self.known(model), scale, kv_tokens)

    def permitted(self, rule: Rule, model: Model, demand: Demand) -> frozenset[str]:
        """Names of all upstreams that the rule names and residency allows, up or down: the ground of the permit."""
        key = (rule.name, model.name, demand)
        found = self._permits.get(key)
        return remember(self._permits, key, build_permit(self, rule, model, demand)) if found is None else found

    def signals(self, backends: tuple[str, ...], within: float = FRESH_SECONDS) -> Mapping[str, float]:
        """What the workers of `backends` publish; a signal that nobody published `within` seconds is absent."""
        key = (backends, within)
        found = self._signals.get(key)
        return remember(self._signals, key, read_signals(self, backends, within)) if found is None else found


def remember(memo: dict[K, V], key: K, value: V) -> V:
    """`value`, kept under `key`; a full memo starts afresh, because what it holds can be worked out again."""
    if len(memo) >= MAX_REMEMBERED:
        memo.clear()
    memo[key] = value
    return value


def build_pools(
    board: Board, model: Model, backend: str, demand: Demand, endpoint: str, rule: Rule
) -> tuple[Pool, ...]:
    """A backend that does not serve the model has an empty pool: all of it is dropped by `capability`."""
    ways = board.policy.ways(model, backend)
    if not ways:
        nobody = {"capability": len(board.policy.backends[backend])}
        return (Pool(backend, board.policy.kind(backend), Served(backend, model.name), (), nobody),)
    return tuple(
        build_pool(board, served, board.standing(model, served, demand, endpoint, rule), rule) for served in ways
    )


def build_pool(board: Board, served: Served, standing: Standing, rule: Rule) -> Pool:
    """Of a backend that serves the model."""
    backend, states, drops = served.backend, list[UpstreamState](), Counter[str]()
    if not board.policy.backends[backend]:
        return Pool(backend, board.policy.kind(backend), served, (), {}, awaits=awaits(board, backend, standing))
    for one in board.states(backend):
        state, reason = board.judged(one, standing, rule)
        if reason is None:
            states.append(state)
        else:
            drops[reason] += 1
    states = beside_the_warmest(states)
    names = tuple(one.name for one in board.policy.backends[backend])
    circle = circle_of(names, states) if board.policy.affine else None
    foreign = foreign_of(states, standing.endpoint)
    return Pool(backend, board.policy.kind(backend), served, tuple(states), drops, circle, foreign)


def foreign_of(states: Iterable[UpstreamState], endpoint: str) -> frozenset[str]:
    """Names of those that are asked at another endpoint than `endpoint`."""
    if endpoint not in TWIN:
        return frozenset()
    return frozenset(
        one.upstream.name for one in states if asked_at(one.upstream, endpoint, engine_of(one)) != endpoint
    )


def awaits(board: Board, backend: str, standing: Standing) -> bool:
    """Whether a worker may be found there that such a request could go to."""
    discovery = board.policy.discovery.get(backend)
    return discovery is not None and standing_drop(standing, UpstreamState(discovery.pattern)) is None


def build_permit(board: Board, rule: Rule, model: Model, demand: Demand) -> frozenset[str]:
    named = (*rule.backends, *(rule.spill.backends if rule.spill else ()), *rule.fallback)
    return frozenset(
        upstream.name
        for backend in named
        if board.policy.ways(model, backend)
        for upstream in board.policy.backends[backend]
        if allows(demand, upstream, board.policy.zones)
    )


def how_long(rule: Rule) -> float:
    """Seconds for which a reading counts under `rule`."""
    return HOLD_SECONDS if rule.on_stale == "hold" else FRESH_SECONDS


def read_signals(board: Board, backends: tuple[str, ...], within: float) -> Mapping[str, float]:
    """Means (fair_mean) over the healthy local workers of `backends` whose reading is at most `within` seconds old. A
    queue counts as no longer than MOST_QUEUED times the worker's seats."""
    readings = [
        (state.reading, MOST_QUEUED * upstream.seats)
        for backend in backends
        for upstream in board.policy.backends[backend]
        if upstream.kind == "local"
        and (state := board.snapshot.states.get(upstream.name)) is not None
        and state.out is None
        and state.reading is not None
        and board.snapshot.at - state.reading.at <= within
    ]
    found: dict[str, float] = {}
    for signal, attribute in _SIGNALS.items():
        most = [(getattr(reading, attribute), queue if signal == "queue_depth" else 1.0) for reading, queue in readings]
        values = [min(max(0.0, value), top) for value, top in most if value is not None]
        if values:
            found[signal] = fair_mean(values)
    return found


def holds(threshold: Threshold, signals: Mapping[str, float]) -> bool:
    """Unknown is never "over": a missing signal leaves the decision to the leases."""
    value = signals.get(threshold.signal)
    return value is not None and satisfied(threshold, value)
