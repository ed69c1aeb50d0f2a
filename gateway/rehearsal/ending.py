"""What admission would do with a decision on these loads, without waiting."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from gateway.errors import BudgetExceeded, FleetSaturated, GatewayError
from gateway.model import Candidate, Decision, GenRequest, Group
from gateway.policy.case_schema import RequestIn
from gateway.rehearsal.world import SEED, World, ask
from gateway.routing.decide import decide
from gateway.routing.order import order, spill_reason, why_full
from gateway.routing.pickers import pick

Result = Mapping[str, Any]
"""outcome, backend, upstream, reason, rule and status; or status, code, message and, where one decided, the rule."""
TELLING = ("status", "code", "outcome", "backend", "upstream", "reason", "rule")
"""Where two results differ in none of these, they are the same."""


def rehearse(world: World, request: RequestIn) -> Result:
    """How `request` would end in `world`. Raises nothing of the gateway's."""
    try:
        asked = ask(world.policy, request)
        return ending(decided(world, asked), world)
    except GatewayError as error:
        return refusal(error)


def decided(world: World, asked: GenRequest) -> Decision:
    return decide(asked, world.board(), Random(SEED))


def ending(decision: Decision, world: World) -> Result:
    home = [(one, world.state(one.upstream.name)) for group in decision.primary for one in group.candidates]
    full = why_full(home, waited=False)
    unpaid = False
    for groups in order(decision):
        for group in groups:
            index = pick(group.candidates, *loads(group, world), group.load_weight)
            if index is None:
                continue
            away = groups is decision.overflow
            if away and not affordable(decision, group.candidates[index], world):
                unpaid = True
                continue
            reason = spill_reason(decision, group, full) if away else group.reason
            chosen = group.candidates[index].upstream.name
            return {"outcome": group.outcome, "backend": group.backend, "upstream": chosen, "reason": reason} | {
                "rule": decision.rule.name,
                "status": 200,
            }
    return shed(decision, unpaid)


def affordable(decision: Decision, one: Candidate, world: World) -> bool:
    """Whether the rule's budget and share still have room; fallback spends from them as spill does."""
    spill = decision.rule.spill
    if spill is None:
        return True
    budget, share, rule = spill.budget_usd_per_hour, spill.max_share, decision.rule.name
    if budget is not None and world.spent.get(rule, 0.0) + (one.price_most or 0.0) > budget:
        return False
    return share is None or world.shares.get(rule, 0.0) < share


def shed(decision: Decision, unpaid: bool) -> Result:
    """The words are those of `Admission`."""
    spent = f"rule `{decision.rule.name}` has spent its budget or its share"
    if unpaid and not decision.primary:
        return refusal(BudgetExceeded(spent), decision.rule.name)
    waited = f" after waiting {decision.max_wait:g} s" if decision.max_wait else ""
    full = f"every upstream is full{waited}"
    return refusal(FleetSaturated(f"{full}, and {spent}" if unpaid else full), decision.rule.name)


def refusal(error: GatewayError, rule: str | None = None) -> Result:
    made: dict[str, Any] = {"status": error.status, "code": error.code, "message": error.message}
    rule = rule or error.rule
    return made if rule is None else made | {"rule": rule}


def loads(group: Group, world: World) -> tuple[list[int], list[int]]:
    seen = [world.state(candidate.upstream.name) for candidate in group.candidates]
    return [state.leased for state in seen], [state.inflight for state in seen]


def differing(one: Result, other: Result) -> tuple[str, ...]:
    return tuple(name for name in TELLING if one.get(name) != other.get(name))


def same(one: Result, other: Result) -> bool:
    return not differing(one, other)


def end(result: Result) -> str:
    """Where it goes, or how it is refused."""
    if "outcome" in result:
        return f"{result['outcome']} -> {result['upstream']}"
    return f"{result['status']} {result['code']}"


def head(result: Result) -> str:
    """A result in one line."""
    if "outcome" in result:
        return f"{end(result)} ({result['backend']}), because {result['reason']}"
    return f"refused: {end(result)}"
