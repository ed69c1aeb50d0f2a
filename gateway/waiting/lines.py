"""Who waits for which backend in this process, and who is called when room may have come free. On asyncio.

Nobody polls. At each backend one waiter at a time has the turn to try; whoever found room, found none or left passes it
on, so one freed place makes one waiter try, and one more to find that there is nothing left. A turn begins when a lease
of this process was given back or shrunk, another replica says that one of its was, a snapshot shows more room than the
one before, somebody stands first in a line that was empty, and, because news can be lost, every SAFETY_SECONDS.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count

from gateway.model import Snapshot
from gateway.waiting.line import RANKS, Line
from gateway.waiting.news import Room, assumed_rate, more, rooms
from gateway.waiting.ring import Alike, Ask, Place

MOST_TRIES = 4
"""Waiters that try in vain before a turn ends: the first, and those that might fit where it does not."""
MOST_SKIPS = 16
"""Those that are alike to one that tried in vain do not try. For each that may, so many tenants with such ones are
passed over to find others. As many of those whom nobody could serve when they last tried do as of the others."""
SAFETY_SECONDS, SAFETY_TRIES = 1.0, 64
"""How often all is looked at without any news, and how many may try then."""
RETRY_AFTER_SECONDS = (1, 60)
RETRY_AFTER_UNKNOWN_SECONDS = 5
"""Said before anything was measured or assumed: soon, but not at once."""


class Found(Enum):
    """What a turn ended with: room, none, or nobody at this moment who might serve it."""

    ROOM = auto()
    FULL = auto()
    NOBODY = auto()


@dataclass(slots=True, eq=False)
class Waiter:
    """One request that waits, in the lines of all backends that may serve it: whichever calls first serves it."""

    ask: Ask
    number: int
    places: dict[str, Place] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    """The backends at which it has the turn; each is to be answered by `Lines.answer`."""
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False
    """Its place was taken away for a higher class. It wakes to find so."""


@dataclass(slots=True)
class _Rule:
    """The waiters of one rule."""

    size: int = 0
    sheddable: tuple[dict[int, Waiter], ...] = field(default_factory=lambda: tuple({} for _ in range(RANKS)))
    """By class: number -> waiter that may be turned away, the last to come at the end."""


@dataclass(slots=True)
class _Desk:
    """One backend's line, and who has the turn there."""

    line: Line = field(default_factory=Line)
    waiters: dict[Place, Waiter] = field(default_factory=dict)
    trying: Place | None = None
    stirred: bool = False
    """There was news during the turn."""
    tries: int = 0
    scouts: int = 0
    """Tries for those whom nobody could serve when one of them last tried."""
    skips: int = 0
    wakes: int = 0
    """How often it was said that there may be room."""
    timer: asyncio.TimerHandle | None = None
    full: set[Alike] = field(default_factory=set)
    """Those that found no room in this turn, whatever their class: lower ones have no more than higher ones."""
    nobody: set[Alike] = field(default_factory=set)
    """Those for whom there was nobody in this turn."""
    room: Room | None = None
    """As of the last snapshot."""


class Lines:
    """`clock` is monotonic seconds. `on_wait(backend, waits)` hears when somebody waits there, and when nobody does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._desks: dict[str, _Desk] = {}
        self._rules: dict[str, _Rule] = {}
        self._numbers = count()
        self._degraded = False
        self.on_wait: Callable[[str, bool], None] = lambda _backend, _waits: None

    def line(self, backend: str) -> Line:
        return self._desk(backend).line

    def waiting(self) -> int:
        """All that wait here, each counted once."""
        return sum(rule.size for rule in self._rules.values())

    def size(self, backend: str) -> int:
        desk = self._desks.get(backend)
        return 0 if desk is None else len(desk.line)

    def waiters(self, backend: str) -> Iterable[Waiter]:
        """Those in the line there, in no order."""
        return tuple(self._desk(backend).waiters.values())

    def behind(self, backend: str, ask: Callable[[], Ask]) -> bool:
        """Whether a newcomer has to stand behind somebody there. Not while somebody of its pool tries may it pass."""
        desk = self._desks.get(backend)
        if desk is None or not len(desk.line):
            return False
        asked = ask()
        trying = desk.trying is not None and desk.trying.ask.pool == asked.pool
        return desk.line.behind(asked, self._clock(), trying=trying)

    def reserved(self, backend: str, pool: object, rank: int) -> frozenset[str]:
        """The workers there that are kept for somebody of another pool."""
        desk = self._desks.get(backend)
        return frozenset() if desk is None or not len(desk.line) else desk.line.reserved(pool, rank)

    def wakes(self, backend: str) -> int:
        """How often it was said, since the first request came, that there may be room there."""
        desk = self._desks.get(backend)
        return 0 if desk is None else desk.wakes

    def join(
        self, ask: Ask, backends: Mapping[str, int], most: int, tried: Mapping[str, int] | None = None
    ) -> Waiter | None:
        """A place in the line of each backend (-> its work there, GPU-us), or None where `most` of its rule wait: then
        the last to come of the rule's lowest class that may be turned away for it is, if there is one. `tried`: where
        it tried before, and `wakes` as it began to."""
        rule = self._rules.setdefault(ask.rule, _Rule())
        if rule.size >= most and not self._make_room(rule, ask.rank):
            return None
        waiter = Waiter(ask, next(self._numbers))
        rule.size += 1
        if ask.shed:
            rule.sheddable[ask.rank][waiter.number] = waiter
        before = tried or {}
        for backend, work in backends.items():
            self.stand(waiter, backend, work, missed=before.get(backend, self.wakes(backend)) != self.wakes(backend))
        return waiter

    def stand(self, waiter: Waiter, backend: str, work: int, *, missed: bool = True) -> None:
        """In this backend's line too, as far back as if it had come now; what waited longest waited so everywhere.
        `missed`: something may have come free of which only those were told who stood there already."""
        if waiter.gone or backend in waiter.places:
            return
        desk, now = self._desk(backend), self._clock()
        alone = not len(desk.line)
        place = waiter.places[backend] = desk.line.join(waiter.ask._replace(work=work), now)
        desk.waiters[place] = waiter
        if alone:  # what came free before it stood there was told to nobody
            self.on_wait(backend, True)
            self._mind(backend, desk)
        if alone or missed:
            self.wake(backend)

    def leave(self, waiter: Waiter, served: str | None = None) -> None:
        """Out of all lines; `served` names the backend in whose line it pays. Its turns are passed on."""
        rule = self._rules[waiter.ask.rule]
        if not waiter.gone:
            waiter.gone = True
            rule.size -= 1
            rule.sheddable[waiter.ask.rank].pop(waiter.number, None)
        for backend in list(waiter.places):
            self._quit(waiter, backend, served=backend == served)

    def answer(self, waiter: Waiter, backend: str, found: Found, workers: frozenset[str] | None = None) -> None:
        """How its turn there ended, where it stays; `workers`: those that it asked."""
        desk, place = self._desks[backend], waiter.places.get(backend)
        waiter.called.discard(backend)
        if place is None or desk.trying is not place:
            return
        desk.trying = None
        if desk.stirred:
            self._begin(backend, desk, MOST_TRIES)
            return
        if found is Found.FULL:
            desk.tries -= 1
            desk.full.add(place.ask.alike._replace(rank=0))
            place.workers = workers or frozenset()
        else:
            desk.scouts -= 1
            desk.nobody.add(place.ask.alike)
        desk.line.set_aside(place, self._clock(), full=found is Found.FULL)
        self._call(backend, desk)

    def wake(self, backend: str, tries: int = MOST_TRIES) -> None:
        """There may be room."""
        desk = self._desks.get(backend)
        if desk is None:
            return
        desk.wakes += 1
        if desk.trying is not None:
            desk.stirred = True
        elif len(desk.line):
            self._begin(backend, desk, tries)

    def wake_all(self) -> None:
        for backend in list(self._desks):
            self.wake(backend)

    def notice(self, snapshot: Snapshot) -> None:
        """A new snapshot: who waits where it shows more room than the one before is called."""
        seen, changed = rooms(snapshot, self._desks), snapshot.degraded is not self._degraded
        self._degraded = snapshot.degraded
        for backend, desk in self._desks.items():
            before, now = desk.room, seen.get(backend, Room())
            desk.room, desk.line.drain.prior = now, assumed_rate(now, snapshot.replicas)
            if changed or (before is not None and more(before, now)):
                self.wake(backend)

    def freed(self, backend: str, work: int) -> None:
        """So much was given back, GPU-us."""
        self.line(backend).drain.freed(work, self._clock())

    def came(self, backend: str, ask: Ask) -> None:
        """A request was served there without waiting."""
        if self.line(backend).came(ask, self._clock()):
            self.wake(backend)

    def ahead(self, now: float) -> dict[str, float]:
        """Backend -> seconds that those who wait for it will take, where that is known; `now` is of the clock."""
        seconds = {backend: desk.line.ahead(now) for backend, desk in self._desks.items()}
        return {backend: ahead for backend, ahead in seconds.items() if ahead is not None}

    def expected(self, ask: Ask, backends: Iterable[str]) -> float | None:
        """Seconds until a newcomer is likely to find room at the first of the backends that has some."""
        now = self._clock()
        known = [seconds for one in backends if (seconds := self.line(one).expected(ask, now)) is not None]
        return min(known, default=None)

    def retry_after(self, ask: Ask, backends: Iterable[str]) -> int:
        """The same in whole seconds, within what a client can be told."""
        low, high = RETRY_AFTER_SECONDS
        seconds = self.expected(ask, backends)
        return RETRY_AFTER_UNKNOWN_SECONDS if seconds is None else math.ceil(min(high, max(low, seconds)))

    def _desk(self, backend: str) -> _Desk:
        desk = self._desks.get(backend)
        if desk is None:
            desk = self._desks[backend] = _Desk()
        return desk

    def _make_room(self, rule: _Rule, rank: int) -> bool:
        lowest = next((waiters for waiters in reversed(rule.sheddable[rank + 1 :]) if waiters), None)
        if lowest is None:
            return False
        victim = next(reversed(lowest.values()))
        self.leave(victim)
        victim.turn.set()
        return True

    def _quit(self, waiter: Waiter, backend: str, *, served: bool) -> None:
        desk, place, now = self._desks[backend], waiter.places.pop(backend), self._clock()
        waiter.called.discard(backend)
        kept = desk.line.is_kept(place)
        (desk.line.serve if served else desk.line.leave)(place, now)
        del desk.waiters[place]
        if desk.trying is place:
            desk.trying = None
            self._begin(backend, desk, MOST_TRIES)
        elif kept:
            self.wake(backend)
        if not len(desk.line):
            self.on_wait(backend, False)
            if desk.timer is not None:
                desk.timer.cancel()
                desk.timer = None

    def _begin(self, backend: str, desk: _Desk, tries: int) -> None:
        desk.stirred, desk.tries, desk.scouts = False, tries, tries
        desk.skips = MOST_SKIPS * tries
        desk.full.clear()
        desk.nobody.clear()
        desk.line.restore()
        self._call(backend, desk)

    def _call(self, backend: str, desk: _Desk) -> None:
        desk.trying = place = self._next(desk)
        if place is not None:
            waiter = desk.waiters[place]
            waiter.called.add(backend)
            waiter.turn.set()

    def _next(self, desk: _Desk) -> Place | None:
        line, now = desk.line, self._clock()
        while desk.skips > 0 and any(_may_try(desk, *one) for one in line.alike()):
            place = line.first(now)
            if place is None or _may_try(desk, place.ask.pool, place.ask.alike):
                return place
            desk.skips -= 1
            line.skip(place)
        return None

    def _mind(self, backend: str, desk: _Desk) -> None:
        def look() -> None:
            self._mind(backend, desk)
            self.wake(backend, SAFETY_TRIES)

        if desk.timer is not None:
            desk.timer.cancel()
        desk.timer = asyncio.get_running_loop().call_later(SAFETY_SECONDS, look)


def _may_try(desk: _Desk, pool: object, alike: Alike) -> bool:
    """Whether it is not known already that it would be in vain."""
    if alike in desk.nobody or alike._replace(rank=0) in desk.full or desk.line.keeps(pool, alike.rank):
        return False
    return (desk.scouts if alike in desk.line.unserved else desk.tries) > 0
