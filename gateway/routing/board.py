"""The candidate lists of one (policy, snapshot): worked out once,
so that a request's cost does not grow with the fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean

from gateway.model import Demand, Learned, Model, Policy, Rule, Served, Slo, Snapshot, Threshold, UpstreamState
from gateway.routing.filters import Standing, standing_drop
from gateway.routing.guard import guard, limit_on
from gateway.routing.learn import PRIOR
from gateway.routing.residency import allows

FRESH_SECONDS = 10.0
"""A reading older than this says nothing about now: vLLM's gauges lag 3 to 6 s, up to 18 s after a cold start."""
_SIGNALS = {"queue_depth": "waiting", "gpu_util": "gpu", "kv_util": "kv"}


@dataclass(frozen=True, slots=True)
class Pool:
    """What of one backend may serve one model at one endpoint under one demand. `drops` counts the rest by reason."""

    served: Served
    states: tuple[UpstreamState, ...]
    drops: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Board:
    """Immutable in meaning; the private dicts only remember what the pure functions below gave."""

    policy: Policy
    snapshot: Snapshot
    _pools: dict[tuple[str, str, Demand, str, bool], Pool | None] = field(default_factory=dict)
    _guards: dict[tuple[str, str], Slo | None] = field(default_factory=dict)
    _permits: dict[tuple[str, str, Demand], frozenset[str]] = field(default_factory=dict)
    _signals: dict[tuple[str, ...], Mapping[str, float]] = field(default_factory=dict)

    def pool(self, model: Model, backend: str, demand: Demand, endpoint: str, *, learned: bool = True) -> Pool | None:
        """None where `backend` does not serve `model` at all. `learned`: whether the learned limits hold."""
        key = (model.name, backend, demand, endpoint, learned)
        if key not in self._pools:
            self._pools[key] = build_pool(self, model, backend, demand, endpoint, learned)
        return self._pools[key]

    def known(self, model: str) -> Learned:
        return self.snapshot.learned.get(model, PRIOR)

    def guard(self, backend: str, model: str) -> Slo | None:
        """What the learned limits of this backend's workers keep for this model; None where nothing is learned."""
        key = (backend, model)
        if key not in self._guards:
            self._guards[key] = guard(self.policy, backend, model, self.snapshot.rules.get(key, ()))
        return self._guards[key]

    def limit(self, state: UpstreamState, model: str) -> int | None:
        """The learned limit of a worker for a model, GPU-us; None where nothing is learned."""
        upstream = state.upstream
        slo = self.guard(upstream.backend, model) if upstream.kind == "local" else None
        if slo is None:
            return None
        scale = self.snapshot.scales.get((upstream.backend, model), 1.0)
        kv_tokens = None if state.reading is None else state.reading.kv_tokens
        return limit_on(upstream, slo, self.known(model), scale, kv_tokens)

    def permitted(self, rule: Rule, model: Model, demand: Demand) -> frozenset[str]:
        """Names of all upstreams that the rule names and residency allows, up or down: the ground of the permit."""
        key = (rule.name, model.name, demand)
        if key not in self._permits:
            serving = {served.backend for served in model.served_by}
            named = (*rule.backends, *(rule.spill.backends if rule.spill else ()), *rule.fallback)
            self._permits[key] = frozenset(
                upstream.name
                for backend in named
                if backend in serving
                for upstream in self.policy.backends[backend]
                if allows(demand, upstream, self.policy.zones)
            )
        return self._permits[key]

    def signals(self, backends: tuple[str, ...]) -> Mapping[str, float]:
        """The live readings that `spill.when` speaks of; a signal nobody published lately is absent."""
        if backends not in self._signals:
            self._signals[backends] = read_signals(self, backends)
        return self._signals[backends]


def build_pool(board: Board, model: Model, backend: str, demand: Demand, endpoint: str, learned: bool) -> Pool | None:
    served = next((s for s in model.served_by if s.backend == backend), None)
    if served is None:
        return None
    ctx = Standing(demand, board.policy.zones, endpoint)
    states, drops = [], Counter[str]()
    for upstream in board.policy.backends[backend]:
        state = board.snapshot.states.get(upstream.name) or UpstreamState(upstream)
        if state.upstream is not upstream:  # the snapshot is older or newer than the policy: its readings still hold
            state = replace(state, upstream=upstream)
        reason = standing_drop(ctx, state)
        if reason is None:
            limit = board.limit(state, model.name) if learned else None
            states.append(state if limit is None else replace(state, limit=limit))
        else:
            drops[reason] += 1
    return Pool(served, tuple(states), drops)


def read_signals(board: Board, backends: tuple[str, ...]) -> Mapping[str, float]:
    """Means over the healthy local workers of `backends` whose reading is fresh."""
    readings = [
        state.reading
        for backend in backends
        for upstream in board.policy.backends[backend]
        if upstream.kind == "local"
        and (state := board.snapshot.states.get(upstream.name)) is not None
        and state.out is None
        and state.reading is not None
        and board.snapshot.at - state.reading.at <= FRESH_SECONDS
    ]
    found: dict[str, float] = {}
    for signal, attribute in _SIGNALS.items():
        values = [value for reading in readings if (value := getattr(reading, attribute)) is not None]
        if values:
            found[signal] = fmean(values)
    return found


def holds(threshold: Threshold, signals: Mapping[str, float]) -> bool:
    """Unknown is never "over": a missing signal leaves the decision to the leases."""
    value = signals.get(threshold.signal)
    if value is None:
        return False
    if value == threshold.value:
        return threshold.inclusive
    return (value > threshold.value) is threshold.above
