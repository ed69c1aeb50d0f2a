"""What may be used: limits and budgets, at their owner (tenants.yaml) or for everybody (budgets.yaml)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.policy.strict import Strict
from gateway.policy.words import WEBHOOK, Amount, Count, Glob, Listed, Name

Percent = Annotated[int, Field(ge=1, le=100)]
Usd = Annotated[float, Field(ge=0.000001, le=1e9)]
"""A cap of less than a micro-dollar would be one of nothing."""
WebhookUrl = Annotated[str, Field(pattern=WEBHOOK)]


class LimitsIn(Strict):
    """How much may be asked for; past it 429 with the seconds until there is room."""

    requests_per_minute: Amount | None = None
    """Calendar minutes, UTC."""
    requests_per_day: Amount | None = None
    """Calendar days, UTC."""
    tokens_per_minute: Amount | None = None
    """Prompt and output together; the most that a request may use is set aside while it runs."""
    tokens_per_day: Amount | None = None
    """The same of a calendar day, UTC."""
    concurrent: Count | None = None
    """Requests at once, over all replicas."""


class BudgetIn(Strict):
    """Money of a period. The most that a request may cost is set aside before it leaves."""

    usd: Usd
    """USD; to the micro-dollar."""
    per: Literal["day", "month", "total"]
    """Calendar days and months, UTC; `total` never begins anew."""
    hard: bool = True
    """Past it nothing more is bought (402 where our own workers cannot serve). Soft: they are preferred, and it is
    told."""
    local: bool = False
    """Whether work of our own GPUs counts too, at its amortised price."""
    warn_at: Listed[Percent] = (50, 80, 100)
    """Per cent of it at which `webhook` hears."""
    webhook: WebhookUrl | None = None
    """Where a JSON message is posted at each of `warn_at`."""


class SharedBudgetIn(BudgetIn):
    """A budget that is no tenant's own: all that is set of models, backends and pipelines must hold."""

    name: Name
    """What errors, metrics and `gateway budget` call it."""
    models: Listed[Glob] = ()
    """Of these models; default: all."""
    backends: Listed[Name] = ()
    """Of these backends; default: all."""
    pipelines: Listed[Glob] = ()
    """Of requests with such an X-Gateway-Pipeline; default: all, and those without."""


class BudgetsFile(Strict):
    """budgets.yaml: what may be spent by models, backends, pipelines, or in all."""

    budgets: Annotated[tuple[SharedBudgetIn, ...], Field(min_length=1)]
    """Every one that is about a request must have room for it."""
