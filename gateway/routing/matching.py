"""Which rule a request meets: what of a match depends on names and enumerations alone."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import Demand, Match
from gateway.routing.board import Asked
from gateway.routing.globs import fits


def matches(match: Match, asked: Asked, demand: Demand, zones: Mapping[str, frozenset[str]]) -> bool:
    return (
        fits(asked.model, match.model)
        and (not match.endpoint or asked.endpoint in match.endpoint)
        and (not match.tenant or asked.tenant.name in match.tenant)
        and match.tags <= asked.tenant.tags
        and (match.residency is None or under(match.residency, demand, zones))
        and (not match.priority or asked.priority in match.priority)
        and (match.stream is None or match.stream is asked.stream)
    )


def under(wanted: str, demand: Demand, zones: Mapping[str, frozenset[str]]) -> bool:
    """Whether `demand` is one of those that `match.residency` speaks of. What must stay in `de` must stay in `eu` too
    where `de` lies in it."""
    if wanted in ("any", "none"):
        return (wanted == "any") is bool(demand)
    if wanted == "local":
        return demand.local
    return any(wanted in zones.get(zone, ()) for zone in demand.zones)
