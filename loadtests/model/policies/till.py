"""What the store does for admission, in memory: its scripts for leases (acquire, release, resize) and money (spend)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from gateway.fleet.leases import Grant
from gateway.model import LOAD_WEIGHT, Candidate, Reservation
from gateway.routing.pickers import pick

_BUCKETS = 61
_MICRO = 1e6


@dataclass(slots=True)
class Shelf:
    """The leases of all backends, exact at once: upstream -> work (GPU-us) and count."""

    work: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _held: dict[str, tuple[str, int]] = field(default_factory=dict)
    _ids: count[int] = field(default_factory=count)

    @property
    def held(self) -> int:
        return len(self._held)

    def new_id(self) -> str:
        return str(next(self._ids))

    async def acquire(
        self, _backend: str, lease_id: str, candidates: Sequence[Candidate], load_weight: float = LOAD_WEIGHT
    ) -> Grant:
        names = [one.upstream.name for one in candidates]
        leased, counts = tuple(self.work[name] for name in names), tuple(self.counts[name] for name in names)
        index = pick(candidates, leased, counts, load_weight)
        if index is not None:
            work = min(candidates[index].work, candidates[index].limit)
            self._held[lease_id] = (names[index], work)
            self.work[names[index]] += work
            self.counts[names[index]] += 1
        return Grant(index, leased, counts)

    def resize(self, _backend: str, lease_id: str, work: int) -> None:
        if lease_id in self._held:
            name, before = self._held[lease_id]
            self._held[lease_id] = (name, work)
            self.work[name] += work - before

    def release(self, _backend: str, lease_id: str) -> bool:
        if lease_id not in self._held:
            return False
        name, work = self._held.pop(lease_id)
        self.work[name] -= work
        self.counts[name] -= 1
        return True


@dataclass(slots=True)
class Purse:
    """Money of each rule in the last hour, by the minute."""

    seconds: Callable[[], float]
    """The clock: seconds since the epoch."""
    _minutes: defaultdict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    async def reserve(self, rule: str, usd: float, usd_per_hour: float) -> Reservation | None:
        minute, amount = int(self.seconds() // 60), math.ceil(usd * _MICRO)
        spent = {at: micro for at, micro in self._minutes[rule].items() if at > minute - _BUCKETS}
        self._minutes[rule] = spent
        if sum(spent.values()) + amount > usd_per_hour * _MICRO:
            return None
        spent[minute] = spent.get(minute, 0) + amount
        return Reservation(rule, amount, minute)

    def settle(self, held: Reservation, usd: float) -> None:
        spent = self._minutes[held.rule]
        if held.minute in spent:
            spent[held.minute] += math.ceil(usd * _MICRO) - held.micro_usd
