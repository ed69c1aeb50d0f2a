"""In which order the backends of an `objective` are tried: by the best candidate of each. Pure.

Live load is left out: it spreads requests over the workers of one backend. Between backends it would say that a bought
API, which is never full, is better than what has room at home; and as the snapshot has it, it is up to a quarter of a
second old, in which a home that was full for a moment would lose all that comes. What load means for time and money is
in `wait`, `ttft` and `price`; whether there is room the pick finds out, and goes on to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.model import Group, Rule
from gateway.routing.candidates import Candidates
from gateway.routing.scorers import PRICED, parts


def ranked(groups: Sequence[Group], rule: Rule) -> tuple[Group, ...]:
    """`groups`, each of at least one candidate, by the score of their best; equals stay as they are. A bought API that
    comes before our own workers is `cheaper` where its price scores better than theirs."""
    order = sorted(groups, key=standing, reverse=True)
    first = order[0]
    beaten = next((group for group in order[1:] if group.outcome == "local"), None)
    if first.outcome == "managed" and beaten is not None and thrift(first, rule) > thrift(beaten, rule):
        order[0] = replace(first, reason="cheaper")
    return tuple(order)


def standing(group: Group) -> float:
    return max(one.score for one in group.candidates)


def thrift(group: Group, rule: Rule) -> float:
    """What price alone gives its best candidate, weighted."""
    priced = [(name, weight) for name, weight in rule.scorers if name in PRICED]
    made = group.candidates
    if not isinstance(made, Candidates) or made.scene is None:
        return 0.0
    return max(sum(weight * parts(priced, made.scene, state)[name] for name, weight in priced) for state in made.states)
