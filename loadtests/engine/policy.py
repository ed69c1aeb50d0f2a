"""The policy folder of the test, as files: what a user of one worker and one bought API would write."""

from __future__ import annotations

from pathlib import Path

from loadtests import policy_folder

BACKEND, WORKER, API = "engine", "engine-1", "api"
SEATS = 8
LIMIT_WORK_S = 3600.0
"""GPU-seconds that the worker may hold. So many that its seats are always what fills: how much work an answer is held
to be is learned, and would move the place where this test spills."""


def write(folder: Path, engine_url: str, engine: str, model: str, api_url: str, api_model: str, api_key: str) -> None:
    """Clients use the engine's own name of the model, so that an answer can be compared with the engine's, byte by
    byte. The simulated API makes the public key `demo` acceptable."""
    worker = {"name": WORKER, "url": engine_url, "engine": engine, "max_num_seqs": SEATS, "limit_work_s": LIMIT_WORK_S}
    price = {"input_per_1m": 0.25, "output_per_1m": 0.75}
    policy_folder.write(
        folder,
        backends={
            "zones": {"onprem": {"within": ["eu"]}, "us": {}},
            "backends": [
                {"name": BACKEND, "kind": "local", "zone": "onprem", "upstreams": [worker]},
                {
                    "name": API,
                    "kind": "managed",
                    "zone": "us",
                    "simulated": True,
                    "upstreams": [{"name": API, "url": api_url, "key": api_key}],
                },
            ],
        },
        models={
            "models": [
                {
                    "name": model,
                    "served_by": [{"backend": BACKEND, "as": model}, {"backend": API, "as": api_model, "price": price}],
                }
            ]
        },
        routing={
            "rules": [
                {"name": "flagged", "match": {"residency": "any"}, "route": _route(max_wait=0)},
                {"name": "open", "route": _route(max_wait=0, spill={"backends": [API]}, fallback=[API])},
            ]
        },
        tenants={"tenants": [{"name": "demo", "demo": True}]},
    )


def _route(**more: object) -> dict[str, object]:
    return {"backends": [BACKEND], "limit": "fixed", "slo": {"ttft_ms": 2000, "tpot_ms": 200}, **more}
