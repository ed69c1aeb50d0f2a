"""A gateway in front of workers that hear, and a bought API beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.money.keys import hash_key
from loadtests.stack import Gateway, free_port, start_gateway
from loadtests.uploads.listener import Listener, Play, listeners

KEY, PEPPER = "key-of-the-uploads", "pepper-of-the-uploads"
SERVED = "openai/whisper-large-v3"
API = "cloud"
PER_HOUR = 0.36
PER_REQUEST = 0.01
"""USD for an hour of sound, and for each request."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A model with workers of its own, `NAME-1` and so on; `gone` of them, the first ones, do not listen. `route` is
    merged into its rule."""

    name: str
    workers: int = 1
    gone: int = 0
    route: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Site:
    """`play`: what goes wrong, and all that came. The last listener is the bought API."""

    gateway: Gateway
    play: Play
    api: int
    data: Path


@contextmanager
def serve(place: Path, lanes: Sequence[Lane], env: Mapping[str, str] | None = None) -> Iterator[Site]:
    """The gateway keeps folder and data in `place`."""
    with listeners(sum(lane.workers for lane in lanes) + 1) as (play, made):
        folder = place / "policies"
        folder.mkdir()
        for name, content in _folder(lanes, made).items():
            (folder / name).write_text(json.dumps(content, indent=1))
        values = {"GATEWAY_KEY_PEPPER": PEPPER, **(env or {})}
        with start_gateway(folder, place / "data", env=values, log=place / "gateway.log") as gateway:
            yield Site(gateway, play, len(made) - 1, place / "data")


def _folder(lanes: Sequence[Lane], made: list[Listener]) -> dict[str, Any]:
    listening, gpu = iter(made), {"kind": "H100", "usd_per_hour": 2.0}
    backends: list[dict[str, Any]] = []
    for lane in lanes:
        urls = [f"http://127.0.0.1:{free_port()}" for _ in range(lane.gone)]
        urls += [next(listening).url for _ in range(lane.workers)]
        workers = [
            {"name": f"{lane.name}-{number}", "url": url, "max_num_seqs": 8, "engine": "openai"}
            for number, url in enumerate(urls, 1)
        ]
        backends.append({"name": lane.name, "kind": "local", "zone": "onprem", "gpu": gpu, "upstreams": workers})
    account = {"name": "api", "url": f"{made[-1].url}/v1", "key": "api-key"}
    backends.append({"name": API, "kind": "managed", "zone": "us", "simulated": True, "upstreams": [account]})
    price = {"per_audio_hour": PER_HOUR, "per_request": PER_REQUEST}
    bought = {"backend": API, "as": "whisper-1", "price": price}
    models = [
        {"name": lane.name, "modality": "audio", "served_by": [{"backend": lane.name, "as": SERVED}, bought]}
        for lane in lanes
    ]
    rules = [
        {"name": lane.name, "match": {"model": lane.name}, "route": {"backends": [lane.name], **lane.route}}
        for lane in lanes
    ]
    zones = {"onprem": {"within": ["de"]}, "de": {"within": ["eu"]}, "us": {}}
    return {
        "backends.yaml": {"zones": zones, "backends": backends},
        "models.yaml": {"models": models},
        "routing.yaml": {"rules": rules},
        "tenants.yaml": {"tenants": [{"name": "acme", "keys": [hash_key(PEPPER, KEY)]}]},
    }
