"""Rules that speak of backends to which residency lets nothing go. Yields faults, and warnings that stop nothing.

At run time no flagged request goes where it may not, whatever the rules say. What is refused here are rules whose
author must believe otherwise: a backend is named, and not one request that can meet the rule may be sent to it. A
request *can meet* a rule if some tenant, model and `X-Data-Residency` fit its match and no rule above surely takes it.
Demands only add up, so it is enough to try each tenant and model alone and with `local` or one zone.

A rule that unflagged requests meet too is sound: flagged ones are kept from its bought APIs. That they meet it at all
is worth a warning, because they then wait no longer than the others and are refused where those would spill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from gateway.errors import ResidencyUnknown
from gateway.model import Demand
from gateway.policy.backend_checks import within
from gateway.policy.match_schema import MatchIn
from gateway.policy.references import matching
from gateway.policy.route_schema import RouteIn
from gateway.policy.schema import LocalBackend, ManagedBackend, ModelIn, TenantIn
from gateway.policy.source import Fault, Path
from gateway.policy.sources import Sources
from gateway.routing.matching import under
from gateway.routing.residency import LOCAL, admits, parse_demand, strictest

Zones = Mapping[str, frozenset[str]]
MOST_TRIED = 300_000
"""Comparisons of a request with a rule, for the whole folder: half a second. A sound rule needs few of them."""
_JUDGED = ("model", "modality", "tenant", "tags", "residency")
"""Keys of a match that are judged request by request."""
_LISTED = ("endpoint", "priority")
"""Of the others those whose longer list is the wider one."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """A request that can meet a rule: the least that is demanded of it, the rule's own part included."""

    tenant: TenantIn | None
    model: ModelIn
    header: str | None
    demand: Demand

    def __str__(self) -> str:
        if self.header is not None:
            return f"a request with `X-Data-Residency: {self.header}`"
        if self.tenant is not None and self.tenant.residency is not None:
            return f"a request of tenant `{self.tenant.name}`"
        return f"a request for `{self.model.name}`"


class TooMany(Exception):
    """More requests than are worth trying: then nothing is said against the rule."""


def residency_faults(sources: Sources) -> Iterator[Fault]:
    """Nothing where the folder has faults that keep its rules from being judged."""
    yield from _contradictions(sources)
    callers = Callers.of(sources)
    if callers is None:
        return
    for index, rule in sources.rules.sound.items():
        route = sources.route(rule)
        own = callers.demand(route.residency)
        for at, name in _named(sources, index, route):
            backend = sources.backend(name)
            if isinstance(backend, LocalBackend) and not _allows(own, backend, callers.zones):
                said = f"`{name}` lies in `{backend.zone}`, and the rule's `residency` is `{route.residency}`"
                yield sources.rules.document.fault(at, f"{said}: nothing could go there; take it out")
            elif isinstance(backend, ManagedBackend) and (wrong := _never(callers, index, backend)):
                yield sources.rules.document.fault(at, wrong)


def residency_warnings(sources: Sources) -> Iterator[Fault]:
    """Of rules that flagged requests meet beside others: one for each, with a request that does."""
    callers = Callers.of(sources)
    for index, rule in sources.rules.sound.items() if callers is not None else ():
        named = [sources.backend(name) for _, name in _named(sources, index, sources.route(rule))]
        bought = [backend for backend in named if isinstance(backend, ManagedBackend)]
        if callers is not None and (said := _beside(callers, index, bought)):
            yield sources.rules.document.fault(("rules", index, "name"), said)


class Callers:
    """All that can be asked of a folder: its tenants, models, and what a header may say; `tried` bounds the effort."""

    def __init__(self, sources: Sources, zones: Zones) -> None:
        self._sources, self.zones, self._left = sources, zones, MOST_TRIED
        self._tenants: list[TenantIn | None] = list(sources.tenants.sound.values()) or [None]
        """Who may call; None is a loopback caller where there are no tenants."""
        self._headers = [(text, self.demand(text)) for text in (None, *sorted(zones), LOCAL)]

    @classmethod
    def of(cls, sources: Sources) -> Callers | None:
        """None where parts of the folder are unsound."""
        parts = (sources.backends, sources.models, sources.rules, sources.tenants)
        whole = all(part.names is not None and len(part.names) == len(part.sound) for part in parts)
        if not whole or sources.zones is None or sources.defaults is None or sources.named is None:
            return None
        declared = dict(sources.zones)
        made = cls(sources, {zone: within(zone, declared) for zone in sources.zone_names or ()})
        said = [one.residency for one in sources.models.sound.values()]
        said += [one.residency for one in sources.tenants.sound.values()]
        said += [sources.route(rule).residency for rule in sources.rules.sound.values()]
        try:
            for text in said:
                made.demand(text)
        except ResidencyUnknown:
            return None
        return made if all(one.zone in made.zones for one in sources.backends.sound.values()) else None

    def demand(self, text: str | None) -> Demand:
        return parse_demand(text, self.zones)

    def meeting(self, index: int) -> Iterator[Meeting]:
        """Requests that can meet rule `index`, the least demanding ones of each tenant, model and header.

        Raises TooMany.
        """
        rule = self._sources.rules.sound[index]
        own = self.demand(self._sources.route(rule).residency)
        before = (one.match for position, one in self._sources.rules.sound.items() if position < index)
        above = [match for match in before if _as_wide(match, rule.match)]
        for tenant, model in product(self._tenants, self._sources.models.sound.values()):
            if tenant is not None and tenant.models is not None and not matching(tenant.models, [model.name]):
                continue
            base = strictest(*[self.demand(one.residency) for one in (tenant, model) if one is not None])
            for header, said in self._headers:
                demand = strictest(base, said)
                asked = (tenant, model, demand)
                if self._fits(rule.match, *asked) and not any(self._fits(match, *asked) for match in above):
                    yield Meeting(tenant, model, header, strictest(demand, own))

    def _fits(self, match: MatchIn, tenant: TenantIn | None, model: ModelIn, demand: Demand) -> bool:
        """Whether what the match says of tenant, model and residency holds."""
        self._left -= 1
        if self._left < 0:
            raise TooMany
        if match.tenant is not None and (tenant is None or tenant.name not in match.tenant):
            return False
        if match.tags is not None and (tenant is None or not set(match.tags) <= set(tenant.tags)):
            return False
        if match.modality is not None and model.modality not in match.modality:
            return False
        if not matching(match.model, [model.name]):
            return False
        return match.residency is None or under(match.residency, demand, self.zones)


def _as_wide(wide: MatchIn, narrow: MatchIn) -> bool:
    """Whether all else that a match says surely holds where the narrow one does."""
    for key in MatchIn.model_fields:
        wanted, given = getattr(wide, key), getattr(narrow, key)
        if key in _JUDGED or wanted is None:
            continue
        if key == "when":
            return False  # of the fleet it reads the rule's own workers: the same text need not say the same
        if wanted == given:
            continue
        if key not in _LISTED or given is None or not set(given) <= set(wanted):
            return False
    return True


def _never(callers: Callers, index: int, backend: ManagedBackend) -> str | None:
    """What is wrong where somebody meets the rule and nobody who does may be sent there."""
    met = []
    try:
        for one in callers.meeting(index):
            if _serves(one.model, backend.name):
                if _allows(one.demand, backend, callers.zones):
                    return None
                met.append(one)
    except TooMany:
        return None
    if not met:
        return None
    name, example = backend.name, _example(met)
    why = (
        "is none of our own machines" if example.demand.local else _no_endpoint(backend, example.demand, callers.zones)
    )
    said = f"`{name}` could get flagged traffic, and nothing else: {example} meets this rule, and `{name}` {why}"
    return f"{said}; take it out, or give flagged requests a rule of their own above"


def _beside(callers: Callers, index: int, bought: list[ManagedBackend]) -> str | None:
    """What is worth saying where others meet the rule too: who is kept from the first such API."""
    try:
        met = list(callers.meeting(index)) if bought else []
    except TooMany:
        return None
    if all(one.demand for one in met):
        return None
    for backend in bought:
        kept = [
            one for one in met if _serves(one.model, backend.name) and not _allows(one.demand, backend, callers.zones)
        ]
        if kept:
            said = (
                f"{_example(kept)} meets this rule too, and never goes to `{backend.name}`: it is refused where others"
            )
            return f"{said} would; a rule above with `match: {{residency: any}}` can let it wait"
    return None


def _named(sources: Sources, index: int, route: RouteIn) -> Iterator[tuple[Path, str]]:
    """Every backend that the route names, with its place."""
    for key, names in (("backends", route.backends or ()), ("fallback", route.fallback)):
        for j, name in enumerate(names):
            yield (*sources.route_path(index, key), j), name
    for j, name in enumerate(route.spill.backends if route.spill is not None else ()):
        yield (*sources.route_path(index, "spill"), "backends", j), name


def _example(met: list[Meeting]) -> Meeting:
    """The easiest to picture: flagged by itself, else by a zone in the header, else by `local`."""
    flagged = [one for one in met if one.demand]
    return min(flagged, key=lambda one: (one.header is not None, one.demand.local, one.header or ""))


def _no_endpoint(backend: ManagedBackend, demand: Demand, zones: Zones) -> str:
    missing = next(
        zone for zone in sorted(demand.zones) if not _allows(Demand(zones=frozenset((zone,))), backend, zones)
    )
    return f"is no private endpoint in `{missing}`"


def _allows(demand: Demand, backend: LocalBackend | ManagedBackend, zones: Zones) -> bool:
    private = frozenset(backend.private_endpoint_in) if isinstance(backend, ManagedBackend) else frozenset[str]()
    return admits(demand, backend.kind, backend.zone, private, zones)


def _serves(model: ModelIn, backend: str) -> bool:
    return any(served.backend == backend for served in model.served_by)


def _contradictions(sources: Sources) -> Iterator[Fault]:
    """Private endpoints in a zone that has nothing to do with the one in which the API is said to lie."""
    declared = dict(sources.zones or {})
    known = sources.zone_names or frozenset()
    for index, backend in sources.backends.sound.items():
        for j, zone in enumerate(backend.private_endpoint_in if isinstance(backend, ManagedBackend) else ()):
            if not {zone, backend.zone} <= known:
                continue
            if zone not in within(backend.zone, declared) and backend.zone not in within(zone, declared):
                said = (
                    f"`{zone}` contradicts `zone: {backend.zone}`: neither lies in the other, so data sent there would"
                )
                at: Path = ("backends", index, "private_endpoint_in", j)
                yield sources.backends.document.fault(at, f"{said} leave `{zone}`; make them agree")
