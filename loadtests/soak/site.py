"""What is soaked: a simulated fleet and bought API, and one gateway with everything on in front of them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from gateway.money.keys import hash_key
from loadtests.policy_folder import write
from loadtests.simfleet.harness import SimFleet, start
from loadtests.stack import Gateway, start_gateway

KEY, PEPPER = "soak-key", "soak-pepper"
MODEL, NARROW = "soak", "narrow"
"""NARROW has one worker with two seats and nothing to spill to: its callers queue."""
WORKERS, SEATS, NARROW_SEATS = 4, 8, 2
GPU, API = "gpu", "api"
BACKENDS = (GPU, NARROW, API)
LAST_BREATH_SECONDS = 0.5
"""Between the end of its connections and the end of the process."""
WEIGHTS = "meta-llama/Llama-3.3-70B-Instruct"
"""The simulated servers' own name of the model."""
SPEED = {"step_ms": 40.0, "per_seq_ms": 0.5, "per_prompt_token_ms": 0.001}
ENGINE = {
    "max_num_seqs": SEATS,
    "max_model_len": 131_072,
    "num_gpu_blocks": 40_000,
    "prefill_chunk": 16_384,
    "gauge_lag_s": 0.2,
}
"""Room for a prompt of 200 KB (48,000 tokens), read in three steps."""
BOUGHT = {"ttft_median_s": 0.2, "tokens_per_s": 100.0}


@dataclass(frozen=True, slots=True)
class Site:
    gateway: Gateway
    fleet: SimFleet
    log: Path
    store: Path
    """The embedded store's socket."""

    def ended(self) -> str:
        """How the gateway ended, with the last line of its log; empty while it lives."""
        try:
            code = self.gateway.process.wait(LAST_BREATH_SECONDS)
        except subprocess.TimeoutExpired:
            return ""
        last = self.log.read_text().splitlines()[-1:] or ["it printed nothing"]
        return f"the gateway ended (code {code}, {last[0]})"

    def leases(self) -> int:
        """Leases on all backends, from the store itself."""
        with redis.Redis(unix_socket_path=str(self.store)) as client:
            return sum(int(client.hlen(f"gw:{{{backend}}}:leases")) for backend in BACKENDS)


@contextlib.contextmanager
def running(place: Path, processes: int, keep_alive_s: int) -> Iterator[Site]:
    """`processes` of the gateway serve; `keep_alive_s`: how long the simulated servers keep idle connections.

    Raises SimFault or StackFault.
    """
    workers: list[dict[str, object]] = [{"name": f"w{number}"} for number in range(WORKERS)]
    workers.append({"name": NARROW, "max_num_seqs": NARROW_SEATS})
    with start(
        seed=1, workers=workers, worker=SPEED | ENGINE, managed=[{"name": API}], api=BOUGHT, keep_alive_s=keep_alive_s
    ) as fleet:
        write_policy(place / "policy", fleet)
        data, log = place / "data", place / "gateway.log"
        env = {"GATEWAY_KEY_PEPPER": PEPPER, "GATEWAY_WORKERS": str(processes)}
        with start_gateway(place / "policy", data, env=env, log=log) as gateway:
            yield Site(gateway, fleet, log, data / "store.sock")


def write_policy(folder: Path, fleet: SimFleet) -> None:
    urls = {server.name: server.url for server in (*fleet.workers, *fleet.managed)}
    account = {"name": API, "url": urls[API], "key": "sim-managed-key"}
    local: dict[str, object] = {"backend": GPU, "as": WEIGHTS}
    bought: dict[str, object] = {"backend": API, "as": WEIGHTS, "price": {"input_per_1m": 0.25, "output_per_1m": 0.75}}
    write(
        folder,
        backends={
            "zones": {"onprem": {"within": ["eu"]}, "us": {}},
            "backends": [
                _local(GPU, {name: url for name, url in urls.items() if name not in (NARROW, API)}, SEATS),
                _local(NARROW, {NARROW: urls[NARROW]}, NARROW_SEATS),
                {"name": API, "kind": "managed", "zone": "us", "simulated": True, "upstreams": [account]},
            ],
        },
        models={
            "models": [
                _model(MODEL, [local, bought]),
                _model(NARROW, [{"backend": NARROW, "as": WEIGHTS}]),
            ]
        },
        routing={"rules": RULES},
        tenants={"tenants": [{"name": "soak", "keys": [hash_key(PEPPER, KEY)]}]},
    )


RULES = [
    {"name": "narrow", "match": {"model": NARROW}, "route": {"backends": [NARROW], "max_wait": "3s"}},
    {"name": "flagged", "match": {"residency": "any"}, "route": {"backends": [GPU], "max_wait": "20s"}},
    {
        "name": "chat",
        "match": {"model": MODEL},
        "route": {
            "backends": [GPU],
            "slo": {"ttft_ms": 1000, "tpot_ms": 60, "target": 0.99},
            "spill": {"backends": [API], "budget_usd_per_hour": 40},
        },
    },
]


def _local(name: str, urls: dict[str, str], seats: int) -> dict[str, object]:
    upstreams = [{"name": one, "url": url, "engine": "vllm", "max_num_seqs": seats} for one, url in urls.items()]
    gpu = {"kind": "H100", "usd_per_hour": 2.0}
    return {"name": name, "kind": "local", "zone": "onprem", "gpu": gpu, "speed": SPEED, "upstreams": upstreams}


def _model(name: str, served: list[dict[str, object]]) -> dict[str, object]:
    return {"name": name, "modality": "text", "served_by": served}
