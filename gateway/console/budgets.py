"""`/admin/v1/budgets`: every limit and budget of the running gateway, and what is left of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from gateway.console.store_words import in_our_words
from gateway.edge.services import Services
from gateway.money.counters import Usage
from gateway.money.keeping import utc
from gateway.routing.quotas import all_quotas


def budget_routes(services: Services) -> APIRouter:
    """To be included where access has been checked."""
    api = APIRouter()

    @api.get("/budgets")
    async def budgets() -> Mapping[str, Any]:
        """In the period of now, over all replicas. Amounts of unit `usd` are micro-dollars."""
        with in_our_words("budgets are counted"):
            known = await services.keys.known(services.policy)
            usages = await services.till.report(all_quotas(services.policy, known))
        return {"budgets": [row(one) for one in usages]}

    return api


def row(usage: Usage) -> Mapping[str, Any]:
    quota = usage.quota
    return {
        "name": quota.name,
        "of": quota.of,
        "unit": quota.unit,
        "per": quota.per,
        "period": usage.period,
        "hard": quota.hard,
        "local": quota.local,
        "models": list(quota.models),
        "backends": list(quota.backends),
        "pipelines": list(quota.pipelines),
        "cap": quota.cap,
        "used": usage.used,
        "held": usage.held,
        "left": usage.left,
        "lost": usage.lost,
        "resets": None if usage.resets is None else utc(usage.resets),
        "webhook": quota.webhook is not None,
    }
