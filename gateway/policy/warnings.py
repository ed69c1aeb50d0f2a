"""What compiles and is still not what somebody meant: keys without effect, names that nobody uses.

`gateway check` prints these; they keep no policy from taking effect. Each function yields faults of one kind.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from datetime import UTC, date, datetime

from gateway.policy.address_warnings import address_warnings
from gateway.policy.attempt_warnings import idle_attempts
from gateway.policy.budget_checks import budget_warnings
from gateway.policy.card_checks import card_warnings
from gateway.policy.cel_slips import never_equal
from gateway.policy.cel_text import tokens
from gateway.policy.duration_warnings import duration_warnings
from gateway.policy.folder import read_folder
from gateway.policy.model_checks import placement_warnings
from gateway.policy.price_checks import price_warnings
from gateway.policy.pricing import Pricing
from gateway.policy.references import matching
from gateway.policy.residency_checks import residency_warnings
from gateway.policy.route_schema import RouteIn
from gateway.policy.schema import ManagedBackend
from gateway.policy.source import Fault, Path, in_order
from gateway.policy.sources import Sources, read_sources
from gateway.policy.zone_warnings import zone_warnings


def folder_warnings(folder: pathlib.Path, today: date | None = None) -> list[Fault]:
    """Of a folder that compiles. Prices are as old as on `today`, by default this day (UTC)."""
    sources, _ = read_sources(read_folder(folder))
    pricing = Pricing(sources, today or datetime.now(UTC).date())
    found = [
        *_unused_routes(sources),
        *_unused_names(sources),
        *_unmatched_models(sources),
        *residency_warnings(sources),
        *address_warnings(sources),
        *zone_warnings(sources),
        *duration_warnings(sources),
        *placement_warnings(sources),
        *budget_warnings(sources),
        *price_warnings(sources, pricing),
        *card_warnings(sources, pricing),
    ]
    for index, rule in sources.rules.sound.items():
        if rule.match.when is not None:
            found += _condition_warnings(sources, ("rules", index, "match", "when"), rule.match.when)
        found += _route_warnings(sources, index, sources.route(rule))
    return in_order(found)


def _condition_warnings(sources: Sources, path: Path, condition: str) -> Iterator[Fault]:
    names = sources.backends.names or frozenset(), sources.models.names or frozenset()
    for offset, said in never_equal(tokens(condition), *names):
        yield sources.rules.document.fault_within(path, condition, offset, said)


def _unused_routes(sources: Sources) -> Iterator[Fault]:
    routes = [rule.route for rule in sources.rules.sound.values()]
    used = {path for route in routes for path, _ in sources.lineage(route)}
    for name in sources.named or {}:
        if ("named", name) not in used:
            yield sources.rules.document.fault(("named", name), "no rule uses it", key=True)


def _unused_names(sources: Sources) -> Iterator[Fault]:
    """Backends that serve nothing or get nothing, and tags that no rule looks at."""
    serving = {served.backend for model in sources.models.sound.values() for served in model.served_by}
    routes = [sources.route(rule) for rule in sources.rules.sound.values()]
    named = {name for route in routes for name in _backends(route)}
    for index, backend in sources.backends.sound.items():
        path: Path = ("backends", index, "name")
        if backend.name not in serving:
            yield sources.backends.document.fault(path, "no model is served by it; see `served_by` in models.yaml")
        elif backend.name not in named:
            yield sources.backends.document.fault(path, "no rule sends anything to it")
    wanted = {tag for rule in sources.rules.sound.values() for tag in rule.match.tags or ()}
    conditions = any(rule.match.when is not None for rule in sources.rules.sound.values())
    for index, tenant in sources.tenants.sound.items():
        for j, tag in enumerate(tenant.tags):
            if tag not in wanted and not conditions:
                yield sources.tenants.document.fault(("tenants", index, "tags", j), f"no rule looks at `{tag}`")


def _unmatched_models(sources: Sources) -> Iterator[Fault]:
    rules = sources.rules.sound.values()
    for index, model in sources.models.sound.items():
        if not any(matching(rule.match.model, (model.name,)) for rule in rules):
            said = "no rule matches it: every request for it is refused with 404"
            yield sources.models.document.fault(("models", index, "name"), said)


def _route_warnings(sources: Sources, index: int, route: RouteIn) -> Iterator[Fault]:
    """Keys of one rule's effective route that change nothing; told where they are written."""
    for key, without in _idle(sources, route):
        path = sources.route_path(index, str(key[0]))
        yield sources.rules.document.fault((*path, *key[1:]), f"has no effect {without}", key=True)


def _idle(sources: Sources, route: RouteIn) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Key below the route, and why it has no effect."""
    written, spill = route.model_fields_set, route.spill
    leaves = spill is not None or bool(route.fallback)
    if "damp" in written and (spill is None or spill.when is None):
        yield ("damp",), "without `spill.when`: thresholds are all that it damps"
    if route.on_stale == "spill" and spill is None:
        yield ("on_stale",), "without `spill`"
    if route.max_cost_usd is not None and not any(_bought(sources, name) for name in _backends(route)):
        yield ("max_cost_usd",), "where no backend is a bought API"
    if spill is not None and "order" in spill.model_fields_set and len(spill.backends) == 1:
        yield ("spill", "order"), "with one backend"
    if spill is not None and 0 in (spill.budget_usd_per_hour, spill.max_share):
        yield ("spill",), "with a budget or a share of 0: nothing may leave; remove it"
    for priority, given in route.classes.items():
        if given.spill is not None and not leaves:
            yield ("classes", priority, "spill"), "without `spill` and `fallback`: nothing leaves anyway"
    yield from idle_attempts(sources, route)
    for j, name in enumerate(route.fallback):
        if name in (route.backends or ()):
            yield ("fallback", j), f"for `{name}`, which `backends` has already"


def _backends(route: RouteIn) -> tuple[str, ...]:
    return (*(route.backends or ()), *(route.spill.backends if route.spill is not None else ()), *route.fallback)


def _bought(sources: Sources, name: str) -> bool:
    return isinstance(sources.backend(name), ManagedBackend)
