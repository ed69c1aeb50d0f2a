"""A zone that comes to be by a slip: `within` makes every name that it holds a zone. Yields warnings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches

from gateway.policy.route_schema import RouteIn
from gateway.policy.schema import ManagedBackend
from gateway.policy.source import Fault
from gateway.policy.sources import Sources


def zone_warnings(sources: Sources) -> Iterator[Fault]:
    """Zones that one `within` names and nothing else, and that look like one of the others."""
    zones = sources.zones or {}
    counted = Counter(_mentions(sources))
    for name, zone in zones.items():
        for index, parent in enumerate(zone.within):
            if counted[parent] == 1 and (near := _alike(parent, counted.keys() - {parent})):
                said = f"zone `{parent}` stands nowhere else; did you mean `{near}`?"
                yield sources.backends.document.fault(("zones", name, "within", index), said)


def _mentions(sources: Sources) -> Iterator[str]:
    """Every zone as often as it is declared, lies around another, or is spoken of."""
    for name, zone in (sources.zones or {}).items():
        yield from (name, *zone.within)
    for backend in sources.backends.sound.values():
        yield backend.zone
        if isinstance(backend, ManagedBackend):
            yield from backend.private_endpoint_in
    routes: list[RouteIn | None] = [rule.route for rule in sources.rules.sound.values()]
    routes += [sources.defaults, *(sources.named or {}).values()]
    demands = [route.residency for route in routes if route is not None]
    demands += [rule.match.residency for rule in sources.rules.sound.values()]
    demands += [model.residency for model in sources.models.sound.values()]
    for tenant in sources.tenants.sound.values():
        demands += [tenant.residency, *(key.residency for key in tenant.keys)]
    for demand in demands:
        yield from (part.strip() for part in (demand or "").split(",") if part.strip())


def _alike(zone: str, others: set[str]) -> str | None:
    """The likely spelling: the same letters in another order, or nearly the same; another number is another zone."""
    likely = sorted(others, key=lambda other: sorted(other) != sorted(zone))
    close = get_close_matches(zone, likely)
    near = [other for other in likely if sorted(other) == sorted(zone) or other in close]
    return next((other for other in near if _letters(other) != _letters(zone)), None)


def _letters(zone: str) -> str:
    return re.sub(r"[^a-z]", "", zone)
