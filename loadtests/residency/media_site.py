"""Media over HTTP: the careless folder of `site.py` once more, with workers and APIs that make pictures, speech and
films, and the callers that there are of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Literal

from loadtests.residency import site
from loadtests.residency.oracle import Ask, Backend, Place, Rule, World
from loadtests.residency.traffic import Sent, body_of, upload_of, whole_of
from loadtests.residency.wires import mark

Medium = Literal["pictures", "speech", "sound", "films"]
ENDPOINTS: Mapping[Medium, tuple[str, ...]] = {
    "pictures": ("images/generations", "images/edits"),
    "speech": ("audio/speech",),
    "sound": ("audio/transcriptions",),
    "films": ("videos",),
}
"""A picture may be a job as well, of which nobody waits for the answer."""
SHARES: Mapping[Medium, float] = {"pictures": 0.4, "speech": 0.22, "sound": 0.22, "films": 0.16}
"""Of the requests; a film takes as long as fifty pictures."""
OF_MEDIUM = {"pictures": "painter", "speech": "voice", "sound": "voice", "films": "studio"}
MAKES = {"painter": "image", "voice": "audio", "studio": "video"}
MODELS: Mapping[str, tuple[str, ...]] = {
    name + ending: words for name in MAKES for ending, words in (("", ()), ("-home", ("local",)), ("-de", ("de",)))
}
PRICES = {
    "painter": {"per_image": 0.04},
    "voice": {"per_1k_chars": 0.015, "per_audio_hour": 0.36},
    "studio": {"per_second": 0.1},
}
BOUGHT_NAMES = {"painter": "fal-ai/flux/dev", "studio": "fal-ai/kling-video/v2.1/text-to-video"}
"""At fal, whose dialect knows by its name what a model can do."""
GPU = replace(site.GPU, hosts=("omni-1", "omni-2", "plain-1"))
ABROAD = replace(site.ABROAD, hosts=("omni-3", "plain-2"))
FILMS = Backend("films", False, "us", (), (), ("films",), "fal")
FILMS_DE = Backend("films-de", False, "de", ("de",), site.LOOPBACK, ("films-de",), "fal")
MOVED_FILMS = replace(FILMS_DE, zone="us", private=("us",))
BOUGHT = (*site.BOUGHT, "films", "films-de")
RULES = (
    Rule("batch", {"priority": "batch"}, ("abroad", "cloud", "films"), ("private", "films-de"), BOUGHT, ()),
    Rule("all", {}, ("gpu", "abroad"), BOUGHT, ("films", "cloud", "other", "films-de", "private", "gpu"), ()),
)
WORLDS = tuple(
    World(name, site.WITHIN, (GPU, ABROAD, site.CLOUD, FILMS, *bought), MODELS, site.TENANTS, RULES)
    for name, bought in (
        ("A", (site.PRIVATE, site.OTHER, FILMS_DE)),
        ("B", (site.MOVED_PRIVATE, site.MOVED_OTHER, MOVED_FILMS)),
    )
)
HOSTS = tuple(host for one in WORLDS[0].backends for host in one.hosts)
LIES = Place(True, "fra")
"""Where results of jobs are kept."""
WAIT_SECONDS, DEADLINES = 5, (2_000, 4_000, 8_000)
ROOM = 500.0
"""GPU-seconds that a worker may hold, by the guess at what pictures and films take: more would be refused here, where
each is answered at once."""
CALM = {"breaker": {"consecutive": 1000, "least": 1000}}
"""What is proved is not whom a gateway avoids."""
TIMEOUTS = {"first_byte": "700ms", "idle": "700ms", "total": "4s", "order": "10s", "queued": "5s"}


def write(folder: Path, world: World, urls: Mapping[str, str]) -> None:
    """The folder of this world, whose servers are at `urls`."""
    site.write(folder, world, urls, site.Words(_backend, _model, _rule))


def _backend(one: Backend, urls: Mapping[str, str]) -> dict[str, Any]:
    usual: dict[str, Any] = {"name": one.name, "zone": one.zone, **CALM}
    usual |= {"networks": list(one.networks)} if one.networks else {}
    if one.local:
        engines = {host: "vllm-omni" if host.startswith("omni") else "openai" for host in one.hosts}
        workers = [
            {"name": host, "url": urls[host], "engine": engines[host], "limit_work_s": ROOM} for host in one.hosts
        ]
        return {**usual, "kind": "local", "upstreams": workers}
    root = "" if one.dialect == "fal" else "/v1"
    accounts = [{"name": host, "url": urls[host] + root, "key": "key-of-the-api"} for host in one.hosts]
    private = {"private_endpoint_in": list(one.private)} if one.private else {}
    kind = {"kind": "managed", "dialect": one.dialect, "simulated": True, "artefact_hosts": ["127.0.0.1"]}
    return {**usual, **private, **kind, "upstreams": accounts}


def _model(name: str, words: tuple[str, ...], world: World) -> dict[str, Any]:
    kind = name.partition("-")[0]
    served = [
        {"backend": one.name, "as": "m"}
        if one.local
        else {"backend": one.name, "as": BOUGHT_NAMES[kind] if one.dialect == "fal" else "m", "price": PRICES[kind]}
        for one in world.backends
        if _makes(one, kind)
    ]
    return {"name": name, "modality": MAKES[kind], "served_by": served, **site.residency_of(words)}


def _makes(one: Backend, kind: str) -> bool:
    """OpenAI's API makes no films, and fal's none of these voices."""
    return one.local or (kind != "studio" if one.dialect == "openai" else kind != "voice")


def _rule(rule: Rule) -> dict[str, Any]:
    route: dict[str, Any] = {"backends": rule.home, "spill": {"backends": rule.spill}, "fallback": rule.fallback}
    route |= {"max_wait": "2s", "attempts": 4, "timeouts": TIMEOUTS}
    return {"name": rule.name, "match": dict(rule.match), "route": route}


ASKS: Mapping[Medium, tuple[Ask, ...]] = {
    medium: tuple(
        Ask(model, tenant, texts, priority, False, endpoint)
        for endpoint, model, tenant, texts, priority in product(
            endpoints,
            [name for name in MODELS if name.startswith(OF_MEDIUM[medium])],
            site.TENANTS,
            (*site.TEXTS, ("local",), ("eu",)),
            ("standard", "batch"),
        )
    )
    for medium, endpoints in ENDPOINTS.items()
}


def make(rng: Random, medium: Medium, nonce: str) -> Sent:
    """One request, whose demands stand in its headers, and in its metadata at times."""
    ask = rng.choice(ASKS[medium])
    texts, metadata = list(ask.texts), {}
    if texts and rng.random() < 0.4:
        metadata = {"data_residency": texts.pop()}
    headers = [(b"authorization", b"Bearer " + site.KEYS[ask.tenant].encode())]
    headers += [(b"x-gateway-priority", ask.priority.encode())]
    headers += [(b"x-data-residency", text.encode()) for text in texts]
    stream = medium != "films" and rng.random() < 0.3
    asked = replace(ask, stream=stream)
    if medium == "sound":
        return upload_of(rng, asked, headers, mark(nonce), metadata)
    body = body_of(rng, asked, mark(nonce), stream) | ({"metadata": metadata} if metadata else {})
    made = whole_of(rng, asked, headers, body)
    if not made.job:
        return made
    kept = [header for header in made.headers if header[0] != b"x-gateway-deadline-ms"]
    return made._replace(headers=[*kept, (b"x-gateway-deadline-ms", b"%d" % rng.choice(DEADLINES))], query="")
