"""Found workers join the policy in force: what the roster and the finders know comes together here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.finders.hosts import Hosts
from gateway.finders.names import MakeResolver
from gateway.finders.watch import Finders
from gateway.fleet.roster import Roster
from gateway.model import DRAINED, LEAVING, Member, Policy, Upstream
from gateway.policy.live import LivePolicy
from gateway.routing.join import same_place
from gateway.store.connection import Store

GATHER_SECONDS = 0.05
"""A thousand workers take 15 ms to join, and each may be told of several times while it starts."""
_log = logging.getLogger("gateway")


class Joining:
    """One per process. `on_change` is called after each change of who is there or who is drained."""

    def __init__(self, store: Store, live: LivePolicy, resolver: MakeResolver | None = None) -> None:
        self._live = live
        self.roster = Roster(store, lambda: found_in(live.current), lambda: written_in(live.current), self.meet)
        self.finders = Finders(lambda: live.current, self._soon, resolver)
        self.hosts = Hosts()
        """Of registrations: theirs cannot hold up those of the policy."""
        self.on_change: list[Callable[[], None]] = []
        self._turn: asyncio.TimerHandle | None = None
        self._told: dict[str, Upstream] = {}
        self._refused: frozenset[Member] = frozenset()
        self._faults: dict[str, str] = {}
        live.on_reload.append(self._reloaded)

    def _soon(self) -> None:
        """What several finders say at once, or a cluster in a roll-out, is worked out together."""
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_later(GATHER_SECONDS, self.meet)

    def meet(self) -> None:
        """The policy is joined by whoever is found now, and the next request knows."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._live.meet((*self.roster.members, *self.finders.members), self.finders.homes)
        self._tell()
        for listener in self.on_change:
            listener()

    def out(self, name: str) -> str | None:
        """Why an upstream is to become empty: an operator said so, or its own source did."""
        return DRAINED if name in self.roster.drained else LEAVING if name in self._live.found.leaving else None

    def looked_up(self, member: Member) -> Member | None:
        """Who was found at a place of `member` by a source of the policy."""
        refused = self._live.found.refused
        return next((one for one in self.finders.members if same_place(one, member) and one not in refused), None)

    def _reloaded(self, policy: Policy) -> None:
        self.finders.keep(policy)

    def _tell(self) -> None:
        """A line for each found worker that came or left, for those that must not, and for a source that is silent."""
        now, before = found_in(self._live.current), self._told
        for event, these, others in (("worker joined", now, before), ("worker left", before, now)):
            for name in sorted(these.keys() - others.keys()):
                one = these[name]
                fields = {"upstream": name, "backend": one.backend, "source": one.source}
                _log.info(event, extra={"fields": fields})
        refused, faults = self._live.found.refused, self.finders.faults
        for backend, source in sorted({(one.backend, one.source) for one in refused - self._refused}):
            _log.warning("worker refused: it lies outside", extra={"fields": {"backend": backend, "source": source}})
        for silent in sorted(faults.keys() - self._faults.keys()):
            _log.warning("discovery failed", extra={"fields": {"source": silent, "why": faults[silent]}})
        self._told, self._refused, self._faults = now, refused, faults


def found_in(policy: Policy) -> dict[str, Upstream]:
    """Those of its upstreams that were found."""
    return {name: one for name, one in policy.upstreams.items() if one.source is not None}


def written_in(policy: Policy) -> frozenset[str]:
    """Those that it writes down."""
    return frozenset(name for name, one in policy.upstreams.items() if one.source is None)
