"""Where a request's data may go: parsed once, made stricter by everyone who has a say, loosened by nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gateway.errors import ResidencyUnknown
from gateway.model import Demand, Kind, Upstream

LOCAL = "local"
_TOKEN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62})", re.ASCII)
_MAX_TOKENS = 16


def parse_demand(text: str | None, zones: Iterable[str], *, param: str = "X-Data-Residency") -> Demand:
    """The demand in `text`: `local`, zone names, or several of them separated by commas; None is no demand.

    Raises ResidencyUnknown for an empty, malformed or unknown one: a demand that is not understood is refused,
    never ignored. `zones` are the names the policy folder knows.
    """
    if text is None:
        return Demand()
    known = frozenset(zones)
    tokens = [token.strip(" \t").lower() for token in text.split(",")]
    if len(tokens) > _MAX_TOKENS:
        raise ResidencyUnknown(f"{param}: more than {_MAX_TOKENS} values", param=param)
    for token in tokens:
        if not _TOKEN.fullmatch(token):
            raise ResidencyUnknown(f"{param}: malformed; give `local` or zone names separated by commas", param=param)
        if token != LOCAL and token not in known:
            choices = ", ".join(sorted(known | {LOCAL}))
            raise ResidencyUnknown(f"{param}: unknown zone `{token}`; known here: {choices}", param=param)
    return Demand(local=LOCAL in tokens, zones=frozenset(tokens) - {LOCAL})


def strictest(*demands: Demand) -> Demand:
    """All demands at once: local if any says so, and every zone that any names."""
    real = [demand for demand in demands if demand]
    if len(real) <= 1:
        return real[0] if real else Demand()
    return Demand(local=any(d.local for d in real), zones=frozenset().union(*(d.zones for d in real)))


def allows(demand: Demand, upstream: Upstream, zones: Mapping[str, frozenset[str]]) -> bool:
    """Whether data under `demand` may reach `upstream`. `zones` maps a zone to itself and all that contain it.

    A managed upstream is never our own machine, so `local` excludes it; under a zone demand it must be declared a
    private endpoint inside that zone (being hosted there is not enough).
    """
    return admits(demand, upstream.kind, upstream.zone, upstream.private_in, zones)


def admits(
    demand: Demand, kind: Kind, zone: str, private_in: frozenset[str], zones: Mapping[str, frozenset[str]]
) -> bool:
    """The same of a backend that is no upstream yet. `zone` matters where it is ours, `private_in` where it is not."""
    if not demand:
        return True
    if kind == "local":
        return demand.zones <= zones.get(zone, frozenset())
    if demand.local or not private_in:
        return False
    inside = frozenset().union(*(zones.get(one, frozenset()) for one in private_in))
    return demand.zones <= inside
