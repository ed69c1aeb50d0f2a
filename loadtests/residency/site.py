"""The part over HTTP: a careless policy folder in two versions, as files and as the oracle's data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from gateway.money.keys import hash_key
from loadtests.residency.oracle import Ask, Backend, Rule, World
from loadtests.simfleet.config import DEFAULT_MANAGED_KEY, DEFAULT_MODEL

PEPPER = "pepper"
KEYS = {"open": "key-of-open", "eu-only": "key-of-eu-only"}
WITHIN = {"fra": ("de",), "de": ("eu",), "eu": (), "us": ()}
MODELS: Mapping[str, tuple[str, ...]] = {"chat": (), "chat-home": ("local",), "chat-de": ("de",)}
TENANTS: Mapping[str, tuple[str, ...]] = {"open": (), "eu-only": ("eu",)}
TEXTS = ((), (), ("local",), ("eu",), ("de, eu",), ("us",), ("DE", "local"), ("eu,us",), ("mars",))
ENDPOINT = "completions"
FIRST_LENGTH = 20
LOOPBACK = ("127.0.0.0/8",)
HEDGE = {"hedge": {"after": "20ms", "budget": 0.9}}
"""Soon enough to begin beside a worker that is only slow."""
_PRICE = {"input_per_1m": 0.25, "output_per_1m": 0.75}

GPU = Backend("gpu", True, "fra", (), LOOPBACK, ("gpu-1", "gpu-2"))
ABROAD = Backend("abroad", True, "us", (), LOOPBACK, ("abroad-1",))
CLOUD = Backend("cloud", False, "us", (), (), ("cloud",))
PRIVATE = Backend("private", False, "de", ("de",), LOOPBACK, ("private",))
OTHER = Backend("other", False, "us", ("us",), LOOPBACK, ("other",))
MOVED_PRIVATE = Backend("private", False, "us", ("us",), LOOPBACK, ("private",))
MOVED_OTHER = Backend("other", False, "fra", ("fra",), LOOPBACK, ("other",))
BOUGHT = ("cloud", "private", "other")
RULES = (
    Rule("batch", {"priority": "batch"}, ("abroad", "cloud"), ("private",), BOUGHT, ()),
    Rule("all", {}, ("gpu", "abroad"), BOUGHT, ("cloud", "other", "private", "gpu"), ()),
)
"""Both send anything anywhere, as far as they are concerned: nobody thought of residency. Only the permits hold."""
WORLDS = tuple(
    World(name, WITHIN, (GPU, ABROAD, CLOUD, *bought), MODELS, TENANTS, RULES)
    for name, bought in (("A", (PRIVATE, OTHER)), ("B", (MOVED_PRIVATE, MOVED_OTHER)))
)
"""A reload from one to the other swaps the zones of two of the bought APIs."""
ASKS = tuple(
    Ask(model, tenant, texts, priority, False, ENDPOINT)
    for model, tenant, texts, priority in product(MODELS, TENANTS, dict.fromkeys(TEXTS), ("standard", "batch"))
)
"""All callers that there are. Each has a length of prompt of its own, by which a journal knows it again."""


def prompt_of(index: int) -> list[int]:
    """As token ids, so that the simulated servers count exactly these."""
    return [7] * (FIRST_LENGTH + index)


def ask_of(prompt_tokens: int) -> Ask:
    return ASKS[prompt_tokens - FIRST_LENGTH]


class Words(NamedTuple):
    """How a kind of world says its parts in a policy folder."""

    backend: Callable[[Backend, Mapping[str, str]], dict[str, Any]]
    model: Callable[[str, tuple[str, ...], World], dict[str, Any]]
    rule: Callable[[Rule], dict[str, Any]]


def write(folder: Path, world: World, urls: Mapping[str, str], words: Words | None = None) -> None:
    """The folder of this world, whose servers are at `urls`; by the words for text unless others are given."""
    say = words or Words(_backend, _model, _rule)
    files = {
        "backends.yaml": {
            "zones": {zone: {"within": list(outer)} for zone, outer in world.within.items()},
            "backends": [say.backend(one, urls) for one in world.backends],
        },
        "models.yaml": {"models": [say.model(name, kept, world) for name, kept in world.models.items()]},
        "routing.yaml": {"rules": [say.rule(rule) for rule in world.rules]},
        "tenants.yaml": tenants_of(world),
    }
    put(folder, files)


def put(folder: Path, files: Mapping[str, Any]) -> None:
    """Each file is new as a whole, so that no gateway reads a half."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        draft = folder.with_name(f"{folder.name}.draft")
        draft.write_text(json.dumps(content))
        draft.replace(folder / name)


def tenants_of(world: World) -> dict[str, Any]:
    return {
        "tenants": [
            {"name": name, "keys": [hash_key(PEPPER, KEYS[name])], **residency_of(words)}
            for name, words in world.tenants.items()
        ]
    }


def _backend(one: Backend, urls: Mapping[str, str]) -> dict[str, Any]:
    usual = {"name": one.name, "zone": one.zone, **({"networks": list(one.networks)} if one.networks else {})}
    if one.local:
        workers = [{"name": host, "url": urls[host], "max_num_seqs": 4} for host in one.hosts]
        speed = {"step_ms": 2.0, "per_seq_ms": 0.05, "per_prompt_token_ms": 0.0005}
        return {**usual, "kind": "local", "speed": speed, "upstreams": workers}
    accounts = [{"name": host, "url": urls[host], "key": DEFAULT_MANAGED_KEY} for host in one.hosts]
    private = {"private_endpoint_in": list(one.private)} if one.private else {}
    return {**usual, **private, "kind": "managed", "simulated": True, "upstreams": accounts}


def _model(name: str, words: tuple[str, ...], world: World) -> dict[str, Any]:
    served = [
        {"backend": one.name, "as": DEFAULT_MODEL, **({} if one.local else {"price": _PRICE})} for one in world.backends
    ]
    return {"name": name, "modality": "text", "served_by": served, **residency_of(words)}


def _rule(rule: Rule) -> dict[str, Any]:
    route = {"backends": rule.home, "spill": {"backends": rule.spill}, "fallback": rule.fallback}
    return {
        "name": rule.name,
        "match": dict(rule.match),
        "route": {**route, "max_wait": "50ms", "attempts": 4, **HEDGE},
    }


def residency_of(words: tuple[str, ...]) -> dict[str, str]:
    return {"residency": ",".join(words)} if words else {}
