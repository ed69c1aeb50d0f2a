"""Deficit round robin between the tenants of one class: each round gives each of them a quantum of work. Pure.

M. Shreedhar, G. Varghese, "Efficient Fair Queueing Using Deficit Round Robin" (1996). There rounds are walked, one
tenant after the other; here the round in which a tenant can pay for its first request is worked out, and a heap finds
the next one: O(log n) however small the quantum is beside a request. So it may be small, and the order is a fine one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from gateway.waiting.heap import Heap

QUANTUM = 100_000
"""GPU-us for a tenant of weight 1 in each round: about a short chat answer (a tenth of a GPU-second)."""


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
    """From when on it goes before every class."""
    rule: str = ""
    kind: object = None
    """What says whether there is room for it, in which requests of one line differ: its model, where its data may go,
    about how much it asks."""
    shed: bool = True
    """Whether its place may be taken away for a higher class."""


@dataclass(slots=True, eq=False)
class Place:
    """One request's place in one line. `number` grows with every place of the line."""

    ask: Ask
    number: int
    tried: float | None = None
    """When it first was the first of all and found no room."""


@dataclass(slots=True, eq=False)
class _Flow:
    """One tenant. `deficit` is what it may spend, the quantum of round `round` included."""

    quantum: int
    seat: int
    """Its place in each round."""
    round: int
    deficit: int
    places: Heap[Place] = field(default_factory=Heap)
    size: int = 0
    """Places, those that are hidden too."""
    work: int = 0
    """Of all of them."""

    def affordable(self) -> int | None:
        """The first round in which it can pay for its first request; None where there is none."""
        first = self.places.first()
        if first is None:
            return None
        short = first.ask.work - self.deficit
        return self.round if short <= 0 else self.round + -(-short // self.quantum)


class Ring:
    """The waiters of one class. Of one tenant the earliest deadline is first."""

    __slots__ = ("_flows", "_next", "_seats", "round", "work")

    def __init__(self) -> None:
        self.round = self.work = 0
        self._flows: dict[str, _Flow] = {}
        self._next: Heap[_Flow] = Heap()
        self._seats = count()

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
        self.show(place)

    def show(self, place: Place) -> None:
        """It takes part (again)."""
        flow = self._flows[place.ask.tenant]
        flow.places.put(place, (place.ask.deadline, place.number))
        self._sort(flow)

    def hide(self, place: Place) -> None:
        """It keeps its place, and is not first until it is shown."""
        flow = self._flows[place.ask.tenant]
        flow.places.take(place)
        self._sort(flow)

    def first(self) -> Place | None:
        flow = self._next.first()
        return None if flow is None else flow.places.first()

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
        flow.places.take(place)
        flow.size -= 1
        flow.work -= place.ask.work
        self.work -= place.ask.work
        self._sort(flow)
        if not flow.size:
            del self._flows[place.ask.tenant]

    def before(self, ask: Ask) -> float:
        """Work of those of this class that go before a newcomer: all of its own tenant, and what the others may have
        meanwhile."""
        own = self._flows.get(ask.tenant)
        mine = (own.work if own is not None else 0) + ask.work
        quantum = max(1, int(QUANTUM * ask.weight))
        others = (flow for flow in self._flows.values() if flow is not own)
        return mine - ask.work + sum(min(flow.work, mine * flow.quantum / quantum) for flow in others)

    def _sort(self, flow: _Flow) -> None:
        due = flow.affordable()
        if due is None:
            self._next.take(flow)
        else:
            self._next.put(flow, (max(due, self.round), flow.seat))
