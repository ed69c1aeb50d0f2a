"""Which rule a request meets, and what kept it from each earlier one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gateway.errors import GatewayError
from gateway.model import Demand, GenRequest, Match, Rule
from gateway.rehearsal.words import condition_words, conditions
from gateway.rehearsal.world import World
from gateway.routing.estimate import output_tokens, prompt_tokens
from gateway.routing.plan import plan_of
from gateway.routing.residency import strictest


@dataclass(frozen=True, slots=True)
class Missed:
    """A rule that did not match: its first condition that does not hold, what it wants and what there is."""

    rule: str
    condition: str
    wants: str
    found: str

    def __str__(self) -> str:
        if self.condition == "when":
            return f"{self.rule}: {' '.join(self.wants.split())} does not hold"
        return f"{self.rule}: {self.condition} is {self.found}, not {self.wants}"


def missed(world: World, asked: GenRequest, until: str | None) -> tuple[Missed, ...]:
    """Of all rules before the one named `until`, or of all rules; each asked by the functions that decide."""
    found = []
    for rule in world.policy.rules:
        if rule.name == until:
            break
        for name, value in conditions(rule.match).items():
            if not holds(world, asked, rule, name):
                found.append(Missed(rule.name, name, condition_words(name, value), have(world, asked, name)))
                break
    return tuple(found)


def holds(world: World, asked: GenRequest, rule: Rule, condition: str) -> bool:
    """Whether one condition of `rule`, taken alone, lets the request pass."""
    alone = replace(Match(), **{condition: getattr(rule.match, condition)})
    probe = replace(rule, match=alone)
    policy = replace(world.policy, rules=(probe,))
    try:
        return plan_of(asked, world.under(policy).board()).rule is probe
    except GatewayError:
        return False


def sources(world: World, asked: GenRequest, rule: Rule | None) -> dict[str, Demand]:
    """Who demands what: the caller (by header, by metadata), the tenant, the model, the rule. Who demands nothing is
    absent."""
    model = world.policy.models.get(asked.model)
    said = {
        " and ".join(asked.demanded_by) or "header": asked.residency,
        "tenant": asked.tenant.residency,
        "model": Demand() if model is None else model.residency,
        "rule": Demand() if rule is None else rule.residency,
    }
    return {name: demand for name, demand in said.items() if demand}


def have(world: World, asked: GenRequest, condition: str) -> str:
    """What the request has where a rule's condition looks; `when` itself is only true or false."""
    find = _HAVE.get(condition)
    return "false" if find is None else find(world, asked)


def _demand(world: World, asked: GenRequest) -> str:
    return ", ".join(strictest(*sources(world, asked, None).values()).words()) or "none"


def _modality(world: World, asked: GenRequest) -> str:
    model = world.policy.models.get(asked.model)
    return "unknown" if model is None else model.modality


def _moment(world: World, _: GenRequest) -> str:
    return datetime.fromtimestamp(world.snapshot.at, UTC).strftime("%a %H:%M UTC").lower()


_HAVE: Mapping[str, Callable[[World, GenRequest], str]] = {
    "model": lambda _, asked: asked.model,
    "modality": _modality,
    "endpoint": lambda _, asked: asked.endpoint,
    "tenant": lambda _, asked: asked.tenant.name,
    "tags": lambda _, asked: ", ".join(sorted(asked.tenant.tags)) or "none",
    "residency": _demand,
    "priority": lambda _, asked: asked.priority,
    "stream": lambda _, asked: "yes" if asked.stream else "no",
    "prompt_tokens": lambda world, asked: str(prompt_tokens(asked, world.board().known(asked.model))),
    "output_tokens": lambda world, asked: str(output_tokens(asked, world.board().known(asked.model))),
    "headers": lambda _, asked: ", ".join(f"{name}: {value}" for name, value in asked.headers.items()) or "not sent",
    "time": _moment,
}
"""Each condition of a match but `when`, whose text says it all."""
