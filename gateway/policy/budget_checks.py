"""Checks of budgets beyond their shape: names that the folder does not have, and budgets that surprise."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.policy.money_schema import SharedBudgetIn
from gateway.policy.references import matching, repeated, unknown
from gateway.policy.schema import ManagedBackend, ModelIn
from gateway.policy.source import Fault, Path
from gateway.policy.sources import Sources


def budget_faults(sources: Sources) -> Iterator[Fault]:
    """Of budgets.yaml."""
    document, models = sources.budgets.document, sources.models.names
    yield from repeated(document, [(("budgets", i, "name"), b.name) for i, b in sources.budgets.sound.items()])
    for index, budget in sources.budgets.sound.items():
        for j, backend in enumerate(budget.backends):
            yield from unknown(document, ("budgets", index, "backends", j), "backend", backend, sources.backends.names)
        for j, glob in enumerate(budget.models):
            if models is not None and not matching((glob,), models):
                yield from unknown(document, ("budgets", index, "models", j), "model", glob, models)


def budget_warnings(sources: Sources) -> Iterator[Fault]:
    for index, budget in sources.budgets.sound.items():
        for j, name in enumerate(budget.backends):
            backend = sources.backend(name)
            if backend is not None and backend.kind == "local" and not budget.local:
                path: Path = ("budgets", index, "backends", j)
                said = f"`{name}` is local, and its work counts only with `local: true`"
                yield sources.budgets.document.fault(path, said)
    for index, model in sources.models.sound.items():
        hard = _hard_for(sources, model)
        unbound = model.modality == "text" and model.default_output_cap is None
        if hard is not None and unbound and _is_bought(sources, model):
            said = f"has no `default_output_cap`: under {hard}, requests without a cap of their own are not bought"
            yield sources.models.document.fault(("models", index, "name"), said)


def _hard_for(sources: Sources, model: ModelIn) -> str | None:
    """The first hard budget that requests for it are charged to, in words."""
    for budget in sources.budgets.sound.values():
        if budget.hard and _covers(budget, model):
            return f"budget `{budget.name}`"
    for tenant in sources.tenants.sound.values():
        own = (*tenant.budgets, *(budget for key in tenant.keys for budget in key.budgets))
        if any(budget.hard for budget in own) and matching(tenant.models, (model.name,)):
            return f"the budget of tenant `{tenant.name}`"
    return None


def _covers(budget: SharedBudgetIn, model: ModelIn) -> bool:
    served = {one.backend for one in model.served_by}
    return bool(matching(budget.models, (model.name,))) and (
        not budget.backends or not served.isdisjoint(budget.backends)
    )


def _is_bought(sources: Sources, model: ModelIn) -> bool:
    return any(isinstance(sources.backend(one.backend), ManagedBackend) for one in model.served_by)
