"""Policy folders of the bench, as files: what a user would write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.money.keys import hash_key
from loadtests.bench.wire import KEY, MODEL
from loadtests.policy_folder import write

PEPPER = "bench-pepper"
WORKERS = 4
SEATS = 1024
"""Room for every request of the bench: a spill would measure something else."""
_AS_USUAL: Mapping[str, object] = {}


PLENTY = 1_000_000_000
"""More than the bench asks for: what is measured is the counting."""
LIMITS = {"requests_per_minute": PLENTY, "tokens_per_minute": PLENTY, "concurrent": 10_000}


def whole_policy(folder: Path, upstream: int, *, paid: bool = True) -> None:
    """Everything on: a key with limits and budgets (unless not `paid`), residency rule, SLO, spill, four workers and
    one managed API at port `upstream`."""
    local = [_worker(f"w{number}", upstream) for number in range(WORKERS)]
    managed = [{"name": "api", "url": f"http://127.0.0.1:{upstream}/v1", "key": "upstream-key"}]
    write(
        folder,
        backends={
            "zones": {"onprem": {"within": ["eu"]}, "us": {}},
            "backends": [
                _local("gpu", local),
                {"name": "api", "kind": "managed", "zone": "us", "simulated": True, "upstreams": managed},
            ],
        },
        models={"models": [_model(["gpu"], api=True)]},
        routing={
            "rules": [
                {"name": "flagged", "match": {"residency": "any"}, "route": {"backends": ["gpu"], "max_wait": "20s"}},
                {
                    "name": "chat",
                    "match": {"model": f"{MODEL}*"},
                    "route": {
                        "backends": ["gpu"],
                        "slo": {"ttft_ms": 1000, "tpot_ms": 40, "target": 0.99},
                        "spill": {"backends": ["api"], "budget_usd_per_hour": 40},
                    },
                },
            ]
        },
        **({"tenants": {"tenants": [_tenant()]}} if paid else {}),
    )


def _tenant() -> dict[str, object]:
    budgets = [{"usd": PLENTY // 1000, "per": "month"}]
    return {"name": "bench", "keys": [hash_key(PEPPER, KEY)], "limits": LIMITS, "budgets": budgets}


SCORERS = {"load": 1, "prefix": 2, "ttft": 1, "price": 1, "errors": 1}
"""Affinity, what is forecast, what is known: four beside the load."""


CONDITIONS = (
    "fleet.load > 0.9 && request.prompt_tokens > 4000 && request.priority == 'standard'",
    "backend.b1.load < backend.b0.load - 0.2 || 'x-team' in request.headers && request.hour >= 22",
)
"""Two that do not hold on an idle fleet, and read of every root what such rules read."""


def many_rules(
    folder: Path,
    backends: int,
    upstreams: int,
    rules: int,
    conditions: tuple[str, ...] = (),
    route: Mapping[str, object] = _AS_USUAL,
) -> None:
    """`upstreams` workers in each of `backends`; of the `rules` only the last matches MODEL, and those before it that
    have one of `conditions`. `route` is merged into its own."""
    names = [f"b{number}" for number in range(backends)]
    made = [_local(name, [_worker(f"{name}-{number}", 9) for number in range(upstreams)]) for name in names]
    others = [
        {"name": f"r{number}", "match": {"model": f"other-{number}-*"}, "route": {"backends": names}}
        for number in range(rules - 1 - len(conditions))
    ]
    asking = [
        {"name": f"asking-{number}", "match": {"model": f"{MODEL}*", "when": text}, "route": {"backends": names}}
        for number, text in enumerate(conditions)
    ]
    last = {
        "name": "last",
        "match": {"model": f"{MODEL}*"},
        "route": {"backends": names, "slo": {"ttft_ms": 1000}, **route},
    }
    write(
        folder,
        backends={"zones": {"onprem": {}}, "backends": made},
        models={"models": [_model(names), *(_model(names, f"other-{number}-8b") for number in range(rules - 1))]},
        routing={"rules": [*others, *asking, last]},
    )


def _local(name: str, upstreams: list[dict[str, object]]) -> dict[str, object]:
    gpu = {"kind": "H100", "usd_per_hour": 2.0}
    return {"name": name, "kind": "local", "zone": "onprem", "gpu": gpu, "upstreams": upstreams}


def _worker(name: str, port: int) -> dict[str, object]:
    return {"name": name, "url": f"http://127.0.0.1:{port}", "engine": "vllm", "max_num_seqs": SEATS}


def _model(backends: list[str], name: str = MODEL, *, api: bool = False) -> dict[str, object]:
    served: list[dict[str, object]] = [{"backend": backend, "as": "org/bench-8b"} for backend in backends]
    if api:
        price = {"input_per_1m": 0.25, "output_per_1m": 0.75}
        served.append({"backend": "api", "as": "org/bench-8b", "price": price})
    return {"name": name, "modality": "text", "served_by": served}
