"""Deficit round robin between the tenants of one class: each round gives each of them a quantum of work. Pure.

M. Shreedhar, G. Varghese, "Efficient Fair Queueing Using Deficit Round Robin" (1996). There rounds are walked, one
tenant after the other; here the round in which a tenant can pay for its first request is worked out, and a heap finds
the next one: O(log n) however small the quantum is beside a request. So it may be small, and the order is a fine one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from gateway.waiting.heap import Heap, Key

QUANTUM = 100_000
"""GPU-us for a tenant of weight 1 in each round: about a short chat answer (a tenth of a GPU-second)."""


class Alike(NamedTuple):
    """What requests have in common of which one try tells for all."""

    rule: str
    rank: int
    kind: object
    barred: bool


class Ask(NamedTuple):
    """One request, as a line sees it. Moments are monotonic seconds."""

    rank: int
    """Of its class; 0 goes first."""
    tenant: str
    weight: float = 1.0
    work: int = QUANTUM
    """GPU-us: what it costs its tenant."""
    deadline: float = float("inf")
    """When it stops waiting."""
    starves: float = float("inf")
    """From when on it is overdue."""
    rule: str = ""
    kind: object = None
    """What says whether there is room for it, in which requests of one line differ: its model, where its data may go,
    about how much it asks."""
    pool: object = None
    """What says who may serve it: requests of one pool compete for the same workers, whatever their size."""
    barred: bool = False
    """Some workers failed it, and are not asked again: what it finds says nothing about others."""
    shed: bool = True
    """Whether its place may be taken away for a higher class."""

    @property
    def alike(self) -> Alike:
        return Alike(self.rule, self.rank, self.kind, self.barred)


@dataclass(slots=True, eq=False)
class Place:
    """One request's place in one line. `number` grows with every place of the line."""

    ask: Ask
    number: int
    tried: float | None = None
    """When it first was the first of its pool and found no room."""
    late: bool = False
    """It is overdue."""
    workers: frozenset[str] = frozenset()
    """Those that it asked when it last found no room."""


def by_deadline(place: Place) -> Key:
    return place.ask.deadline, place.number


def by_overdue(place: Place) -> Key:
    return place.ask.starves, place.number


@dataclass(slots=True, eq=False)
class _Flow:
    """One tenant. `deficit` is what it may spend, the quantum of round `round` included."""

    quantum: int
    seat: int
    """Its place in each round."""
    round: int
    deficit: int
    bunches: dict[Alike, Heap[Place]] = field(default_factory=dict)
    shown: Heap[Alike] = field(default_factory=Heap)
    """The bunches that are not hidden, by their first."""
    hidden: set[Alike] = field(default_factory=set)
    size: int = 0
    """Places, those that are hidden too."""
    work: int = 0
    """Of all of them."""

    def first(self) -> Place | None:
        alike = self.shown.first()
        return None if alike is None else self.bunches[alike].first()

    def sort(self, alike: Alike, order: Callable[[Place], Key]) -> None:
        """One of that bunch came, or went, or it was hidden or shown."""
        first = self.bunches[alike].first()
        if first is None:
            del self.bunches[alike]
            self.hidden.discard(alike)
        if first is None or alike in self.hidden:
            self.shown.take(alike)
        else:
            self.shown.put(alike, order(first))

    def affordable(self) -> int | None:
        """The first round in which it can pay for its first request; None where there is none."""
        first = self.first()
        if first is None:
            return None
        short = first.ask.work - self.deficit
        return self.round if short <= 0 else self.round + -(-short // self.quantum)


class Ring:
    """Tenants by deficit; of one tenant the first by `order`. Places that are alike are hidden together: however many
    of one tenant wait for what is full, it costs one step to pass them."""

    __slots__ = ("_flows", "_hiding", "_next", "_order", "_seats", "round", "work")

    def __init__(self, order: Callable[[Place], Key] = by_deadline) -> None:
        self.round = self.work = 0
        self._order = order
        self._flows: dict[str, _Flow] = {}
        self._hiding: set[str] = set()
        """Tenants of whom something is hidden."""
        self._next: Heap[_Flow] = Heap()
        self._seats = count()

    def __contains__(self, place: Place) -> bool:
        flow = self._flows.get(place.ask.tenant)
        return flow is not None and place in flow.bunches.get(place.ask.alike, ())

    def add(self, place: Place) -> None:
        ask = place.ask
        flow, quantum = self._flows.get(ask.tenant), max(1, int(QUANTUM * ask.weight))
        if flow is None:
            # Its first turn is in the next round: who comes anew each time has no more turns than who stays.
            first = self.round + 1 if self._flows else self.round
            flow = self._flows[ask.tenant] = _Flow(quantum, next(self._seats), first, quantum)
        flow.quantum = quantum
        flow.size += 1
        flow.work += ask.work
        self.work += ask.work
        alike = ask.alike
        if alike not in flow.bunches:
            flow.bunches[alike] = Heap()
        flow.bunches[alike].put(place, self._order(place))
        self._sort(flow, alike)

    def hide(self, place: Place) -> None:
        """Those of its tenant that are alike keep their places, and are not first until `show`."""
        flow, alike = self._flows[place.ask.tenant], place.ask.alike
        flow.hidden.add(alike)
        self._hiding.add(place.ask.tenant)
        self._sort(flow, alike)

    def show(self) -> None:
        """All take part again."""
        for tenant in self._hiding & self._flows.keys():
            flow = self._flows[tenant]
            bunches = tuple(flow.hidden)
            flow.hidden.clear()
            for alike in bunches:
                self._sort(flow, alike)
        self._hiding.clear()

    def first(self) -> Place | None:
        flow = self._next.first()
        return None if flow is None else flow.first()

    def serve(self, place: Place) -> None:
        """Its tenant pays for it. Whoever is served out of turn pays all the same, and may owe."""
        flow = self._flows[place.ask.tenant]
        due = flow.affordable()
        if due is not None and place is self.first():
            self.round = max(self.round, due)
        if self.round > flow.round:
            flow.deficit += (self.round - flow.round) * flow.quantum
            flow.round = self.round
        flow.deficit -= place.ask.work
        self.remove(place)

    def remove(self, place: Place) -> None:
        flow = self._flows[place.ask.tenant]
        flow.bunches[place.ask.alike].take(place)
        flow.size -= 1
        flow.work -= place.ask.work
        self.work -= place.ask.work
        self._sort(flow, place.ask.alike)
        if not flow.size:
            del self._flows[place.ask.tenant]

    def owes(self, place: Place) -> bool:
        """Whether its tenant could pay for it twice: others had so much before it that passing it costs the tenant its
        share."""
        flow = self._flows[place.ask.tenant]
        deficit = flow.deficit + max(0, self.round - flow.round) * flow.quantum
        return deficit >= 2 * max(place.ask.work, QUANTUM)

    def before(self, ask: Ask) -> float:
        """Work of those of this class that go before a newcomer: all of its own tenant, and what the others may have
        meanwhile."""
        own = self._flows.get(ask.tenant)
        mine = (own.work if own is not None else 0) + ask.work
        quantum = max(1, int(QUANTUM * ask.weight))
        others = (flow for flow in self._flows.values() if flow is not own)
        return mine - ask.work + sum(min(flow.work, mine * flow.quantum / quantum) for flow in others)

    def _sort(self, flow: _Flow, alike: Alike) -> None:
        flow.sort(alike, self._order)
        due = flow.affordable()
        if due is None:
            self._next.take(flow)
        else:
            self._next.put(flow, (max(due, self.round), flow.seat))
