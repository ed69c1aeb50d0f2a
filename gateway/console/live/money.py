"""Money of today (UTC): what the ledger says was spent and saved, and what is left of the budgets.

The ledger is asked beside the feed, which waits for no answer: at most every ten seconds, and so seldom that its reader
works for a tenth of the time at most, however long a day's rows take it. What it told is not shown again to who comes
after a while without viewers: that one hears of money when the ledger has answered, and of all else before.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from datetime import UTC, datetime
from typing import Any

from gateway.edge.services import Services
from gateway.errors import GatewayError, NotFound
from gateway.model import MICRO_PER_USD, Policy
from gateway.money.counters import Spent
from gateway.reports.ask import Ask
from gateway.reports.desk import Desk
from gateway.reports.gathering import Material
from gateway.reports.saved import Saved

LEAST_SECONDS = 10.0
RETRY_SECONDS = 1.0
"""After a question that the ledger did not answer: one that has just been begun has no tables yet."""
REST = 9.0
"""Times as long as an answer took until the next question."""
PATIENCE = 8.0
"""Seconds for which nothing is told of money because the ledger has not answered; then what was spent is told as
unknown, with the budgets, which are known without it. `gateway top --once` waits for longer."""
_US = 1_000_000


class Money:
    """`usages`: budgets as they were last seen (`Alarms.usages`), which every process keeps anyhow."""

    def __init__(self, services: Services, usages: Callable[[], Mapping[str, Spent]]) -> None:
        self._s, self._usages = services, usages
        self._spent: dict[str, Any] | None = None
        """None: not known, since `_since`."""
        self._since = self._due = 0.0
        self._day = ""
        self._asking: asyncio.Task[None] | None = None

    async def today(self) -> dict[str, Any] | None:
        """None while the ledger has not answered, for `PATIENCE` at most."""
        day, now = datetime.now(UTC).strftime("%Y-%m-%d"), time.monotonic()
        if (self._asking is None and now >= self._due + LEAST_SECONDS) or day != self._day:
            self._day, self._spent, self._since, self._due = (
                day,
                None,
                now,
                now,
            )  # nobody has looked, or it was yesterday
        if self._asking is None and now >= self._due:
            self._asking = asyncio.create_task(self._ask(day), context=Context())  # of no request
        if self._spent is None and now < self._since + PATIENCE:
            return None
        return {"all": True, "day": day, **(self._spent or nothing()), "budgets": budgets(self._usages().values())}

    async def aclose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self, day: str) -> None:
        began, spent, rest = time.monotonic(), None, LEAST_SECONDS
        try:
            spent = await asked(self._s.desk, self._s.policy, day)
        except NotFound:
            spent = nothing()  # none is kept
        except GatewayError:
            rest = RETRY_SECONDS  # it is away: unknown, not 0
        finally:
            if day == self._day:
                self._spent = spent
            ended = time.monotonic()
            self._due, self._asking = ended + max(rest, REST * (ended - began)), None


def nothing() -> dict[str, Any]:
    return {"spent_usd": {"managed": None, "own": None}, "saved_usd": None, "simulated": False}


async def asked(desk: Desk, policy: Policy, day: str) -> dict[str, Any]:
    """Raises as `Desk`."""
    since = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * _US
    made = await desk.material(Ask(since=since))
    return await asyncio.to_thread(lambda: told(made, made.saved(policy)))


def told(made: Material, saved: Saved) -> dict[str, Any]:
    """`managed`: with what is booked for attempts of unknown outcome. `own`: of each backend the rent of its GPUs, idle
    hours too; where that is not known, what its work was booked at. `simulated`: all that was bought was bought of
    simulated APIs, with nobody's money."""
    bought = sum(one.charged for one in (*made.got, *made.tried) if one.kind == "managed")
    booked = Counter[str]()
    for one in (*made.got, *made.tried):
        if one.kind == "local":
            booked[one.backend] += one.charged
    rents = {backend: fleet.rent for backend, fleet in made.fleets.items() if fleet.rent is not None}
    beside = saved.beside_managed
    return {
        "spent_usd": {
            "managed": (bought + made.doubts.unreconciled_cost) / MICRO_PER_USD,
            "own": sum({**booked, **rents}.values()) / MICRO_PER_USD,
        },
        "saved_usd": beside.contract / MICRO_PER_USD if beside.models else None,
        "simulated": made.doubts.all_simulated,
    }


def budgets(usages: Iterable[Spent]) -> list[dict[str, Any]]:
    """Those of tenants and of budgets.yaml; of single keys there are too many."""
    return [
        {
            "name": one.quota.name,
            "period": one.period,
            "limit_usd": one.quota.cap / MICRO_PER_USD,
            "used_usd": one.used / MICRO_PER_USD,
            "held_usd": one.held / MICRO_PER_USD,
            "left": round(max(0.0, min(1.0, one.left / one.quota.cap)), 4) if one.quota.cap else 0.0,
        }
        for one in usages
        if one.quota.of != "key" and one.quota.unit == "usd"
    ]
