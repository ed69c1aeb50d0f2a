"""The line for one backend in one replica: whose turn it is. Pure, O(log n) for each step but `before`.

1. Who waited longer than its rule's `starve_after`, the longest overdue first.
2. The highest class that somebody waits in; in it the tenants by deficit round robin in work (`ring.py`); of one tenant
   the earliest deadline.

A first that finds no room lets a few others try, because it may ask for more than they do or for other workers; but not
for longer than PASS_SECONDS, and not at all once it is overdue: then nobody goes before it, and what comes free is kept
for it. So nobody waits longer than `starve_after` and the time in which the work of those that were overdue before it
comes free: who comes later is overdue later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import count
from math import inf

from gateway.waiting.drain import Drain
from gateway.waiting.heap import Heap
from gateway.waiting.ring import Ask, Place, Ring

RANKS = 3
PASS_SECONDS = 2.0
"""For so long others may go before a first that finds no room: longer than a worker needs to end some of its requests,
short beside the time that a request may wait."""


class Line:
    def __init__(self) -> None:
        self.drain = Drain()
        self._rings = tuple(Ring() for _ in range(RANKS))
        self._overdue: Heap[Place] = Heap()
        self._kinds: Counter[tuple[int, object]] = Counter()
        self._ranks = [0] * RANKS
        self._places: set[Place] = set()
        self._aside: list[Place] = []
        self._aside_due = inf
        """When the first of those that found no room is overdue."""
        self._led = False
        """Somebody found no room since `restore`: that one is the first, who comes after it passes it."""
        self.kept: Place | None = None
        """Before whom nobody goes."""
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
        self._kinds[ask.rank, ask.kind] += 1
        self._ranks[ask.rank] += 1
        self._rings[ask.rank].add(place)
        self._overdue.put(place, (ask.starves, place.number))
        return place

    def leave(self, place: Place, now: float) -> None:
        """A place that is gone already changes nothing."""
        if place in self._places:
            self._rings[place.ask.rank].remove(place)
            self._gone(place, now)

    def serve(self, place: Place, now: float) -> None:
        """It has what it waited for: it leaves, and its tenant pays."""
        if place in self._places:
            self._rings[place.ask.rank].serve(place)
            self._gone(place, now)

    def first(self, now: float) -> Place | None:
        """Of those that were not set aside."""
        overdue = self._overdue.first()
        if overdue is not None and overdue.ask.starves <= now:
            return overdue
        for ring in self._rings:
            if (place := ring.first()) is not None:
                return place
        return None

    def set_aside(self, place: Place, now: float, *, full: bool) -> bool:
        """It found no room (`full`), or there is nobody at this moment who might serve it: others come first until
        `restore`. False where it is kept: nobody may go before it."""
        if full and not self._led:
            self._led = True
            if place.tried is None:
                place.tried = now
            if place.ask.starves <= now or now - place.tried >= PASS_SECONDS:
                self.kept = place
                return False
        if full:
            self._aside_due = min(self._aside_due, place.ask.starves)
        self._rings[place.ask.rank].hide(place)
        self._overdue.take(place)
        self._aside.append(place)
        return True

    def has_other(self, kinds: Collection[object]) -> bool:
        """Whether somebody waits whose kind is none of these."""
        return any(kind not in kinds for _, kind in self._kinds)

    def restore(self) -> None:
        """All are back in their order."""
        self._led, self.kept, self._aside_due = False, None, inf
        for place in self._aside:
            if place in self._places:
                self._rings[place.ask.rank].show(place)
                self._overdue.put(place, (place.ask.starves, place.number))
        self._aside.clear()

    def behind(self, rank: int, kind: object, now: float) -> bool:
        """Whether a newcomer has to stand behind somebody: behind who is overdue or kept, and behind those of its
        kind in its own and higher classes. Before others it may try: there may be room that is of no use to them. With
        `kind` None it may not."""
        if not self._places:
            return False
        overdue = self._overdue.first()
        if now >= self._aside_due or (overdue is not None and overdue.ask.starves <= now):
            return True
        if self.kept is not None and self.kept.ask.rank <= rank:
            return True
        if kind is None:
            return any(self._ranks[: rank + 1])
        return any(self._kinds[higher, kind] > 0 for higher in range(rank + 1))

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

    def _gone(self, place: Place, now: float) -> None:
        self._places.discard(place)
        self._overdue.take(place)
        alike = (place.ask.rank, place.ask.kind)
        self._kinds[alike] -= 1
        if not self._kinds[alike]:
            del self._kinds[alike]
        self._ranks[place.ask.rank] -= 1
        if self.kept is place:
            self.kept = None
        if not self._places:
            self.drain.busy(now, waits=False)
