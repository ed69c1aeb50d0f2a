"""All files of a folder side by side, as far as each is sound: what the checks look at and the compiler builds from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.policy.folder import Folder
from gateway.policy.match_schema import MatchIn
from gateway.policy.money_schema import SharedBudgetIn
from gateway.policy.oidc_schema import IssuerIn
from gateway.policy.price_schema import Days, OverrideIn, UnknownPrice
from gateway.policy.route_schema import RouteIn, RuleIn
from gateway.policy.schema import FILES, Backend, LocalBackend, ManagedBackend, ModelIn, TenantIn, Zone
from gateway.policy.source import Document, Fault, Path
from gateway.policy.validate import Items, read, shape_faults
from gateway.policy.words import Name, ZoneName
from gateway.prices.marks import MAX_AGE_DAYS

_BACKEND: TypeAdapter[LocalBackend | ManagedBackend] = TypeAdapter(Backend)
_MODEL = TypeAdapter(ModelIn)
_MATCH = TypeAdapter(MatchIn)
_RULE = TypeAdapter(RuleIn)
_TENANT = TypeAdapter(TenantIn)
_BUDGET = TypeAdapter(SharedBudgetIn)
_OVERRIDE = TypeAdapter(OverrideIn)
_DAYS: TypeAdapter[int] = TypeAdapter(Days)
_UNKNOWN: TypeAdapter[UnknownPrice] = TypeAdapter(UnknownPrice)
_ISSUER = TypeAdapter(IssuerIn)
_ZONES: TypeAdapter[dict[str, Zone]] = TypeAdapter(dict[ZoneName, Zone])
_ROUTE = TypeAdapter(RouteIn)
_NAMED: TypeAdapter[dict[str, RouteIn]] = TypeAdapter(dict[Name, RouteIn])
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sources:
    backends: Items[LocalBackend | ManagedBackend]
    models: Items[ModelIn]
    rules: Items[RuleIn]
    tenants: Items[TenantIn]
    budgets: Items[SharedBudgetIn]
    prices: Items[OverrideIn]
    max_age_days: int
    """From when on a price is old."""
    unknown_price: UnknownPrice
    issuers: Items[IssuerIn]
    zones: Mapping[str, Zone] | None
    """None where they cannot be read: then a zone's name cannot be judged."""
    defaults: RouteIn | None
    """None where they cannot be read: then what a rule inherits cannot be judged."""
    named: Mapping[str, RouteIn] | None
    """None where they cannot be read."""

    @property
    def zone_names(self) -> frozenset[str] | None:
        """Declared zones, and those that they are said to lie in."""
        if self.zones is None:
            return None
        return frozenset(self.zones).union(*(zone.within for zone in self.zones.values()))

    @property
    def tags(self) -> frozenset[str] | None:
        """All tags that a tenant has, or a key of one; None where a tenant cannot be read."""
        if self.tenants.names is None or len(self.tenants.sound) < len(self.tenants.names):
            return None
        tenants = self.tenants.sound.values()
        return frozenset(tag for one in tenants for tags in (one.tags, *(key.tags for key in one.keys)) for tag in tags)

    def unsound_rules(self) -> Iterator[tuple[int, MatchIn, RouteIn]]:
        """Of every rule that is not sound as a whole, the keys that are; the others are faults already."""
        data = self.rules.document.data
        listed = data.get(self.rules.key) if isinstance(data, dict) else None
        for index, rule in enumerate(listed if isinstance(listed, list) else ()):
            if index not in self.rules.sound and isinstance(rule, dict):
                yield (
                    index,
                    _sound_keys(_MATCH, rule.get("match"), MatchIn()),
                    _sound_keys(_ROUTE, rule.get("route"), RouteIn()),
                )

    def backend(self, name: str) -> LocalBackend | ManagedBackend | None:
        return next((backend for backend in self.backends.sound.values() if backend.name == name), None)

    def lineage(self, route: RouteIn) -> list[tuple[Path, RouteIn]]:
        """What `route` inherits from, nearest first: the routes that it uses, each once, then `defaults`."""
        found: dict[Path, RouteIn] = {}
        name = route.use
        while name is not None and name in (self.named or {}) and ("named", name) not in found:
            found[("named", name)] = (self.named or {})[name]
            name = found[("named", name)].use
        if self.defaults is not None:
            found[("defaults",)] = self.defaults
        return list(found.items())

    def route(self, rule: RuleIn) -> RouteIn:
        """The rule's route with all that it inherits filled in, key by key."""
        made = rule.route
        for _, base in self.lineage(rule.route):
            inherited = base.model_fields_set - made.model_fields_set
            made = made.model_copy(update={name: getattr(base, name) for name in inherited})
        return made

    def route_path(self, index: int, key: str) -> Path:
        """Where a key of the route of rule `index` is written: in the rule itself or in what it inherits from."""
        route = self.rules.sound[index].route
        if key not in route.model_fields_set:
            for path, base in self.lineage(route):
                if key in base.model_fields_set:
                    return (*path, key)
        return ("rules", index, "route", key)


def read_sources(folder: Folder) -> tuple[Sources, list[Fault]]:
    """What is sound in the folder, and every fault of syntax and shape."""
    documents = folder.documents()
    faults = [fault for document in documents.values() for fault in shape_faults(document, FILES.get(document.file))]
    backends, models, routing = (documents[name] for name in ("backends.yaml", "models.yaml", "routing.yaml"))
    tenants, budgets, prices = (documents.get(name) for name in ("tenants.yaml", "budgets.yaml", "prices.yaml"))
    return Sources(
        backends=read(backends, "backends", _BACKEND),
        models=read(models, "models", _MODEL),
        rules=read(routing, "rules", _RULE),
        tenants=read(tenants, "tenants", _TENANT) if tenants else _none("tenants"),
        budgets=read(budgets, "budgets", _BUDGET) if budgets else _none("budgets"),
        prices=read(prices, "prices", _OVERRIDE) if prices else _none("prices"),
        max_age_days=_setting(prices, "max_age_days", _DAYS, MAX_AGE_DAYS),
        unknown_price=_setting(prices, "unknown_price", _UNKNOWN, "refuse"),
        issuers=read(tenants, "oidc", _ISSUER) if tenants else _none("oidc"),
        zones=_part(backends, "zones", _ZONES, {}),
        defaults=_part(routing, "defaults", _ROUTE, RouteIn()),
        named=_part(routing, "named", _NAMED, {}),
    ), faults


def _sound_keys(adapter: TypeAdapter[T], written: object, made: T) -> T:
    """`made` with those keys of `written` that are sound by themselves."""
    sound: dict[str, object] = {}
    for key, value in written.items() if isinstance(written, dict) else ():
        try:
            made = adapter.validate_json(json.dumps(sound | {key: value}))
            sound[key] = value
        except ValidationError:  # reported with the whole file
            continue
    return made


def _none(key: str) -> Items[Any]:
    """Of an optional file that is not there."""
    return Items(Document(f"{key}.yaml"), key, names=frozenset())


def _setting(document: Document | None, key: str, adapter: TypeAdapter[T], default: T) -> T:
    """Of an optional file; `default` too where it cannot be read, which is a fault already."""
    found = default if document is None else _part(document, key, adapter, default)
    return default if found is None else found


def _part(document: Document, key: str, adapter: TypeAdapter[T], default: T) -> T | None:
    """The sound value of a top-level key, `default` where it is not written, None where it cannot be read."""
    if not isinstance(document.data, dict):
        return None
    if key not in document.data:
        return default
    try:
        return adapter.validate_json(json.dumps(document.data[key]))
    except ValidationError:
        return None
