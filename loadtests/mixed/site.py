"""Four equal simulated diffusion workers, one store, and two replicas of the gateway in front of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.money.keys import hash_key
from gateway.store.embedded import Embedded
from loadtests.mixed.trace import REFERENCE_STEPS
from loadtests.policy_folder import write
from loadtests.simfleet.harness import SimFleet, start
from loadtests.stack import Gateway, start_gateway

KEY, PEPPER = "mixed-key", "mixed-pepper"
MODEL, WEIGHTS = "flux", "black-forest-labs/FLUX.1-dev"
REPLICAS, WORKERS = 2, 4
ROOM_S = 600.0
"""Leased work that a worker may hold: more than ever comes, so that where a picture goes is all that differs."""


@dataclass(frozen=True, slots=True)
class Site:
    gateways: list[Gateway]
    fleet: SimFleet


@contextlib.contextmanager
def running(place: Path, unit_s: float) -> Iterator[Site]:
    """`unit_s`: seconds of a worker for 50 steps at 1024x1024. Raises SimFault or StackFault."""
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        named = [{"name": f"w{number + 1}"} for number in range(WORKERS)]
        like = {"engine": "vllm-omni", "model": WEIGHTS, "unit_s": unit_s, "reference_steps": REFERENCE_STEPS}
        fleet = stack.enter_context(start(seed=1, workers=named, worker=like, managed=0))
        write_policy(place / "policy", fleet)
        store = Embedded.start(place / "store")
        stack.callback(store.stop)
        env = {"GATEWAY_KEY_PEPPER": PEPPER, "GATEWAY_REDIS_URL": store.url, "GATEWAY_LEDGER_URL": "none"}
        gateways = [
            stack.enter_context(
                start_gateway(place / "policy", place / f"data-{number}", env=env, log=place / f"gateway-{number}.log")
            )
            for number in range(REPLICAS)
        ]
        yield Site(gateways, fleet)


def write_policy(folder: Path, fleet: SimFleet) -> None:
    upstreams = [
        {"name": one.name, "url": one.url, "engine": "vllm-omni", "limit_work_s": ROOM_S} for one in fleet.workers
    ]
    gpu = {"kind": "H100", "usd_per_hour": 2.0}
    backend = {"name": "gpu", "kind": "local", "zone": "onprem", "gpu": gpu, "upstreams": upstreams}
    route = {"backends": ["gpu"], "max_wait": "60s", "limit": "fixed"}
    write(
        folder,
        backends={"zones": {"onprem": {"within": ["eu"]}}, "backends": [backend]},
        models={"models": [{"name": MODEL, "modality": "image", "served_by": [{"backend": "gpu", "as": WEIGHTS}]}]},
        routing={"rules": [{"name": "pictures", "match": {"model": MODEL}, "route": route}]},
        tenants={"tenants": [{"name": "mixed", "keys": [hash_key(PEPPER, KEY)]}]},
    )
