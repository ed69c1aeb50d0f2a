"""Four equal simulated workers, one store, and two replicas of the gateway in front of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.money.keys import hash_key
from gateway.store.embedded import Embedded
from loadtests.policy_folder import write
from loadtests.simfleet.harness import SimFleet, start
from loadtests.stack import Gateway, start_gateway

KEY, PEPPER = "balance-key", "balance-pepper"
MODEL = "burst"
WEIGHTS = "meta-llama/Llama-3.3-70B-Instruct"
"""The simulated servers' own name of the model."""
REPLICAS, WORKERS, SEATS = 2, 4, 64
SPEED = {"step_ms": 10.0, "per_seq_ms": 0.1, "per_prompt_token_ms": 0.001}
TOKENS = 16
"""Of each answer: a burst is over in about half a second."""


@dataclass(frozen=True, slots=True)
class Site:
    gateways: list[Gateway]
    fleet: SimFleet

    def received(self) -> dict[str, int]:
        """Worker -> requests that ever reached it, by its own journal; probes do not count."""
        return {worker.name: self.fleet.state(worker.name)["received"] for worker in self.fleet.workers}


@contextlib.contextmanager
def running(place: Path, *, workers: int = WORKERS, seats: int = SEATS) -> Iterator[Site]:
    """Raises SimFault or StackFault."""
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        named = [{"name": f"w{number + 1}", "max_num_seqs": seats} for number in range(workers)]
        fleet = stack.enter_context(start(seed=1, workers=named, worker=SPEED, managed=0))
        write_policy(place / "policy", fleet, seats)
        store = Embedded.start(place / "store")
        stack.callback(store.stop)
        env = {"GATEWAY_KEY_PEPPER": PEPPER, "GATEWAY_REDIS_URL": store.url}
        gateways = [
            stack.enter_context(
                start_gateway(place / "policy", place / f"data-{number}", env=env, log=place / f"gateway-{number}.log")
            )
            for number in range(REPLICAS)
        ]
        yield Site(gateways, fleet)


def write_policy(folder: Path, fleet: SimFleet, seats: int) -> None:
    upstreams = [
        {"name": one.name, "url": one.url, "engine": "vllm", "max_num_seqs": seats, "limit_work_s": float(seats)}
        for one in fleet.workers
    ]
    backend = {"name": "gpu", "kind": "local", "zone": "onprem", "speed": SPEED, "upstreams": upstreams}
    backend["gpu"] = {"kind": "H100", "usd_per_hour": 2.0}
    write(
        folder,
        backends={"zones": {"onprem": {"within": ["eu"]}}, "backends": [backend]},
        models={
            "models": [{"name": MODEL, "modality": "text", "served_by": [{"backend": "gpu", "as": WEIGHTS}]}],
        },
        routing={
            "rules": [
                {
                    "name": "burst",
                    "match": {"model": MODEL},
                    "route": {"backends": ["gpu"], "max_wait": "20s", "limit": "fixed"},
                }
            ]
        },
        tenants={"tenants": [{"name": "balance", "keys": [hash_key(PEPPER, KEY)]}]},
    )
