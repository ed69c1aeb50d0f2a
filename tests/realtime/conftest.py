"""A gateway before realtime servers: two workers of ours and a bought API, a lane of each kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.money.keys import hash_key
from loadtests.stack import Gateway, free_port, start_gateway
from tests.gateways import eventually
from tests.realtime.speaker import Stage, speakers

KEY, ONE_AT_ONCE, POOR, PEPPER = "key-of-sessions", "key-one-at-once", "key-poor", "pepper-of-sessions"
FEW_TOKENS = "key-few-tokens"
ENV = {
    "GATEWAY_KEY_PEPPER": PEPPER,
    "GATEWAY_SESSION_IDLE_SECONDS": "3",
    "GATEWAY_SESSION_MESSAGE_BYTES": str(4 << 20),
}
PRICE = {"input_per_1m": 10, "output_per_1m": 20, "input_audio_per_1m": 100, "output_audio_per_1m": 200}


@dataclass(frozen=True, slots=True)
class Site:
    gateway: Gateway
    stage: Stage

    @property
    def url(self) -> str:
        return self.gateway.url.replace("http", "ws") + "/v1/realtime"

    def receipt(self, request_id: str, key: str = KEY) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            url = f"{self.gateway.url}/v1/gateway/receipts/{request_id}"
            found = httpx.get(url, headers={"Authorization": f"Bearer {key}"}, trust_env=False)
            return found.json() if found.status_code == httpx.codes.OK else None

        return eventually(look, "the receipt")

    def quiet(self) -> None:
        def look() -> bool:
            page = httpx.get(f"{self.gateway.url}/metrics", trust_env=False).text.splitlines()
            busy = [one for one in page if one.startswith(("gateway_requests_in_flight", "gateway_upstream_leases{"))]
            return all(line.endswith(" 0.0") for line in busy)

        eventually(look, "nothing is left")


def folder(ports: list[int]) -> dict[str, Any]:
    def local(name: str, *on: int) -> dict[str, Any]:
        workers = [
            {"name": f"{name}-{n}", "url": f"http://127.0.0.1:{port}", "max_num_seqs": 8, "engine": "openai"}
            | {"endpoints": ["realtime"]}
            for n, port in enumerate(on, 1)
        ]
        gpu = {"kind": "H100", "usd_per_hour": 2.0}
        usual = {"name": name, "kind": "local", "zone": "onprem", "gpu": gpu, "endpoints": ["realtime"]}
        return {**usual, "upstreams": [{k: v for k, v in one.items() if k != "endpoints"} for one in workers]}

    account = {"name": "api", "url": f"http://127.0.0.1:{ports[2]}/v1", "key": "api-key"}
    bought = {"backend": "cloud", "as": "gpt-realtime", "price": PRICE}
    lanes = {"voice": ["own"], "half": ["half"], "bought": ["cloud"], "leaves": ["nobody"]}
    return {
        "backends.yaml": {
            "zones": {"onprem": {"within": ["de"]}, "de": {"within": ["eu"]}, "us": {}},
            "backends": [
                local("own", ports[0], ports[1]),
                local("half", free_port(), ports[0]),
                local("nobody", free_port()),
                {"name": "cloud", "kind": "managed", "zone": "us", "simulated": True, "upstreams": [account]},
            ],
        },
        "models.yaml": {
            "models": [
                {
                    "name": name,
                    "modality": "audio",
                    "default_output_cap": 100,
                    "served_by": [*({"backend": one, "as": "weights"} for one in backends if one != "cloud"), bought],
                }
                for name, backends in lanes.items()
            ]
        },
        "routing.yaml": {
            "rules": [
                {
                    "name": name,
                    "match": {"model": name},
                    "route": {"backends": backends} | ({"fallback": ["cloud"]} if name == "leaves" else {}),
                }
                for name, backends in lanes.items()
            ]
        },
        "tenants.yaml": {
            "tenants": [
                {"name": "acme", "keys": [hash_key(PEPPER, KEY)]},
                {"name": "one", "keys": [hash_key(PEPPER, ONE_AT_ONCE)], "limits": {"concurrent": 1}},
                {
                    "name": "few",
                    "keys": [hash_key(PEPPER, FEW_TOKENS)],
                    "limits": {"tokens_per_day": 1000},
                },
                {
                    "name": "poor",
                    "keys": [hash_key(PEPPER, POOR)],
                    "budgets": [{"usd": 100, "per": "day", "hard": True}],
                },
            ]
        },
    }


@contextmanager
def serve(place: Path) -> Iterator[Site]:
    with speakers(3) as stage:
        (place / "policies").mkdir()
        for name, content in folder(stage.ports).items():
            (place / "policies" / name).write_text(json.dumps(content, indent=1))
        with start_gateway(place / "policies", place / "data", env=ENV, log=place / "gateway.log") as gateway:
            yield Site(gateway, stage)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("realtime")) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.stage.sessions.clear()
    running.stage.refusals.clear()
    return running
