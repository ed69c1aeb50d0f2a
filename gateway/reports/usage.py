"""What a tenant may know of the ledger: its own rows, and only what it pays for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gateway.model import Tenant
from gateway.reports.ask import DAY, HOUR, TAG, Line, Report, ask_of
from gateway.reports.desk import Desk
from gateway.reports.writing import encoded, named

GROUPS = ("model", "endpoint", "pipeline", "outcome", DAY, HOUR, TAG)
FILTERS = ("model", "endpoint", "pipeline", "outcome", TAG)
MEASURES = (
    "requests",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "images",
    "seconds",
    "characters",
    "cost",
    "estimated",
    "estimated_cost",
    "unreconciled",
    "unreconciled_cost",
    "unpriced",
    "simulated",
)
"""What an API charges the operator at list price is the operator's business."""


async def usage(desk: Desk, tenant: Tenant, given: Iterable[tuple[str, str]], now: float) -> bytes:
    """JSON. Raises InvalidRequest, NoCapacity."""
    ask = ask_of(given, now, GROUPS, FILTERS)
    theirs = replace(ask, where={**ask.where, "tenant": (tenant.name,), "payer": ("tenant",)})
    own = replace(theirs, where={**theirs.where, "key": (tenant.key,)})
    whole, part = await desk.report(theirs, tenant.name), await desk.report(own, tenant.name)
    return await asyncio.to_thread(
        lambda: encoded({"tenant": _told(tenant.name, whole), "key": _told(tenant.key, part)})
    )


def _told(name: str, report: Report) -> dict[str, Any]:
    lines = [_line(line, report.by) for line in report.lines]
    return {"name": name, "by": report.by, "lines": lines, "total": _line(report.total, ()), "more": report.more}


def _line(line: Line, by: tuple[str, ...]) -> dict[str, Any]:
    return {named(name): line[name] for name in (*by, *MEASURES)}
