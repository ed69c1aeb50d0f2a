"""One place at one of a group's upstreams: chosen and taken in one step by the store, or alone where that is away."""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import StoreFault
from gateway.fleet.leases import Grant, Leases
from gateway.model import Group, Snapshot
from gateway.routing.pickers import pick


class Counter:
    """Of one replica; `Admission` asks it."""

    def __init__(self, leases: Leases, snapshot: Callable[[], Snapshot]) -> None:
        self._leases, self._snapshot = leases, snapshot

    async def grant(self, group: Group, lease_id: str) -> Grant:
        try:
            grant = await self._leases.acquire(group.backend, lease_id, group.candidates, group.load_weight)
        except StoreFault:
            return self._alone(group, lease_id)
        return self._alone(group, lease_id) if grant.recovering else grant

    def _alone(self, group: Group, lease_id: str) -> Grant:
        """Without the store: this replica's share of what was free when it last saw it, by the script's own formula."""
        states = self._snapshot().states
        seen = [states.get(one.upstream.name) for one in group.candidates]
        counts = [state.inflight if state else 0 for state in seen]
        taken = []
        for one in group.candidates:
            room, free = self._leases.room(group.backend, one), one.limit - one.outside
            # A share may be smaller than any request: while some of it is left, one more request may use it.
            taken.append(one.limit if room <= 0 else max(0, min(free - room, free - one.work)))
        index = pick(group.candidates, taken, counts, group.load_weight)
        if index is not None:
            self._leases.adopt(group.backend, lease_id, group.candidates[index])
        return Grant(index, tuple(state.leased if state else 0 for state in seen), tuple(counts), alone=True)
