"""Random policies, sound, careless and hostile: as data for the oracle, and as the gateway's own objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from ipaddress import ip_network
from random import Random
from typing import Any

from gateway.model import (
    Demand,
    EndpointName,
    Hedge,
    Match,
    MediaRate,
    Modality,
    Model,
    Offer,
    Policy,
    Price,
    Rule,
    Served,
    Slo,
    Speed,
    Spill,
    Tenant,
    Timeouts,
    Upstream,
    Window,
    pico,
)
from gateway.money.keys import hash_key
from gateway.policy.backend_checks import within
from gateway.policy.schema import Zone
from gateway.routing.estimate import MANAGED_UNIT
from gateway.routing.residency import parse_demand
from loadtests.residency import oracle

ZONES = ("fra", "ber", "de", "fr", "eu", "us", "us-east")
TEXTS: tuple[str, ...] = ("llama-big", "llama-small", "qwen")
MAKES: Mapping[str, Modality] = {
    **dict.fromkeys(TEXTS, "text"),
    "painter": "image",
    "studio": "video",
    "voice": "audio",
}
MODELS, TENANTS = tuple(MAKES), ("acme", "globex", "initech")
PEPPER = "pepper"
KEYS = {name: f"key-of-{name}" for name in TENANTS}
HASHES = {hash_key(PEPPER, key): name for name, key in KEYS.items()}
ENDPOINTS: tuple[EndpointName, ...] = ("chat/completions", "completions", "messages", "embeddings")
MEDIA: tuple[EndpointName, ...] = (
    "images/generations",
    "images/edits",
    "audio/speech",
    "audio/transcriptions",
    "realtime",
)
OWN: Mapping[str, tuple[EndpointName, ...]] = {
    "vllm": (*ENDPOINTS, *MEDIA),
    "vllm-omni": (*ENDPOINTS, *MEDIA, "videos"),
}
"""Engines of our own workers, and what these worlds let them speak; films alone are ordered there."""
DIALECTS: Mapping[str, int] = {"openai": 5, "anthropic": 2, "fal": 2, "gmi": 1, "dashscope": 1}
"""Of bought APIs: who speaks as our callers do, who is translated for, who takes orders; and how many there are."""
NAMES: Mapping[tuple[str, str], str] = {
    ("fal", "painter"): "fal-ai/flux/dev",
    ("fal", "studio"): "fal-ai/kling-video/v2.1/text-to-video",
    ("fal", "voice"): "fal-ai/tts/plain",
    ("gmi", "painter"): "seedream-5.0-lite",
    ("gmi", "studio"): "wan2.6-t2v",
    ("gmi", "voice"): "minimax-tts-speech-2.6-turbo",
    ("dashscope", "painter"): "wan2.5-t2i-preview",
    ("dashscope", "studio"): "wan2.6-t2v",
}
"""What our models are called there: by its name a dialect knows what one can do."""
HOSTS = 12
NETWORK = "10.0.0.0/8"
OUTSIDE = "192.0.2.7"
"""A peer in no network of ours (RFC 5737)."""
TIMEOUTS = Timeouts(connect=0.5, first_byte=0.1, idle=0.1, total=0.5, order=1.0, queued=0.5)
ALL_SAID = ("connect", "first_byte", "idle", "total", "order", "queued")
HEDGE, HEDGED_SHARE = Hedge(after=0.005, budget=1.0), 0.3
"""Soon enough to begin before one that is only late has answered."""
FLIPS = 0.1
"""How often a condition changes, of the times that it is asked."""
SCORERS = ((("load", 1.0),), (("prefix", 1.0), ("session", 0.5)), (("price", 1.0), ("zone", 0.3)), (("ttft", 1.0),))
_PRICE = Price.of(0.25, 0.75)
_MEDIA_PRICE = Price(
    media=tuple(MediaRate(unit, pico(0.001)) for unit in ("image", "second", "character", "audio_second"))
)
_QUICK = Offer(steps=1, default_fps=1.0)
"""So that a worker has room for more than one film."""


def host_name(number: int) -> str:
    return f"10.0.0.{number + 1}"


def make_world(rng: Random, version: str) -> oracle.World:
    """All versions of one world share hosts and names; everything else may change from one to the next."""
    backends = _backends(rng)
    names, count = [one.name for one in backends], rng.randint(1, 5)
    return oracle.World(
        version,
        _zones(rng),
        tuple(backends),
        {name: _words(rng, 0.1) for name in MODELS},
        {name: _words(rng, 0.15) for name in TENANTS},
        tuple(_rule(rng, f"rule-{number}", names, backends, last=number == count - 1) for number in range(count)),
    )


def _zones(rng: Random) -> dict[str, tuple[str, ...]]:
    """Each zone lies in some of those after it: no circles."""
    return {
        zone: tuple(outer for outer in ZONES[index + 1 :] if rng.random() < 0.5) for index, zone in enumerate(ZONES)
    }


def _words(rng: Random, share: float) -> tuple[str, ...]:
    if rng.random() >= share:
        return ()
    return some_words(rng, rng.choice((1, 1, 2)))


def some_words(rng: Random, count: int) -> tuple[str, ...]:
    """Different ones; those that many of our own workers keep come most."""
    return tuple(dict.fromkeys(rng.choices(("local", *ZONES), (6, 1, 1, 3, 1, 5, 1, 1), k=count)))


def _backends(rng: Random) -> list[oracle.Backend]:
    numbers = list(range(HOSTS))
    rng.shuffle(numbers)
    made = []
    for index in range(rng.randint(2, 6)):
        hosts = tuple(host_name(numbers.pop()) for _ in range(rng.choice((1, 2, 2))))
        local = rng.random() < 0.55
        private = () if local or rng.random() < 0.5 else tuple(rng.sample(ZONES, rng.choice((1, 1, 2))))
        networks = (NETWORK,) if local or private or rng.random() < 0.5 else ()
        zone = rng.choices(ZONES, (6, 3, 1, 1, 1, 1, 1))[0]
        dialect = rng.choices(*zip(*DIALECTS.items(), strict=True))[0] if not local else rng.choice(tuple(OWN))
        made.append(oracle.Backend(f"b{index}", local, zone, private, networks, hosts, dialect))
    return made


def _rule(rng: Random, name: str, names: list[str], backends: Sequence[oracle.Backend], *, last: bool) -> oracle.Rule:
    match: dict[str, str] = {}
    choices = {
        "model": ("llama-*", "qwen", "*", "studio", "painter"),
        "tenant": TENANTS,
        "residency": ("any", "none", "local", *ZONES),
        "priority": ("batch", "standard"),
        "stream": ("yes", "no"),
        "endpoint": (*ENDPOINTS, *MEDIA, "videos"),
    }
    for key, values in choices.items() if not last or rng.random() < 0.2 else ():
        if rng.random() < (0.4 if key == "residency" else 0.15):
            match[key] = rng.choice(values)
    bought = [one.name for one in backends if not one.local]
    spill = tuple(rng.sample(bought, rng.randint(0, len(bought))))
    fallback = tuple(rng.sample(names, rng.randint(0, 2)))
    home = tuple(rng.sample(names, rng.randint(1, min(3, len(names)))))
    sure = last or rng.random() < 0.6
    words, hedged = _words(rng, 0.1 if sure else 0.4), rng.random() < HEDGED_SHARE
    return oracle.Rule(name, match, home, spill, fallback, words, hedged, sure)


class Flips:
    """A condition on the fleet, as a request sees it whose readings change: every now and then it holds no more, or
    again."""

    source, reads, headers = "flips", frozenset[str](), frozenset[str]()

    def __init__(self, rng: Random) -> None:
        self._rng, self._holds = rng, rng.random() < 0.5

    def __call__(self, facts: Mapping[str, Mapping[str, object]]) -> bool:
        if self._rng.random() < FLIPS:
            self._holds = not self._holds
        return self._holds


def _at_times(rng: Random) -> dict[str, Any]:
    """Something in a match that may hold or not; a condition most of all, because that changes under a request."""
    begin = rng.randrange(24 * 60)
    window = Window(frozenset(rng.sample(range(7), 4)), begin, (begin + 12 * 60) % (24 * 60), UTC)
    others: list[dict[str, Any]] = [{"time": (window,)}, {"prompt_tokens": (2, 8)}, {"output_tokens": (40, None)}]
    return {"when": Flips(rng)} if rng.random() < 0.7 else rng.choice(others)


def as_policy(world: oracle.World, rng: Random, prefix: str, *, crowded: bool = False) -> Policy:
    """The same as the gateway has it. It never went through `gateway check`, which would refuse many of them.

    Crowded: each worker takes one request at a time, and the others wait for it.
    """
    declared = {name: Zone(within=outer) for name, outer in world.within.items()}
    zones = {name: within(name, declared) for name in declared}
    upstreams = {
        one.name: tuple(_upstream(one, host, prefix, rng, crowded) for host in one.hosts) for one in world.backends
    }

    def demand(words: tuple[str, ...]) -> Demand:
        return parse_demand(",".join(words), zones) if words else Demand()

    tenants = {name: Tenant(name, residency=demand(words)) for name, words in world.tenants.items()}
    return Policy(
        version=world.version,
        zones=zones,
        backends=upstreams,
        upstreams={one.name: one for group in upstreams.values() for one in group},
        models={
            name: Model(name, MAKES[name], tuple(_served(name, one) for one in world.backends), demand(words))
            for name, words in world.models.items()
        },
        rules=tuple(_as_rule(rule, demand(rule.words), rng, crowded) for rule in world.rules),
        tenants=tenants,
        keys={key: tenants[name] for key, name in HASHES.items()},
        simulated=False,
        affine=True,
    )


def _served(model: str, backend: oracle.Backend) -> Served:
    name, text = NAMES.get((backend.dialect, model), "m"), MAKES[model] == "text"
    if backend.local:
        return Served(backend.name, name, offer=None if text else _QUICK)
    return Served(backend.name, name, _PRICE if text else _MEDIA_PRICE)


def _engine(backend: oracle.Backend) -> str:
    return backend.dialect if backend.dialect in OWN else "vllm"


def _speaks(backend: oracle.Backend, rng: Random) -> frozenset[EndpointName] | None:
    """None: what its engine or dialect is known for."""
    if backend.local:
        return frozenset(OWN[_engine(backend)])
    return None if backend.dialect != "openai" or rng.random() < 0.5 else frozenset(OWN["vllm"])


def _upstream(backend: oracle.Backend, host: str, prefix: str, rng: Random, crowded: bool) -> Upstream:
    seats = 1 if crowded and backend.local else rng.choice((4, 16, 64))
    return Upstream(
        name=f"{prefix}-{host}",
        backend=backend.name,
        kind="local" if backend.local else "managed",
        url=f"http://{host}:80",
        dialect="openai" if backend.local else backend.dialect,
        zone=backend.zone,
        networks=tuple(ip_network(network) for network in backend.networks),
        speed=Speed(8.0, 0.06, 0.04) if backend.local else Speed(0.0, 0.0, 0.0),
        limit=seats * 3_000_000 if backend.local else seats * MANAGED_UNIT,
        seats=seats,
        key=None if backend.local else "key-of-the-api",
        engine=_engine(backend) if backend.local else None,
        private_in=frozenset(backend.private),
        endpoints=_speaks(backend, rng),
        simulated=True,
        artefact_hosts=("10.*",),
    )


def _as_rule(rule: oracle.Rule, demand: Demand, rng: Random, crowded: bool) -> Rule:
    match: dict[str, Any] = {key: (value,) for key, value in rule.match.items() if key not in ("residency", "stream")}
    if "stream" in rule.match:
        match["stream"] = rule.match["stream"] == "yes"
    if not rule.sure:
        match |= _at_times(rng)
    budget = rng.choice((None, None, 0.0001, 1000.0))
    return Rule(
        name=rule.name,
        match=Match(residency=rule.match.get("residency"), **match),
        backends=rule.home,
        slo=rng.choice((Slo(), Slo(ttft=0.05))),
        max_wait=0.3 if crowded else rng.choice((0.0, 0.0, 0.01, 0.05)),
        spill=Spill(rule.spill, budget) if rule.spill else None,
        fallback=rule.fallback,
        attempts=rng.randint(1, 4),
        timeouts=TIMEOUTS,
        timeouts_said=ALL_SAID,
        residency=demand,
        on_fields={},
        ranked=rng.random() < 0.3,
        hedge=HEDGE if rule.hedged else None,
        rescue=rng.random() < 0.7,
        scorers=rng.choice(SCORERS),
        picker=rng.choice(("best", "weighted_random", "power_of_two")),
    )
