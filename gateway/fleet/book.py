"""What one replica knows of the leases of one backend, and its share of the room while the store is away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.model import Candidate

AT_ONCE = 0.0


def slot_name(upstream: str, life: int) -> str:
    """One life of one upstream: what a lease is on, so that late releases of an old life change nothing of the new."""
    return f"{upstream}@{life}"


def degraded_room(limit: int, leased: int, replicas: int, admitted: int) -> int:
    """How much more work (GPU-us) this replica may admit on one worker while the store is away; admit while it is > 0.

    `leased` is from its last snapshot, `admitted` what it admitted since then less what its own leases freed (negative
    where they freed more). All replicas together then exceed the limit by at most what was leased since the snapshot
    and one request each (docs/store.md, "Slow or gone").
    """
    return max(0, limit - leased) // max(1, replicas) - admitted


@dataclass(slots=True)
class Sums:
    """The sums of one look at the store, and what this replica has taken and given back since."""

    seen: Mapping[str, tuple[int, int]]
    """Slot -> (leased work, leases), of all replicas."""
    since: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Slot -> (work, leases) admitted here less those freed here."""

    def add(self, slot: str, work: int, count: int) -> None:
        before, counted = self.since.get(slot, (0, 0))
        self.since[slot] = (before + work, counted + count)

    def room(self, candidate: Candidate, slot: str, replicas: int) -> int:
        leased, count = self.seen.get(slot, (0, 0))
        work, admitted = self.since.get(slot, (0, 0))
        if degraded_room(candidate.seats, count, replicas, admitted) <= 0:
            return 0
        return degraded_room(candidate.limit, leased + candidate.outside, replicas, work)


@dataclass(slots=True)
class Book:
    """What this replica knows of one backend."""

    backend: str
    keys: tuple[str, ...]
    wait_keys: tuple[str, ...]
    """The same and `waits`."""
    fresh: bool
    live: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Lease id -> (slot, work)."""
    unsettled: set[str] = field(default_factory=set)
    """Ids being acquired: the store may have them, `live` does not yet."""
    resized: dict[str, int] = field(default_factory=dict)
    """Id -> new work, to tell with this turn's batch."""
    leaving: list[str] = field(default_factory=list)
    """Ids to release with this turn's batch."""
    left_over: int = 0
    """How many places, of what this turn's batch gives back, are for other replicas."""
    waits: bool = False
    """Requests of this replica wait here."""
    elsewhere: int = 0
    """Number of other replicas with requests that wait here, as of the last look."""
    write_back_at: float = AT_ONCE
    recovering: bool = False
    replicas: int = 1
    returned_at: float | None = None
    """When this replica was back at a store that it had lost, until all the others are back too."""
    whole: Sums | None = None
    """The last complete view of the store."""
    partial: Sums | None = None
    """The last view, where it may lack what other replicas have yet to write back."""

    def hold(self, lease_id: str, slot: str, work: int) -> None:
        self.live[lease_id] = (slot, work)
        self._moved(slot, work, 1)

    def resize(self, lease_id: str, work: int) -> int:
        """What that frees, GPU-us."""
        held = self.live.get(lease_id)
        if held is None or held[1] == work:
            return 0
        slot, old = held
        self.live[lease_id] = (slot, work)
        self._moved(slot, work - old, 0)
        return old - work

    def free(self, lease_id: str) -> int | None:
        """What that frees, GPU-us; None where it is not held."""
        held = self.live.pop(lease_id, None)
        if held is None:
            return None
        slot, work = held
        self._moved(slot, -work, -1)
        return work

    def _moved(self, slot: str, work: int, count: int) -> None:
        for view in (self.whole, self.partial):
            if view is not None:
                view.add(slot, work, count)
