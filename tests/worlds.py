"""Small policies, snapshots and requests, built in memory: the ground of the routing tests,
with hypothesis strategies."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from hypothesis import strategies as st

from gateway.model import (
    Demand,
    GenRequest,
    Match,
    Model,
    Policy,
    Price,
    Reading,
    Rule,
    Served,
    Slo,
    Snapshot,
    Speed,
    Spill,
    Tenant,
    Timeouts,
    Upstream,
    UpstreamState,
)
from gateway.routing.board import Board

ZONES = {
    "fra": frozenset({"fra", "de", "eu"}),
    "ams": frozenset({"ams", "eu"}),
    "us": frozenset({"us"}),
    "de": frozenset({"de", "eu"}),
    "eu": frozenset({"eu"}),
}
PRICE = Price.of(input_per_1m=0.25, output_per_1m=0.75)
LIMIT = 1_000_000


def upstream(name: str, backend: str, **changes: Any) -> Upstream:
    kind = "managed" if backend.startswith("api") else "local"
    base = Upstream(
        name=name,
        backend=backend,
        kind=kind,  # type: ignore[arg-type]
        url="http://10.0.0.1:8000",
        dialect="openai",
        zone="us" if kind == "managed" else "fra",
        networks=(ip_network("10.0.0.0/8"),),
        speed=Speed(8.0, 0.06, 0.04),
        limit=1000 if kind == "managed" else LIMIT,
        seats=1000 if kind == "managed" else 64,
        engine=None if kind == "managed" else "vllm",
        usd_per_hour=2.0 if kind == "local" else None,
    )
    return replace(base, **changes)


def rule(name: str = "chat", **changes: Any) -> Rule:
    base = Rule(
        name=name,
        match=Match(),
        backends=("gpu",),
        slo=Slo(),
        max_wait=0.0,
        spill=Spill(("api",)),
        fallback=(),
        attempts=3,
        timeouts=Timeouts(),
        residency=Demand(),
        on_fields={},
    )
    return replace(base, **changes)


def policy(
    upstreams: tuple[Upstream, ...] | None = None, rules: tuple[Rule, ...] | None = None, **changes: Any
) -> Policy:
    """Two workers and an API that serve model `m`, unless told otherwise."""
    chosen = upstreams or (upstream("w1", "gpu"), upstream("w2", "gpu"), upstream("a1", "api"))
    backends: dict[str, tuple[Upstream, ...]] = {}
    for one in chosen:
        backends[one.backend] = (*backends.get(one.backend, ()), one)
    served = tuple(Served(b, f"real-{b}", PRICE if b.startswith("api") else None) for b in backends)
    base = Policy(
        version="v1",
        zones=ZONES,
        backends=backends,
        upstreams={one.name: one for one in chosen},
        models={"m": Model("m", "text", served)},
        rules=rules or (rule(),),
        tenants={},
        keys={},
        simulated=False,
    )
    return replace(base, **changes)


def state(one: Upstream, **changes: Any) -> UpstreamState:
    return replace(UpstreamState(one), **changes)


def reading(at: float = 100.0, **changes: Any) -> Reading:
    return replace(Reading(at=at, healthy=True, running=0, waiting=0, kv=0.0, gpu=0.0), **changes)


def board(made: Policy | None = None, at: float = 100.0, **states: dict[str, Any]) -> Board:
    """A board on which the named upstreams differ from idle and healthy."""
    chosen = made or policy()
    seen = {name: state(one, **states.get(name, {})) for name, one in chosen.upstreams.items()}
    return Board(chosen, Snapshot(at, seen))


def request(**changes: Any) -> GenRequest:
    base = GenRequest(
        id="r1",
        endpoint="chat/completions",
        model="m",
        tenant=Tenant("t"),
        body=b'{"model":"m"}',
        prompt_bytes=400,
        max_tokens=100,
    )
    return replace(base, **changes)


demands = st.builds(Demand, local=st.booleans(), zones=st.frozensets(st.sampled_from(sorted(ZONES)), max_size=2))


@st.composite
def fleets(draw: st.DrawFn) -> Policy:
    """Policies with local and managed upstreams anywhere, some APIs declared private endpoints,
    rules that name them."""
    made = []
    for index in range(draw(st.integers(1, 6))):
        backend = draw(st.sampled_from(["gpu", "gpu2", "api", "api2"]))
        private = draw(st.frozensets(st.sampled_from(sorted(ZONES)), max_size=1))
        made.append(
            upstream(
                f"u{index}",
                backend,
                zone=draw(st.sampled_from(sorted(ZONES))),
                private_in=private if backend.startswith("api") else frozenset(),
            )
        )
    names = sorted({one.backend for one in made})
    managed = tuple(name for name in names if name.startswith("api"))
    primary = tuple(draw(st.lists(st.sampled_from(names), min_size=1, unique=True)))
    chosen = rule(
        backends=primary,
        spill=Spill(managed) if managed and draw(st.booleans()) else None,
        fallback=managed if draw(st.booleans()) else (),
        residency=draw(demands),
    )
    return policy(tuple(made), (chosen,))
