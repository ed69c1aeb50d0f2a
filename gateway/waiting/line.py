"""The line for one backend in one replica: whose turn it is. Pure; each step is O(log n) in those that wait, but for
`before` and for what counts the kinds that wait.

1. Who waited longer than its rule's `starve_after`, the tenants in turn; but for LATE_SHARE of what comes free only.
2. The highest class that somebody waits in; in it the tenants by deficit round robin in work (`ring.py`); of one tenant
   the earliest deadline.

A first that finds no room lets a few others try, because it may ask for more than they do or for other workers; but not
for longer than PASS_SECONDS, nor once its tenant is owed twice what it asks for, and not at all where it is overdue and
it is its turn. Then nobody goes before it to the workers that may serve it: what comes free there is kept for it.

An overdue request waits for as long as it takes until, at LATE_SHARE of the rate, the work of those of its tenant that
were overdue before it comes free, and as much for every other tenant of whom somebody is overdue, by weight. Whom
nobody may serve at this moment stands in nobody's way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from math import inf

from gateway.waiting.drain import Drain
from gateway.waiting.heap import Heap
from gateway.waiting.ring import Alike, Ask, Place, Ring, by_overdue

RANKS = 3
PASS_SECONDS = 2.0
"""For so long others may go before a first that finds no room: longer than a worker needs to end some of its requests,
short beside the time that a request may wait."""
LATE_SHARE = 0.25
"""What the overdue have of what comes free while others wait or come: a flood of them, of one tenant or of batch,
cannot hold everybody else off."""


@dataclass(slots=True)
class _Pool:
    """Those in one line that compete for the same workers."""

    alike: Counter[Alike] = field(default_factory=Counter)
    late: Ring = field(default_factory=lambda: Ring(by_overdue))
    """The overdue, who keep their places in the rings of their classes."""
    late_alike: Counter[Alike] = field(default_factory=Counter)
    debt: int = 0
    """GPU-us that others have before the overdue go first again."""
    led: bool = False
    """Somebody found no room since `restore`: that one is the first, who comes after it passes it."""
    kept: Place | None = None
    """Before whom nobody of `kept_rank` and below goes."""
    kept_rank: int = 0

    def paid(self, work: int) -> bool:
        """Somebody had so much out of their turn. Whether it is their turn now, and was not before."""
        before, self.debt = self.debt, max(0, self.debt - work)
        return before > 0 and not self.debt and bool(self.late_alike)

    def keeps(self, rank: int) -> bool:
        return self.kept is not None and self.kept_rank <= rank

    def idle(self) -> bool:
        return not self.alike and not self.debt


class Line:
    def __init__(self) -> None:
        self.drain = Drain()
        self._rings = tuple(Ring() for _ in range(RANKS))
        self._due: Heap[Place] = Heap()
        """Who is not overdue yet, by when it will be."""
        self._pools: dict[object, _Pool] = {}
        self._ranks = [0] * RANKS
        self._places: set[Place] = set()
        self.unserved: set[Alike] = set()
        """Whom nobody could serve when one of them last tried."""
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, place: Place) -> bool:
        return place in self._places

    def waiting(self, rank: int) -> int:
        """How many of this class."""
        return self._ranks[rank]

    def join(self, ask: Ask, now: float) -> Place:
        if not self._places:
            self.drain.busy(now, waits=True)
        self.drain.came(ask.rank, ask.work, now)
        place = Place(ask, next(self._numbers))
        self._places.add(place)
        pool = self._pools.get(ask.pool)
        if pool is None:
            pool = self._pools[ask.pool] = _Pool()
        pool.alike[ask.alike] += 1
        self._ranks[ask.rank] += 1
        self._rings[ask.rank].add(place)
        if ask.starves < inf:
            self._due.put(place, by_overdue(place))
        return place

    def leave(self, place: Place, now: float) -> None:
        """A place that is gone already changes nothing."""
        if place in self._places:
            self._rings[place.ask.rank].remove(place)
            pool = self._pools[place.ask.pool]
            if place.late:
                pool.late.remove(place)
            self._gone(place, pool, now)

    def serve(self, place: Place, now: float) -> None:
        """It has what it waited for: it leaves, and its tenant pays."""
        if place not in self._places:
            return
        pool, work = self._pools[place.ask.pool], place.ask.work
        self.unserved.discard(place.ask.alike)
        self._rings[place.ask.rank].serve(place)
        if place.late:
            pool.late.serve(place)
        if place.late and not pool.debt:
            pool.debt = int(work * (1 / LATE_SHARE - 1))
        else:
            pool.paid(work)
        self._gone(place, pool, now)

    def came(self, ask: Ask, now: float) -> bool:
        """A newcomer was served at once. Whether it is the turn of the overdue now."""
        self.drain.came(ask.rank, ask.work, now)
        pool = self._pools.get(ask.pool)
        return pool is not None and pool.paid(ask.work)

    def first(self, now: float) -> Place | None:
        """Of those that were not set aside."""
        self._ripen(now)
        for pool in self._pools.values():
            if not pool.debt and (place := pool.late.first()) is not None:
                return place
        for ring in self._rings:
            if (place := ring.first()) is not None:
                return place
        return None

    def set_aside(self, place: Place, now: float, *, full: bool) -> None:
        """It found no room (`full`), or there is nobody at this moment who might serve it: others come first until
        `restore`."""
        pool = self._pools[place.ask.pool]
        if not full:
            self.unserved.add(place.ask.alike)
        else:
            self.unserved.discard(place.ask.alike)
            if not pool.led:
                self._lead(place, pool, now)
        self.skip(place)

    def skip(self, place: Place) -> None:
        """Those of its tenant that are alike do not try until `restore`."""
        self._rings[place.ask.rank].hide(place)
        if place.late:
            self._pools[place.ask.pool].late.hide(place)

    def keeps(self, pool: object, rank: int) -> bool:
        """Whether what comes free for this pool and class is kept for somebody."""
        return self._pools[pool].keeps(rank)

    def is_kept(self, place: Place) -> bool:
        """Whether nobody of its pool may go before it."""
        return place in self._places and self._pools[place.ask.pool].kept is place

    def reserved(self, pool: object, rank: int) -> frozenset[str]:
        """The workers that are kept for requests of other pools."""
        kept = [
            other.kept.workers for key, other in self._pools.items() if key != pool and other.kept and other.keeps(rank)
        ]
        return frozenset().union(*kept)

    def alike(self) -> Iterator[tuple[object, Alike]]:
        """What waits: pools, and what their requests have in common."""
        return ((key, alike) for key, pool in self._pools.items() for alike in pool.alike)

    def restore(self) -> None:
        """All are back in their order."""
        for ring in self._rings:
            ring.show()
        for pool in self._pools.values():
            pool.led, pool.kept = False, None
            pool.late.show()

    def behind(self, ask: Ask, now: float, *, trying: bool = False) -> bool:
        """Whether a newcomer has to stand behind somebody of its pool: behind who is kept, behind the overdue where it
        is their turn, and behind those of its kind in its own and higher classes, not behind whom nobody may serve.
        Before others it may try: there may be room that is of no use to them; not while one of them is trying."""
        self._ripen(now)
        pool = self._pools.get(ask.pool)
        if pool is None:
            return False
        if pool.keeps(ask.rank) or (not pool.debt and self._any(pool.late_alike)):
            return True
        return ask.alike in pool.alike or self._any(
            alike for alike in pool.alike if alike.rank <= ask.rank and (trying or alike.kind == ask.kind)
        )

    def expected(self, ask: Ask, now: float) -> float | None:
        """Seconds until a newcomer is likely to be served: the work of those before it, and its own, at the rate at
        which work comes free. None where nothing is known of that."""
        rate = self.drain.rate(ask.rank, now)
        if not rate:
            return None
        higher = sum(ring.work for ring in self._rings[: ask.rank])
        return (higher + self._rings[ask.rank].before(ask) + ask.work) / rate

    def ahead(self, now: float) -> float | None:
        """Seconds that those who wait will take; None where nobody does, or nothing is known."""
        rate = self.drain.rate(0, now) if self._places else None
        return sum(ring.work for ring in self._rings) / rate if rate else None

    def _lead(self, place: Place, pool: _Pool, now: float) -> None:
        """The first of its pool found no room: it lets others pass, or it is kept."""
        pool.led = True
        if place.tried is None:
            place.tried = now
        its_turn = place.late and not pool.debt
        if its_turn or now - place.tried >= PASS_SECONDS or self._rings[place.ask.rank].owes(place):
            pool.kept, pool.kept_rank = place, 0 if its_turn else place.ask.rank

    def _ripen(self, now: float) -> None:
        while (place := self._due.first()) is not None and place.ask.starves <= now:
            self._due.take(place)
            place.late = True
            pool = self._pools[place.ask.pool]
            pool.late.add(place)
            pool.late_alike[place.ask.alike] += 1

    def _any(self, found: Iterable[Alike]) -> bool:
        return any(alike not in self.unserved for alike in found)

    def _gone(self, place: Place, pool: _Pool, now: float) -> None:
        self._places.discard(place)
        self._due.take(place)
        self._ranks[place.ask.rank] -= 1
        alike = place.ask.alike
        if place.late:
            _less(pool.late_alike, alike)
        if _less(pool.alike, alike):
            self.unserved.discard(alike)
        if pool.kept is place:
            pool.kept = None
        if pool.idle():
            del self._pools[place.ask.pool]
        if not self._places:
            self._pools.clear()
            self.drain.busy(now, waits=False)


def _less(counts: Counter[Alike], alike: Alike) -> bool:
    """Whether that was the last."""
    counts[alike] -= 1
    if not counts[alike]:
        del counts[alike]
    return alike not in counts
