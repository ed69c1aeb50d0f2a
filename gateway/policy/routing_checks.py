"""Checks of models.yaml, routing.yaml and tenants.yaml beyond their shape. Each yields faults, none raises."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.policy.cel import compile_condition
from gateway.policy.cel_text import CelFault
from gateway.policy.match_schema import MatchIn
from gateway.policy.references import demand_faults, matching, repeated, unknown
from gateway.policy.route_schema import RouteIn
from gateway.policy.schema import ManagedBackend
from gateway.policy.source import Fault, Path, dotted
from gateway.policy.sources import Sources


def model_faults(sources: Sources) -> Iterator[Fault]:
    document = sources.models.document
    yield from repeated(document, [(("models", i, "name"), m.name) for i, m in sources.models.sound.items()])
    for index, model in sources.models.sound.items():
        path: Path = ("models", index)
        yield from demand_faults(document, (*path, "residency"), model.residency, sources.zone_names)
        yield from repeated(
            document, [((*path, "served_by", j, "backend"), served.backend) for j, served in enumerate(model.served_by)]
        )
        for j, served in enumerate(model.served_by):
            at: Path = (*path, "served_by", j)
            yield from unknown(document, (*at, "backend"), "backend", served.backend, sources.backends.names)
            backend = sources.backend(served.backend)
            versions = served.versions or ()
            yield from repeated(document, [((*at, "versions", k, "name"), one.name) for k, one in enumerate(versions)])
            if isinstance(backend, ManagedBackend) and model.custom:
                said = f"`{served.backend}` is a bought API, and a `custom` model exists on our own machines only"
                yield document.fault((*at, "backend"), said)
            elif backend is not None and backend.kind == "local" and served.price is not None:
                said = f"has no effect: `{served.backend}` is local and priced by `gpu.usd_per_hour`; remove it"
                yield document.fault((*at, "price"), said, key=True)


def rule_faults(sources: Sources) -> Iterator[Fault]:
    document = sources.rules.document
    yield from repeated(document, [(("rules", i, "name"), r.name) for i, r in sources.rules.sound.items()])
    yield from _unreachable(sources)
    yield from _use_faults(sources)
    for index, rule in sources.rules.sound.items():
        yield from _match_faults(sources, index, rule.match)
        yield from _route_faults(sources, index)
    for index, match, route in sources.unsound_rules():
        yield from _match_faults(sources, index, match)
        for key, names in (("backends", route.backends), ("fallback", route.fallback)):
            for j, name in enumerate(names or ()):
                at = ("rules", index, "route", key, j)
                yield from unknown(document, at, "backend", name, sources.backends.names)


def _match_faults(sources: Sources, index: int, match: MatchIn) -> Iterator[Fault]:
    """Names in a match that the folder does not have, and a `when` that is no condition."""
    document, path = sources.rules.document, ("rules", index, "match")
    for j, tenant in enumerate(match.tenant or ()):
        yield from unknown(document, (*path, "tenant", j), "tenant", tenant, sources.tenants.names)
    for j, tag in enumerate(match.tags or ()):
        yield from unknown(document, (*path, "tags", j), "tag", tag, sources.tags)
    models = sources.models.names
    for j, glob in enumerate(match.model or ()):
        if models is not None and not matching((glob,), models):
            yield from unknown(document, (*path, "model", j), "model", glob, models)
    if match.residency is not None and sources.zone_names is not None:
        known = sources.zone_names | {"any", "none", "local"}
        yield from unknown(document, (*path, "residency"), "zone", match.residency, known)
    if match.when is not None and sources.backends.names is not None:
        try:
            compile_condition(match.when, sources.backends.names)
        except CelFault as fault:
            yield document.fault_within((*path, "when"), match.when, fault.offset, fault.message)


def _use_faults(sources: Sources) -> Iterator[Fault]:
    """Routes that are used and not there, and circles of routes that use each other."""
    document, named = sources.rules.document, sources.named
    if named is None:
        return
    known = frozenset(named)
    users: list[tuple[Path, RouteIn]] = [(("named", name), route) for name, route in named.items()]
    users += [(("rules", index, "route"), rule.route) for index, rule in sources.rules.sound.items()]
    for path, route in users:
        if route.use is not None:
            yield from unknown(document, (*path, "use"), "route", route.use, known)
    for name in named:
        seen, after = [name], named[name].use
        while after is not None and after in named and after not in seen:
            seen.append(after)
            after = named[after].use
        if after == name:
            said = f"goes round in a circle: {' uses '.join([*seen, name])}"
            yield document.fault(("named", name, "use"), said)
    if sources.defaults is not None and sources.defaults.use is not None:
        said = "has no effect: `defaults` hold for every rule already; write the keys out"
        yield document.fault(("defaults", "use"), said, key=True)


def tenant_faults(sources: Sources) -> Iterator[Fault]:
    document = sources.tenants.document
    tenants = sources.tenants.sound
    yield from repeated(document, [(("tenants", i, "name"), t.name) for i, t in tenants.items()])
    ids = [(("tenants", i, "keys", j, "id"), key.id) for i, t in tenants.items() for j, key in enumerate(t.keys)]
    yield from repeated(document, [(at, id) for at, id in ids if id is not None])
    real = sorted(b.name for b in sources.backends.sound.values() if isinstance(b, ManagedBackend) and not b.simulated)
    holder: dict[str, Path] = {}
    for index, tenant in tenants.items():
        path: Path = ("tenants", index)
        yield from demand_faults(document, (*path, "residency"), tenant.residency, sources.zone_names)
        for j, glob in enumerate(tenant.models or ()):
            if sources.models.names is not None and not matching((glob,), sources.models.names):
                yield from unknown(document, (*path, "models", j), "model", glob, sources.models.names)
        for j, key in enumerate(tenant.keys):
            at: Path = (*path, "keys", j)
            yield from demand_faults(document, (*at, "residency"), key.residency, sources.zone_names)
            if holder.setdefault(key.hash, at) != at:
                yield document.fault(at, f"is the same key as {dotted(holder[key.hash])}; a key has one tenant")
        if tenant.demo and real:
            said = f"the key `demo` is public: every managed backend must be `simulated: true`, and `{real[0]}` is not"
            yield document.fault((*path, "demo"), said)
        if tenant.demo and holder.setdefault("demo", path) != path:
            yield document.fault(
                (*path, "demo"), f"is given to {dotted(holder['demo'])} already; the key has one tenant"
            )


def _route_faults(sources: Sources, index: int) -> Iterator[Fault]:
    """References of one rule's effective route."""
    document = sources.rules.document
    rule = sources.rules.sound[index]
    route = sources.route(rule)
    if route.backends is None and sources.defaults is not None:
        yield document.fault(("rules", index, "route", "backends"), "is required, here or in `defaults`", key=True)
    yield from demand_faults(document, sources.route_path(index, "residency"), route.residency, sources.zone_names)
    for key, path, names in _lists(sources, index, route):
        yield from repeated(document, [((*path, j), name) for j, name in enumerate(names)])
        for j, name in enumerate(names):
            at: Path = (*path, j)
            yield from unknown(document, at, "backend", name, sources.backends.names)
            backend = sources.backend(name)
            if key == "spill" and backend is not None and backend.kind != "managed":
                yield document.fault(at, f"`{name}` is local; requests spill to backends of `kind: managed`")
            elif backend is not None and not _serves(sources, name, rule.match):
                globs = "` or `".join(rule.match.model or ("*",))
                yield document.fault(
                    at, f"`{name}` serves no model that matches `{globs}`; see `served_by` in models.yaml"
                )


def _lists(sources: Sources, index: int, route: RouteIn) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    """Every list of backends in a route, with the place where it is written."""
    if route.backends is not None:
        yield "backends", sources.route_path(index, "backends"), route.backends
    if route.spill is not None:
        yield "spill", (*sources.route_path(index, "spill"), "backends"), route.spill.backends
    yield "fallback", sources.route_path(index, "fallback"), route.fallback


def _serves(sources: Sources, backend: str, match: MatchIn) -> bool:
    """Whether `backend` serves a model that the rule is about; yes where a model cannot be judged."""
    models, backends = sources.models, sources.backends.names
    if models.names is None or backends is None or len(models.sound) < len(models.names):
        return True
    about = matching(match.model, models.names)
    serving = {served.backend for model in models.sound.values() if model.name in about for served in model.served_by}
    return not about or backend in serving or not serving <= backends


def _unreachable(sources: Sources) -> Iterator[Fault]:
    """Rules that an earlier one leaves nothing to match."""
    models = sources.models.names
    rules = list(sources.rules.sound.items())
    for position, (index, rule) in enumerate(rules):
        above = next((r for _, r in rules[:position] if _covers(r.match, rule.match, models)), None)
        if above is not None:
            said = f"can never be reached: rule `{above.name}` above matches everything that it does; move it up"
            yield sources.rules.document.fault(("rules", index, "name"), said)


def _covers(wide: MatchIn, narrow: MatchIn, models: frozenset[str] | None) -> bool:
    """Whether `wide` surely matches every request that `narrow` does; models outside the folder are 404 anyway."""
    for key in MatchIn.model_fields:
        wanted, given = getattr(wide, key), getattr(narrow, key)
        if key == "model" or wanted is None:
            continue
        if key == "when":
            return False  # of the fleet it reads the rule's own workers: the same text need not say the same
        if wanted == given:
            continue
        if not isinstance(wanted, tuple) or given is None or not _within(key, wanted, given):
            return False
    if wide.model is None or wide.model == narrow.model:
        return True
    return models is not None and matching(narrow.model, models) <= matching(wide.model, models)


def _within(key: str, wide: tuple[object, ...], narrow: tuple[object, ...]) -> bool:
    """Of alternatives the longer list is the wider one; of tags, which must all be there, the shorter one."""
    if key == "time":
        return False
    return set(wide) <= set(narrow) if key == "tags" else set(narrow) <= set(wide)
