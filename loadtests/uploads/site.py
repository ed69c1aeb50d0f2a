"""A gateway in front of workers that hear, and a bought API beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.money.keys import hash_key
from loadtests.stack import Gateway, start_gateway
from loadtests.uploads.listener import Listener, Play, listeners

KEY, PEPPER = "key-of-the-uploads", "pepper-of-the-uploads"
MODEL = "ears"
SERVED = "openai/whisper-large-v3"
PER_HOUR = 0.36
"""USD for an hour of sound."""


@dataclass(frozen=True, slots=True)
class Site:
    """`play`: what goes wrong, and all that came. The last listener is the bought API."""

    gateway: Gateway
    play: Play
    listeners: list[Listener]
    data: Path


@contextmanager
def serve(
    place: Path, workers: int = 1, *, env: Mapping[str, str] | None = None, route: Mapping[str, Any] | None = None
) -> Iterator[Site]:
    """The gateway keeps folder and data in `place`. `route` is merged into the rule."""
    with listeners(workers + 1) as (play, made):
        folder = place / "policies"
        folder.mkdir()
        for name, content in _folder(made, route or {}).items():
            (folder / name).write_text(json.dumps(content, indent=1))
        values = {"GATEWAY_KEY_PEPPER": PEPPER, **(env or {})}
        with start_gateway(folder, place / "data", env=values, log=place / "gateway.log") as gateway:
            yield Site(gateway, play, made, place / "data")


def _folder(made: list[Listener], route: Mapping[str, Any]) -> dict[str, Any]:
    local = [
        {"name": f"ears-{number + 1}", "url": one.url, "max_num_seqs": 8, "engine": "openai"}
        for number, one in enumerate(made[:-1])
    ]
    gpu = {"kind": "H100", "usd_per_hour": 2.0}
    account = {"name": "api", "url": f"{made[-1].url}/v1", "key": "api-key"}
    return {
        "backends.yaml": {
            "zones": {"onprem": {"within": ["de"]}, "de": {"within": ["eu"]}, "us": {}},
            "backends": [
                {"name": "ears", "kind": "local", "zone": "onprem", "gpu": gpu, "upstreams": local},
                {"name": "cloud", "kind": "managed", "zone": "us", "simulated": True, "upstreams": [account]},
            ],
        },
        "models.yaml": {
            "models": [
                {
                    "name": MODEL,
                    "modality": "audio",
                    "served_by": [
                        {"backend": "ears", "as": SERVED},
                        {
                            "backend": "cloud",
                            "as": "whisper-1",
                            "price": {"per_audio_hour": PER_HOUR, "per_request": 0},
                        },
                    ],
                }
            ]
        },
        "routing.yaml": {
            "rules": [{"name": "hear", "match": {"model": MODEL}, "route": {"backends": ["ears"], **route}}]
        },
        "tenants.yaml": {"tenants": [{"name": "acme", "keys": [hash_key(PEPPER, KEY)]}]},
    }
