"""A policy as its files say it, key by key, so that two can be compared in the user's own words and units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from gateway.policy.schema import Zone
from gateway.policy.sources import Sources

Parts = dict[str, dict[str, str]]
"""Name -> its keys, dotted, each with its value in words."""
_SECRET: Final = frozenset({"key", "keys"})
_DURATIONS: Final = frozenset({"max_wait", "dwell", "connect", "first_byte", "idle", "total"})
"""Keys that are durations: in seconds once they are read."""
_IDENTITY: Final = ("name", "backend")
"""What an object in a list is known by."""
NOTHING: Final = "none"


def rules(sources: Sources) -> Parts:
    """Each rule with the route that holds for it, whether it is written there, in `named` or in `defaults`."""
    made: Parts = {}
    for rule in sources.rules.sound.values():
        route = _plain(sources.route(rule))
        route.pop("use", None)
        made[rule.name] = dict(_flat({"match": _plain(rule.match)})) | dict(_flat(route))
    return made


def backends(sources: Sources) -> Parts:
    return {one.name: _keys(one, "upstreams") for one in sources.backends.sound.values()}


def upstreams(sources: Sources) -> Parts:
    return {one.name: _keys(one) for backend in sources.backends.sound.values() for one in backend.upstreams}


def models(sources: Sources) -> Parts:
    return {one.name: _keys(one) for one in sources.models.sound.values()}


def tenants(sources: Sources) -> Parts:
    return {one.name: _keys(one) for one in sources.tenants.sound.values()}


def zones(sources: Sources) -> Parts:
    return {name: dict(_flat(_plain(zone))) for name, zone in _zones(sources).items()}


def _zones(sources: Sources) -> Mapping[str, Zone]:
    return sources.zones or {}


def secrets(sources: Sources) -> dict[tuple[str, str, str], object]:
    """What may be compared and never shown: kind, name and key -> its value."""
    found: dict[tuple[str, str, str], object] = {
        ("upstream", one.name, "key"): one.key
        for backend in sources.backends.sound.values()
        for one in backend.upstreams
    }
    return found | {("tenant", one.name, "keys"): frozenset(one.keys) for one in sources.tenants.sound.values()}


def _plain(one: BaseModel) -> dict[str, Any]:
    return one.model_dump(mode="json", by_alias=True)


def _keys(one: BaseModel, *apart: str) -> dict[str, str]:
    hidden = {"name", *apart, *_SECRET}
    return dict(_flat({key: value for key, value in _plain(one).items() if key not in hidden}))


def _flat(given: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in given.items():
        path = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        elif isinstance(value, list) and value and all(_identity(item) for item in value):
            for item in value:
                known = _identity(item)
                rest = {name: inner for name, inner in item.items() if name != known}
                yield from _flat(rest, f"{path}.{item[known]}.")
        else:
            yield path, _words(key, value)


def _identity(item: Any) -> str | None:
    return next((name for name in _IDENTITY if name in item), None) if isinstance(item, Mapping) else None


def _words(key: str, value: Any) -> str:
    if value is None or value in ([], ""):
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and key in _DURATIONS:
        return f"{value:g}s" if value >= 1 or value == 0 else f"{value * 1_000:g}ms"
    if isinstance(value, list):
        return "[" + ", ".join(_words(key, inner) for inner in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_words(name, inner)}" for name, inner in value.items()) + "}"
    return f"{value:.10g}" if isinstance(value, float) else " ".join(str(value).split())
