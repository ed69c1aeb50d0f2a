"""What the store does for admission, in memory: its scripts for leases (acquire, release, resize) and money (spend)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from gateway.fleet.leases import Grant
from gateway.model import LOAD_WEIGHT, Bound, Candidate, Reservation, Spill
from gateway.routing.pickers import pick

_HOUR, _WINDOW, _FEWEST, _ROUNDING = 61, 5, 10, 1e-9
"""As in spend.lua."""
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

    def resize(self, _backend: str, lease_id: str, work: int, *, tell: bool = True) -> int:
        if lease_id not in self._held:
            return 0
        name, before = self._held[lease_id]
        self._held[lease_id] = (name, work)
        self.work[name] += work - before
        return before - work

    def release(self, _backend: str, lease_id: str, *, tell: bool = True) -> int | None:
        if lease_id not in self._held:
            return None
        name, work = self._held.pop(lease_id)
        self.work[name] -= work
        self.counts[name] -= 1
        return work

    def wait(self, _backend: str, waits: bool) -> None:
        """There is nobody else to tell."""

    def elsewhere(self, _backend: str) -> int:
        return 0

    def taken(self, _backend: str, _upstream: str, _life: int) -> int:
        """Its snapshots are exact."""
        return 0


@dataclass(slots=True)
class Purse:
    """Each rule's money of the last hour, and what of its requests left lately; both by the minute."""

    seconds: Callable[[], float]
    """The clock: seconds since the epoch."""
    _spent: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    _left: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    _came: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def minute(self) -> int:
        return int(self.seconds() // 60)

    def arrived(self, rule: str) -> None:
        self._came[rule][self.minute] += 1

    async def reserve(self, rule: str, usd: float, bounds: Spill) -> Reservation | Bound:
        minute, cap, share = self.minute, bounds.budget_usd_per_hour, bounds.max_share
        amount = 0 if cap is None else math.ceil(usd * _MICRO)
        came = max(_FEWEST, recent(self._came[rule], minute, _WINDOW))
        if share is not None and recent(self._left[rule], minute, _WINDOW) + 1 > share * came + _ROUNDING:
            return "share"
        if cap is not None and recent(self._spent[rule], minute, _HOUR) + amount > cap * _MICRO:
            return "budget"
        self._spent[rule][minute] += amount
        self._left[rule][minute] += share is not None
        return Reservation(rule, amount, minute, counted=share is not None)

    def settle(self, held: Reservation, usd: float) -> None:
        if held.micro_usd:
            self._spent[held.rule][held.minute] += math.ceil(usd * _MICRO) - held.micro_usd


def recent(counts: Mapping[int, int], minute: int, buckets: int) -> int:
    """The sum of the last so many minutes, this one included."""
    return sum(counts.get(minute - ago, 0) for ago in range(buckets))
