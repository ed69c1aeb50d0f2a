"""The near side: one replica's probes and view, as `gateway.app` builds them, on a store of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.fleet.circuits import Circuits
from gateway.fleet.gpu_watch import GpuWatch
from gateway.fleet.leases import Leases, new_owner
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.fleet.probes import Probes
from gateway.fleet.view import Hooks, View
from gateway.model import Policy
from gateway.policy.live import LivePolicy
from gateway.routing.damping import step
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT
from gateway.store.connection import Store
from gateway.upstreams.client import Client
from gateway.upstreams.gpu_pages import GpuPages
from gateway.upstreams.workers import Workers
from loadtests.policy_folder import write

PER_BACKEND = 100


@dataclass(frozen=True, slots=True)
class Replica:
    store: Store
    client: Client
    probes: Probes
    view: View
    policy: Policy


def policy_of(folder: Path, ports: Sequence[int]) -> Policy:
    """A worker on each port, PER_BACKEND of them in one backend, and a rule whose threshold reads their gauges."""
    names = [f"b{number}" for number in range(-(-len(ports) // PER_BACKEND))]
    backends = [
        {
            "name": name,
            "kind": "local",
            "zone": "onprem",
            "networks": ["127.0.0.0/8"],
            "gpu": {"kind": "H100"},
            "upstreams": [
                {"name": f"{name}-{port}", "url": f"http://127.0.0.1:{port}", "engine": "auto"}
                for port in ports[number * PER_BACKEND : (number + 1) * PER_BACKEND]
            ],
        }
        for number, name in enumerate(names)
    ]
    served = [{"backend": name, "as": "org/bench-8b"} for name in names]
    write(
        folder,
        backends={"zones": {"onprem": {}}, "backends": backends},
        models={"models": [{"name": "bench", "modality": "text", "served_by": served}]},
        routing={"rules": [{"name": "all", "route": {"backends": names, "slo": {"ttft_ms": 1000}}}]},
    )
    return LivePolicy(folder).current


@asynccontextmanager
async def replica(url: str, policy: Policy) -> AsyncIterator[Replica]:
    store, client = Store(url), Client()
    owner = new_owner()
    leases = Leases(store, owner, fresh=True)
    lessons = Lessons(store, Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY))

    view = View(store, leases, lessons, lambda: policy, Circuits(), hooks=Hooks(damp=step))
    gpus = GpuWatch(store, GpuPages(client).look, lambda *_: None)
    probes = Probes(store, owner, lambda: policy, Workers(client).look, gpus.look, gpus.judged)
    try:
        await store.check()
        yield Replica(store, client, probes, view, policy)
    finally:
        await client.aclose()
        await store.aclose()
