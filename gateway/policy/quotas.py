"""Limits and budgets as written become quotas, each with the name that its counters have in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

from gateway.model import LIMIT_QUOTAS, Quota, micro_usd
from gateway.policy.money_schema import BudgetIn, LimitsIn, SharedBudgetIn

Owner = Literal["key", "tenant", "gateway"]


def quotas_of(of: Owner, name: str, limits: LimitsIn | None, budgets: Iterable[BudgetIn]) -> tuple[Quota, ...]:
    """Those of one tenant or one key; `name` is unique among its kind."""
    return (*_limits(of, name, limits), *_budgets(of, name, budgets))


def shared(budgets: Iterable[SharedBudgetIn]) -> tuple[Quota, ...]:
    return tuple(
        _budget(
            f"budget {one.name}",
            "gateway",
            one,
            models=tuple(one.models),
            backends=tuple(one.backends),
            pipelines=tuple(one.pipelines),
        )
        for one in budgets
    )


def _limits(of: Owner, name: str, limits: LimitsIn | None) -> Iterator[Quota]:
    for key, (unit, per) in LIMIT_QUOTAS.items() if limits is not None else ():
        cap = getattr(limits, key)
        if cap is not None:
            yield Quota(f"{of} {name}: {key}", unit, cap, per, of)


def _budgets(of: Owner, name: str, budgets: Iterable[BudgetIn]) -> Iterator[Quota]:
    """Those of one period are numbered: what is written for another period changes no name."""
    seen = Counter[str]()
    for one in budgets:
        again = f" #{seen[one.per]}" if seen[one.per] else ""
        seen[one.per] += 1
        yield _budget(f"{of} {name}: usd per {one.per}{again}", of, one)


def _budget(
    name: str,
    of: Owner,
    one: BudgetIn,
    models: tuple[str, ...] = (),
    backends: tuple[str, ...] = (),
    pipelines: tuple[str, ...] = (),
) -> Quota:
    return Quota(
        name,
        "usd",
        micro_usd(one.usd),
        one.per,
        of,
        one.hard,
        one.local,
        tuple(sorted(one.warn_at)),
        one.webhook,
        models,
        backends,
        pipelines,
    )
