"""What the feed tells, and where it is from. The store is asked for little: readings, leases and budgets are in the
snapshot that every process keeps anyhow."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway import __version__
from gateway.console import status
from gateway.console.live import history
from gateway.console.live.feed import Source
from gateway.console.live.money import Money
from gateway.console.live.rows import COLUMNS, Row, changed, rows
from gateway.console.live.spells import Spells
from gateway.edge.services import Services
from gateway.flow import Minute

SLOW_TICKS = 2
"""All but fleet and flow come at most every two seconds."""
RUNNING_MINUTES = 2
"""Those that still grow: the one that runs, and the one before, which others may not have told all of."""
REFUSED = "Policy folder refused, the last good one stays"
_MS = 1000.0
_TOLD_OF_REPLICAS = ("version", "folder", "from", "faults", "store_faults", "trial", "host", "pid")


class Fleet(NamedTuple):
    now: float
    rows: Mapping[str, Row]


def sources(services: Services, money: Money, spells: Spells) -> Sequence[Source]:
    """In the order of `feed.KINDS`."""
    made = Sources(services, spells)
    return (
        Source("hello", made.hello, dated, lambda before, after: None if before == after else dated(after), dated=True),
        Source("fleet", made.fleet, fleet_whole, fleet_change),
        Source("flow", made.flow, lambda state: history.flow(state, whole=True), flow_change),
        Source("latency", made.latency, ticks=SLOW_TICKS),
        Source("money", money.today, ticks=SLOW_TICKS),
        Source("policy", made.policy, ticks=SLOW_TICKS),
        Source("status", made.status, ticks=SLOW_TICKS),
    )


def dated(hello: Mapping[str, Any]) -> dict[str, Any]:
    return {**hello, "now": round(time.time(), 1)}


def fleet_whole(fleet: Fleet) -> dict[str, Any]:
    return {"all": True, "now": fleet.now, "rows": list(fleet.rows.values()), "gone": []}


def fleet_change(before: Fleet, after: Fleet) -> dict[str, Any] | None:
    moved, gone = changed(before.rows, after.rows)
    return {"all": False, "now": after.now, "rows": moved, "gone": gone} if moved or gone else None


def flow_change(before: Mapping[int, Minute], after: Mapping[int, Minute]) -> dict[str, Any] | None:
    moved = history.moved(before, after)
    return history.flow(moved, whole=False) if moved else None


class Sources:
    """Asked once a tick, for all viewers."""

    def __init__(self, services: Services, spells: Spells) -> None:
        self._s, self._spells = services, spells
        self._minutes: dict[int, Minute] = {}
        self._whole: set[int] = set()
        """Minutes that were read when they did not grow any more; what was read before that may be half."""
        self._again = 0
        """Which of the older minutes is read again next: a replica that had lost the store tells its counts late."""
        self._replicas: status.Replicas = {}

    async def hello(self) -> dict[str, Any]:
        services = self._s
        return {
            "gateway": __version__,
            "replica": services.versions.owner,
            "columns": COLUMNS,
            "outcomes": history.OUTCOMES,
            "rules": [rule.name for rule in services.policy.rules],
            "buckets_ms": [bound * _MS for bound in services.flow.buckets],
        }

    async def fleet(self) -> Fleet:
        board, drained = self._s.board(), self._s.joining.roster.drained
        made = rows(board, lambda name: drained[name].reason if name in drained else None)
        return Fleet(round(board.snapshot.at, 1), {row.name: row for row in made})

    async def flow(self) -> Mapping[int, Minute]:
        """Raises StoreFault."""
        last = self._s.flow.last()
        due = [at for at in last if at not in self._whole]
        self._again = (self._again + 1) % (len(last) - RUNNING_MINUTES)
        due = list(dict.fromkeys([*due, last[self._again]]))
        found = await self._s.flow.read(due)
        self._minutes = history.window({**self._minutes, **found}, last)
        self._whole = set(last[:-RUNNING_MINUTES])
        return self._minutes

    async def latency(self) -> dict[str, Any]:
        slos = {rule.name: rule.slo for rule in self._s.policy.rules}
        return history.latency(self._minutes, self._s.flow.buckets, slos)

    async def policy(self) -> dict[str, Any]:
        self._replicas = await status.replicas(self._s)
        told, candidate = await status.policies(self._s, self._replicas), self._s.live.candidate
        rows = [{"replica": owner, **_shown(row)} for owner, row in sorted(self._replicas.items())]
        tried = None
        if candidate is not None:
            trial = candidate.trial
            tally = await status.rollout(self._s, self._replicas)
            tried = {"version": trial.version, "mode": trial.mode, "share": trial.share, "tally": tally}
        return {"all": True, **told, "replicas": rows, "candidate": tried}

    async def status(self) -> dict[str, Any]:
        """With what all replicas told of themselves for `policy`, a moment ago."""
        services, states = self._s, self._s.view.current.states.values()
        told = self._replicas or {"this": services.versions.state()}
        work = {name: sum(row["busy"].get(name, 0) for row in told.values()) for name in _WORK}
        refused = [f"{REFUSED}: {fault}" for row in told.values() for fault in row["faults"]]
        faults = [*refused, *(fault for row in told.values() for fault in row["store_faults"])]
        found = (f"{where}: {why}" for where, why in services.joining.finders.faults.items())
        return {
            "all": True,
            "ready": any(state.out is None for state in states),
            "degraded": self._spells.telling,
            "faults": list(dict.fromkeys([*faults, *found])),
            **{_WORK[name]: count for name, count in work.items()},
        }


_WORK = {"waiting": "queue", "in_flight": "in_flight", "jobs_running": "jobs_running"}


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _TOLD_OF_REPLICAS}
