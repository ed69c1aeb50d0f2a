"""What admission would do with a decision on these loads, without waiting."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from gateway.admission import WHY_KEPT
from gateway.errors import BudgetExceeded, FleetSaturated, GatewayError
from gateway.model import Bound, Candidate, Decision, GenRequest, Group
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
    kept: Bound | None = None
    for groups in (*order(decision), tuple(group.whole() for group in decision.primary)):
        for group in groups:
            index = pick(group.candidates, *loads(group, world), group.load_weight)
            if index is None:
                continue
            away = groups is decision.overflow
            bound = bound_of(decision, group.candidates[index], world) if away else None
            if bound is not None:
                kept = bound
                continue
            reason = spill_reason(decision, group, full) if away else "budget" if kept else group.reason
            chosen = group.candidates[index].upstream.name
            return {"outcome": group.outcome, "backend": group.backend, "upstream": chosen, "reason": reason} | {
                "rule": decision.rule.name,
                "status": 200,
            }
    return shed(decision, kept)


def bound_of(decision: Decision, one: Candidate, world: World) -> Bound | None:
    """Which of the rule's bounds keeps it here. Fallback counts as spill does; another worker of ours is no leaving."""
    spill = decision.rule.spill
    if spill is None or one.upstream.kind == "local":
        return None
    budget, share, rule = spill.budget_usd_per_hour, spill.max_share, decision.rule.name
    if share is not None and world.shares.get(rule, 0.0) >= share:
        return "share"
    over = budget is not None and world.spent.get(rule, 0.0) + (one.price_most or 0.0) > budget
    return "budget" if over else None


def shed(decision: Decision, kept: Bound | None) -> Result:
    """The words are those of `Admission`."""
    wait = decision.kept_wait if decision.primary else 0.0
    full = "every upstream is full" + (f" after waiting {wait:g} s" if wait else "")
    if kept is None:
        return refusal(FleetSaturated(full), decision.rule.name)
    why = f"rule `{decision.rule.name}` sends nothing more away: {WHY_KEPT[kept]}"
    if decision.primary:
        return refusal(FleetSaturated(f"{full}, and {why}"), decision.rule.name)
    return refusal((BudgetExceeded if kept == "budget" else FleetSaturated)(why), decision.rule.name)


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
