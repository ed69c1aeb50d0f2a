"""How long a request would wait for room at home, as far as the loads of this instant tell. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from gateway.model import Candidate, Decision, GenRequest, Group
from gateway.rehearsal.world import World
from gateway.routing.forecast import wait_at


class Room(NamedTuple):
    """Where there will be room first, and in how many seconds."""

    seconds: float
    group: Group
    one: Candidate


def soonest(decision: Decision, world: World) -> Room | None:
    """Behind those who wait already. None where nobody can tell: at home there are only bought APIs, whose queue nobody
    sees, or nobody that the rule's filters let pass."""
    rooms = [
        Room(seconds_at(one, world), group, one)
        for group in decision.primary
        for one in group.candidates
        if one.upstream.kind == "local"
    ]
    if not rooms:
        return None
    first = min(rooms, key=lambda room: room.seconds)
    return first._replace(seconds=first.seconds + ahead(decision, world))


def seconds_at(one: Candidate, world: World) -> float:
    state = replace(world.state(one.upstream.name), outside=one.outside)
    return wait_at(state, one.work, one.limit)


def ahead(decision: Decision, world: World) -> float:
    """Seconds that those take who stand in line already; 0 where nobody does."""
    return world.snapshot.lines.get(decision.primary[0].backend, 0.0) if decision.primary else 0.0


def patience(seconds: float, asked: GenRequest) -> float:
    """How long it waits of what its rule allows: its own deadline may end that."""
    return seconds if asked.deadline is None else min(seconds, asked.deadline)
