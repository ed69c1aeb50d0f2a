"""What the admin API says of policies, replicas and upstreams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from gateway import __version__
from gateway.edge.services import Services
from gateway.edge.shadow import EXAMPLES
from gateway.errors import StoreFault

_COUNTED = ("same", "different", "renamed", "tried", "kept")

Replicas = Mapping[str, Mapping[str, Any]]


async def overview(services: Services) -> dict[str, Any]:
    states = services.view.current.states.values()
    return {
        "gateway": __version__,
        "ready": any(state.out is None for state in states),
        "degraded": services.view.current.degraded,
        "policy": services.versions.state(),
        "upstreams": len(states),
        "out": [
            {"upstream": state.upstream.name, "backend": state.upstream.backend, "why": state.out}
            for state in states
            if state.out is not None
        ],
        "asleep": [state.upstream.name for state in states if state.reading is not None and state.reading.asleep],
        "warming": {state.upstream.name: round(state.ramp, 3) for state in states if state.ramp < 1},
        "discovery_faults": services.joining.finders.faults,
        "replicas": await replicas(services),
    }


async def policies(services: Services, known: Replicas | None = None) -> dict[str, Any]:
    """`known`: what the replicas told just now, else they are looked up."""
    told, order = await replicas(services) if known is None else known, services.versions.order
    try:
        stored = await services.versions.stored()
    except StoreFault:
        stored = []
    return {
        "in_force": services.policy.version,
        "announced": asdict(order) if order is not None else None,
        "differ": len({row["version"] for row in told.values()}) > 1,
        "replicas": dict(told),
        "stored": stored,
    }


async def rollout(services: Services, known: Replicas | None = None) -> dict[str, Any]:
    """`known` as for `policies`."""
    candidate = services.live.candidate
    if candidate is None:
        return {"in_force": services.policy.version, "candidate": None}
    told = await replicas(services) if known is None else known
    rows = [row for row in told.values() if row["trial"] == asdict(candidate.trial)]
    return {
        "in_force": services.policy.version,
        "candidate": asdict(candidate.trial),
        "replicas": len(told),
        "replicas_trying": len(rows),
        **added([row["tally"] for row in rows]),
    }


def added(tallies: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The tallies of several replicas as one, with the newest examples of all. One of another release may lack some."""
    told = list(tallies)
    fields: Counter[str] = Counter()
    for one in told:
        fields.update(one.get("fields", {}))
    shown = (example for one in told for example in one.get("examples", ()))
    examples = sorted(shown, key=lambda example: float(example["time"]))
    sums = {name: sum(one.get(name, 0) for one in told) for name in _COUNTED}
    return {**sums, "fields": dict(fields), "examples": examples[-EXAMPLES:]}


async def replicas(services: Services) -> dict[str, dict[str, Any]]:
    """All replicas that told lately; while the store is away, this one."""
    try:
        return await services.versions.replicas()
    except StoreFault:
        return {"this": services.versions.state()}
