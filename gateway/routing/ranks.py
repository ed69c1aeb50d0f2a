"""In which order the backends of an `objective` are tried: by the best candidate of each, live load included. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf

from gateway.model import Candidate, Group, Rule, UpstreamState
from gateway.routing.candidates import Candidates
from gateway.routing.scorers import PRICED, parts


def ranked(groups: Sequence[Group], rule: Rule, states: Mapping[str, UpstreamState]) -> tuple[Group, ...]:
    """`groups` by their best candidate, the full ones last; equals stay as they are. A bought API that comes before our
    own workers is `cheaper` where it is its price that brought it there."""
    order = sorted(groups, key=lambda group: standing(group, states), reverse=True)
    first = order[0]
    beaten = next((group for group in order[1:] if group.outcome == "local"), None)
    if first.outcome == "managed" and beaten is not None and thrift(first, rule) > thrift(beaten, rule):
        order[0] = replace(first, reason="cheaper")
    return tuple(order)


def standing(group: Group, states: Mapping[str, UpstreamState]) -> float:
    """The highest score of its candidates with room, as the pick would see them on this snapshot; else -inf."""
    return max((score_now(one, states, group.load_weight) for one in group.candidates), default=-inf)


def score_now(one: Candidate, states: Mapping[str, UpstreamState], load_weight: float) -> float:
    state = states.get(one.upstream.name)
    leased, count = (0, 0) if state is None else (state.leased, state.inflight)
    full = leased + one.outside + one.work
    if full > one.limit or count >= one.seats:
        return -inf
    return one.score + load_weight * (1 - full / one.limit)


def thrift(group: Group, rule: Rule) -> float:
    """What price alone gives its best candidate, weighted."""
    priced = [(name, weight) for name, weight in rule.scorers if name in PRICED]
    made = group.candidates
    if not isinstance(made, Candidates) or made.scene is None:
        return 0.0
    return max(sum(weight * parts(priced, made.scene, state)[name] for name, weight in priced) for state in made.states)
