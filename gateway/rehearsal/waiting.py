"""How long a request would wait for room at home, as far as the loads of this instant tell. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from gateway.model import Candidate, Decision, GenRequest, Group, Rule
from gateway.rehearsal.world import World, decided
from gateway.routing.below import seconds_until
from gateway.routing.forecast import wait_at
from gateway.routing.plan import plan_of

Kept = tuple[str, str | None]
"""Backend, and version of the model: what a plan has a pool for."""


class Room(NamedTuple):
    """Where there will be room first, and in how many seconds."""

    seconds: float
    group: Group
    one: Candidate


def soonest(decision: Decision, asked: GenRequest, world: World) -> Room | None:
    """Behind those who wait already. None where nobody can tell: at home there are only bought APIs, whose queue nobody
    sees, or nobody that the rule's filters let pass."""
    home, held = at_home(decision, asked, world)
    rooms = [
        Room(max(seconds_at(one, world), held.get((group.backend, one.served.version), 0.0)), group, one)
        for group in home
        for one in group.candidates
        if one.upstream.kind == "local"
    ]
    if not rooms:
        return None
    first = min(rooms, key=lambda room: room.seconds)
    return first._replace(seconds=first.seconds + ahead(decision, world))


def at_home(decision: Decision, asked: GenRequest, world: World) -> tuple[tuple[Group, ...], Mapping[Kept, float]]:
    """The groups at home, those too that are yet too full for the request's class (`below`), and how long they are."""
    below = decision.rule.classes[asked.priority].below
    if below >= 1:
        return decision.primary, {}
    there = unheld(asked, decision.rule, world)
    pools = plan_of(asked, there.board()).home
    held = {(pool.backend, pool.version): seconds_until(pool.states, below) for pool in pools}
    return decided(there, asked).primary, held


def unheld(asked: GenRequest, rule: Rule, world: World) -> World:
    """The same, but that `rule` lets the request's class begin however full its backends are."""
    free = replace(rule.classes[asked.priority], below=1.0)
    open_rule = replace(rule, classes={**rule.classes, asked.priority: free})
    rules = tuple(open_rule if one is rule else one for one in world.policy.rules)
    return world.under(replace(world.policy, rules=rules))


def seconds_at(one: Candidate, world: World) -> float:
    state = replace(world.state(one.upstream.name), outside=one.outside)
    return wait_at(state, one.work, one.limit)


def ahead(decision: Decision, world: World) -> float:
    """Seconds that those take who stand in line already; 0 where nobody does."""
    return world.snapshot.lines.get(decision.primary[0].backend, 0.0) if decision.primary else 0.0


def patience(seconds: float, asked: GenRequest) -> float:
    """How long it waits of what its rule allows: its own deadline may end that."""
    return seconds if asked.deadline is None else min(seconds, asked.deadline)
