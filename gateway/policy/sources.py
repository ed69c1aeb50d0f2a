"""All files of a folder side by side, as far as each is sound: what the checks look at and the compiler builds from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.policy.folder import Folder
from gateway.policy.schema import (
    FILES,
    Backend,
    LocalBackend,
    ManagedBackend,
    ModelIn,
    RouteIn,
    RuleIn,
    TenantIn,
    Zone,
)
from gateway.policy.source import Document, Fault, Path
from gateway.policy.validate import Items, read, shape_faults
from gateway.policy.words import ZoneName

_BACKEND: TypeAdapter[LocalBackend | ManagedBackend] = TypeAdapter(Backend)
_MODEL = TypeAdapter(ModelIn)
_RULE = TypeAdapter(RuleIn)
_TENANT = TypeAdapter(TenantIn)
_ZONES: TypeAdapter[dict[str, Zone]] = TypeAdapter(dict[ZoneName, Zone])
_ROUTE = TypeAdapter(RouteIn)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sources:
    backends: Items[LocalBackend | ManagedBackend]
    models: Items[ModelIn]
    rules: Items[RuleIn]
    tenants: Items[TenantIn]
    zones: Mapping[str, Zone] | None
    """None where they cannot be read: then a zone's name cannot be judged."""
    defaults: RouteIn | None
    """None where they cannot be read: then what a rule inherits cannot be judged."""

    @property
    def zone_names(self) -> frozenset[str] | None:
        """Declared zones, and those that they are said to lie in."""
        if self.zones is None:
            return None
        return frozenset(self.zones).union(*(zone.within for zone in self.zones.values()))

    def backend(self, name: str) -> LocalBackend | ManagedBackend | None:
        return next((backend for backend in self.backends.sound.values() if backend.name == name), None)

    def route(self, rule: RuleIn) -> RouteIn:
        """The rule's route with `defaults` filled in, key by key."""
        if self.defaults is None:
            return rule.route
        inherited = self.defaults.model_fields_set - rule.route.model_fields_set
        return rule.route.model_copy(update={name: getattr(self.defaults, name) for name in inherited})

    def route_path(self, index: int, key: str) -> Path:
        """Where a key of the route of rule `index` is written: in the rule itself or in `defaults`."""
        if key not in self.rules.sound[index].route.model_fields_set and self.defaults is not None:
            return ("defaults", key)
        return ("rules", index, "route", key)


def read_sources(folder: Folder) -> tuple[Sources, list[Fault]]:
    """What is sound in the folder, and every fault of syntax and shape."""
    documents = folder.documents()
    faults = [fault for document in documents.values() for fault in shape_faults(document, FILES.get(document.file))]
    backends, models, routing = (documents[name] for name in ("backends.yaml", "models.yaml", "routing.yaml"))
    tenants = documents.get("tenants.yaml")
    return Sources(
        backends=read(backends, "backends", _BACKEND),
        models=read(models, "models", _MODEL),
        rules=read(routing, "rules", _RULE),
        tenants=read(tenants, "tenants", _TENANT) if tenants else _no_tenants(),
        zones=_part(backends, "zones", _ZONES, {}),
        defaults=_part(routing, "defaults", _ROUTE, RouteIn()),
    ), faults


def _no_tenants() -> Items[TenantIn]:
    return Items(Document("tenants.yaml"), "tenants", names=frozenset())


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
