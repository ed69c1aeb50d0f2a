"""What residency promises, said once more. Imports nothing of the gateway: it judges it.

A *world* is one version of a policy as plain data, an *ask* what one caller sent. `forbidden` tells why a request must
not have reached an address, or None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network

ZONE_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
LONGEST, MOST_WORDS = 63, 16


@dataclass(frozen=True, slots=True)
class Backend:
    name: str
    local: bool
    zone: str
    private: tuple[str, ...]
    """Zones in which it is declared a private endpoint."""
    networks: tuple[str, ...]
    hosts: tuple[str, ...]
    dialect: str = "openai"
    """How it is spoken to. Says nothing of where data may go."""


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    match: Mapping[str, str]
    """Of `model` (a glob), `tenant`, `residency`, `priority`, `stream`, `endpoint`."""
    home: tuple[str, ...]
    spill: tuple[str, ...]
    fallback: tuple[str, ...]
    words: tuple[str, ...]
    hedged: bool = False
    """Two attempts may be under way at once."""
    sure: bool = True
    """False where its match also says something that may hold at one moment and not at the next: a condition, a time of
    the day, a number of tokens."""

    @property
    def named(self) -> frozenset[str]:
        return frozenset((*self.home, *self.spill, *self.fallback))


@dataclass(frozen=True, slots=True)
class World:
    """`within`: zone -> the zones that it lies in directly. `models` and `tenants`: name -> what they demand."""

    version: str
    within: Mapping[str, tuple[str, ...]]
    backends: tuple[Backend, ...]
    models: Mapping[str, tuple[str, ...]]
    tenants: Mapping[str, tuple[str, ...]]
    rules: tuple[Rule, ...]
    by_host: dict[str, Backend] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_host", {host: one for one in self.backends for host in one.hosts})


@dataclass(frozen=True, slots=True)
class Ask:
    """`texts`: the values of its headers and of its metadata, as they were sent."""

    model: str
    tenant: str
    texts: tuple[str, ...]
    priority: str
    stream: bool
    endpoint: str


@dataclass(frozen=True, slots=True)
class Audited:
    """A line of the audit: by which rule and under which demand what went to `host`."""

    rule: str
    demand: frozenset[str]
    host: str
    policy: str = ""
    """Version of the policy that decided it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where results of jobs are kept. `own`: on machines of ours."""

    own: bool
    zone: str | None


def _reached(world: World, host: str, peer: str) -> Backend | str:
    """Whose address this is, or why nothing may be sent to it."""
    backend = world.by_host.get(host)
    if backend is None:
        return "an address that this version of the policy does not have"
    if not _peer_is_its_own(backend, peer):
        return "a peer outside the networks of its backend"
    return backend


def forbidden(world: World, ask: Ask, host: str, peer: str) -> str | None:
    """Why this request must not have reached `host`, where a connection led to the address `peer`."""
    backend = _reached(world, host, peer)
    if isinstance(backend, str):
        return backend
    words = demanded(world, ask)
    if words is None:
        return "its demand is not understood"
    whys = [_kept_from(world, backend, rule, under) for rule, under in possible(world, ask, words)]
    return "no rule is about it" if not whys else None if None in whys else whys[0]


def unaudited(world: World, ask: Ask, host: str, lines: Sequence[Audited]) -> str | None:
    """Why what reached `host` just now is not what the lines of its request say, the newest last."""
    words = demanded(world, ask) or set()
    rules = possible(world, ask, words)
    if any(rule.hedged for rule, _ in rules):  # the newest line may be of the attempt beside this one
        last = max((at for at, line in enumerate(lines, 1) if line.host == host), default=0)
        lines = lines[:last]
    if not lines:
        free = any(not under for _, under in rules)
        return None if free else "it was under a demand, and no line says that it was sent"
    newest = lines[-1]
    if newest.host != host:
        return f"the newest line says that it was sent to {newest.host}"
    if any(not line.demand <= newest.demand for line in lines):
        return "the newest line demands less than one before it"
    told = [rule for rule, under in rules if (rule.name, under) == (newest.rule, newest.demand)]
    if not told:
        return f"no decision of rule {newest.rule} could demand {sorted(newest.demand)}"
    return _kept_from(world, world.by_host[host], told[0], newest.demand)


def of_job_forbidden(
    then: World, since: Sequence[World], ask: Ask, host: str, peer: str, lines: Sequence[Audited]
) -> str | None:
    """The same as `forbidden` and `unaudited` of a request that outlives its answer: it was taken in under `then`, and
    decided under one of the versions that were in force `since`, by all that both demand. Its newest line says under
    which; without a line nobody may have demanded anything."""
    words = demanded(then, ask)
    if words is None:
        return "its demand is not understood"
    taken = {under for _, under in possible(then, ask, words)}
    newest = lines[-1] if lines else Audited("", frozenset(), host)
    if newest.host != host:
        return f"the newest line says that it was sent to {newest.host}"
    worlds = [one for one in since if not lines or one.version == newest.policy]
    whys = [_job_under(one, ask, taken, host, peer, newest) for one in worlds]
    return "no policy of its time decided it" if not whys else None if None in whys else whys[0]


def _job_under(world: World, ask: Ask, taken: Set[frozenset[str]], host: str, peer: str, line: Audited) -> str | None:
    backend = _reached(world, host, peer)
    if isinstance(backend, str):
        return backend
    own = demanded(world, ask)
    if own is None:
        return "its demand is not understood any more"
    rules = [(rule, under) for before in taken for rule, under in possible(world, ask, before | own)]
    told = [(rule, under) for rule, under in rules if under == line.demand and line.rule in ("", rule.name)]
    if not told:
        return f"it was demanded more of than {sorted(line.demand)}"
    whys = [_kept_from(world, backend, rule, under) for rule, under in told]
    return None if None in whys else whys[0]


def misplaced(place: Place, world: World, words: Set[str]) -> str | None:
    """Why a result under this demand must not be kept there."""
    zone = place.zone
    inside_of = [word for word in words if word != "local" and zone is not None and inside(world, zone, word)]
    if "local" in words and not place.own:
        return "kept on machines that are not ours"
    outside = sorted(words - {"local", *inside_of})
    return f"kept outside {outside}" if outside else None


def _peer_is_its_own(backend: Backend, peer: str) -> bool:
    return not backend.networks or any(ip_address(peer) in ip_network(network) for network in backend.networks)


def _kept_from(world: World, backend: Backend, rule: Rule, words: frozenset[str]) -> str | None:
    if not words:
        return None
    if backend.name not in rule.named:
        return "a backend that its rule does not name"
    return next((f"its data must stay in `{word}`" for word in sorted(words) if not holds(world, backend, word)), None)


def possible(world: World, ask: Ask, words: Set[str]) -> list[tuple[Rule, frozenset[str]]]:
    """The rules that may decide it at some moment, each with all that is demanded then. What a rule demanded stays
    demanded when another one decides after it."""
    found: dict[tuple[str, frozenset[str]], Rule] = {}
    left, seen = [frozenset(words)], {frozenset(words)}
    while left:
        before = left.pop()
        for rule in world.rules:
            if meets(world, rule.match, ask, before):
                under = before | set(rule.words)
                found[rule.name, under] = rule
                if under not in seen:
                    seen.add(under)
                    left.append(under)
                if rule.sure:
                    break
    return [(rule, under) for (_, under), rule in found.items()]


def demanded(world: World, ask: Ask) -> set[str] | None:
    """All that anybody demands but the rule; None where a caller's text is not understood."""
    words = {*world.tenants[ask.tenant], *world.models[ask.model]}
    for text in ask.texts:
        for piece in text.split(","):
            word = piece.strip(" \t").lower()
            if not word or len(word) > LONGEST or not set(word) <= ZONE_LETTERS or word.startswith("-"):
                return None
            if word != "local" and word not in world.within:
                return None
            words.add(word)
        if text.count(",") >= MOST_WORDS:
            return None
    return words


def holds(world: World, backend: Backend, word: str) -> bool:
    """Whether data that must stay in `word` stays there at this backend."""
    if word == "local":
        return backend.local
    if backend.local:
        return inside(world, backend.zone, word)
    return any(inside(world, zone, word) for zone in backend.private)


def inside(world: World, zone: str, outer: str) -> bool:
    return zone == outer or any(inside(world, parent, outer) for parent in world.within.get(zone, ()))


def meets(world: World, match: Mapping[str, str], ask: Ask, words: Set[str]) -> bool:
    """Whether a rule's match is about it."""
    seen = {
        "tenant": ask.tenant,
        "priority": ask.priority,
        "stream": "yes" if ask.stream else "no",
        "endpoint": ask.endpoint,
    }
    if any(match[key] != value for key, value in seen.items() if key in match):
        return False
    if "model" in match and not fnmatchcase(ask.model, match["model"]):
        return False
    wanted = match.get("residency")
    if wanted is None:
        return True
    if wanted in ("any", "none"):
        return bool(words) is (wanted == "any")
    if wanted == "local":
        return "local" in words
    return any(inside(world, word, wanted) for word in words if word != "local")
