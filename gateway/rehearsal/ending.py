"""What admission would do with a decision on these loads: a wait ends when the forecast says that there is room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import BudgetExceeded, DeadlineExceeded, FleetSaturated, GatewayError
from gateway.model import Bound, Candidate, Decision, GenRequest, Group
from gateway.money.budgets import may_leave
from gateway.money.keeping import WHY_KEPT
from gateway.policy.case_schema import RequestIn
from gateway.rehearsal.waiting import Room, ahead, patience, soonest
from gateway.rehearsal.words import rounded_up
from gateway.rehearsal.world import World, ask, decided
from gateway.routing.order import WAITED_SECONDS, order, spill_reason, why_full
from gateway.routing.pickers import pick
from gateway.routing.plan import NO_RULE

Result = Mapping[str, Any]
"""outcome, backend, upstream, reason, rule and status; or status, code, message and, where one decided, the rule.

Where it waits first also `waits`: the seconds that are predicted, or all that it may wait where there is no room within
them; `may_wait`: those; and, where it finds room, `otherwise`: the result without any."""
TELLING = ("status", "code", "outcome", "backend", "upstream", "reason", "rule")
"""Where two results differ in none of these, and both wait or neither does, they are the same."""
WAITS = "waits"


def rehearse(world: World, request: RequestIn) -> Result:
    """How `request` would end in `world`. Raises nothing of the gateway's."""
    try:
        asked = ask(world.policy, request)
        return ending(decided(world, asked), asked, world)
    except GatewayError as error:
        return refusal(error)


def ending(decision: Decision, asked: GenRequest, world: World) -> Result:
    room = soonest(decision, asked, world)
    found = admitted(decision, asked, world, room)
    at_home = room is not None and WAITS in found and found.get("upstream") == room.one.upstream.name
    return {**found, "otherwise": admitted(decision, asked, world, None)} if at_home else found


def admitted(decision: Decision, asked: GenRequest, world: World, room: Room | None) -> Result:
    """The steps of `Admission.admit`; `room`: what comes free at home, None: nothing does."""
    waited, kept = 0.0, None
    for groups in order(decision):
        if groups is decision.overflow:
            found, kept = away(decision, world, waited)
            if found is not None:
                return waiting(found, waited, waited)
        elif groups:
            at_once = None if ahead(decision, world) else first(groups, world)
            if at_once is not None:
                return served(decision, *at_once, kept=kept)
            waited = patience(decision.max_wait, asked)
            if room is not None and room.seconds <= waited:
                return waiting(served(decision, room.group, room.one, kept=kept), room.seconds, waited)
    if decision.primary:  # it cannot leave, so all that its class may fill is open to it
        whole = tuple(group.whole() for group in decision.primary)
        at_once = None if ahead(decision, world) else first(whole, world)
        if at_once is not None:
            return waiting(served(decision, *at_once, kept=kept), waited, waited)
        waited = max(waited, patience(decision.kept_wait, asked))
        if room is not None and room.seconds <= waited:
            return waiting(served(decision, room.group, room.one, kept=kept), room.seconds, waited)
    return waiting(shed(decision, asked, kept, waited), waited, waited)


def away(decision: Decision, world: World, waited: float) -> tuple[Result | None, Bound | None]:
    """Where it leaves to, or which bound keeps it here."""
    home = [(one, world.state(one.upstream.name)) for group in decision.primary for one in group.candidates]
    full, kept = why_full(home, waited=waited >= WAITED_SECONDS), None
    for group in decision.overflow:
        found = first((group,), world)
        if found is None:
            continue
        bound = bound_of(decision, found[1], world)
        if bound is None:
            return served(decision, *found, reason=spill_reason(decision, group, full)), None
        kept = bound
    return None, kept


def first(groups: tuple[Group, ...], world: World) -> tuple[Group, Candidate] | None:
    for group in groups:
        index = pick(group.candidates, *loads(group, world), group.load_weight)
        if index is not None:
            return group, group.candidates[index]
    return None


def served(
    decision: Decision, group: Group, one: Candidate, *, reason: str | None = None, kept: Bound | None = None
) -> Result:
    why = "budget" if kept else reason or group.reason
    made = {"outcome": group.outcome, "backend": group.backend, "upstream": one.upstream.name, "reason": why}
    version: Result = {} if one.served.version is None else {"version": one.served.version}
    return {**made, **version, "rule": decision.rule.name, "status": 200}


def waiting(result: Result, seconds: float, most: float) -> Result:
    return {**result, WAITS: rounded_up(seconds), "may_wait": most} if most > 0 else result


def bound_of(decision: Decision, one: Candidate, world: World) -> Bound | None:
    """Which of the rule's bounds keeps it here. Fallback counts as spill does; another worker of ours is no leaving."""
    spill = decision.rule.spill
    if spill is None or one.upstream.kind == "local":
        return None
    budget, share = spill.budget_usd_per_hour, spill.max_share
    if budget is None and share is None:
        return None
    booked = world.booked(decision.rule.name)
    if booked is None:
        return "store"
    if share is not None and not may_leave(booked.left, booked.arrived, share):
        return "share"
    return "budget" if budget is not None and booked.usd + (one.price_most or 0.0) > budget else None


def shed(decision: Decision, asked: GenRequest, kept: Bound | None, waited: float) -> Result:
    """In the words of `Admission`."""
    rule = decision.rule.name
    if asked.deadline is not None and waited >= asked.deadline:
        return refusal(DeadlineExceeded("the deadline passed while waiting for capacity"), rule)
    groups = decision.primary or decision.overflow
    full = f"every upstream of {', '.join(group.backend for group in groups)} is full"
    if kept is None:
        return refusal(FleetSaturated(full), rule)
    why = f"rule `{rule}` sends nothing more away: {WHY_KEPT[kept]}"
    if decision.primary:
        return refusal(FleetSaturated(f"{full}, and {why}"), rule)
    return refusal((BudgetExceeded if kept == "budget" else FleetSaturated)(why), rule)


def refusal(error: GatewayError, rule: str | None = None) -> Result:
    made: dict[str, Any] = {"status": error.status, "code": error.code, "message": error.message}
    rule = rule or error.rule
    return made if rule is None else made | {"rule": rule}


def loads(group: Group, world: World) -> tuple[list[int], list[int]]:
    seen = [world.state(candidate.upstream.name) for candidate in group.candidates]
    return [state.leased for state in seen], [state.inflight for state in seen]


def differing(one: Result, other: Result) -> tuple[str, ...]:
    """The names of what differs; of a wait only whether there is one."""
    found = tuple(name for name in TELLING if one.get(name) != other.get(name))
    return found if (WAITS in one) is (WAITS in other) else (*found, WAITS)


def same(one: Result, other: Result) -> bool:
    return not differing(one, other)


def finds_room(result: Result) -> bool:
    """Whether it waits, and not in vain."""
    return "otherwise" in result


def end(result: Result) -> str:
    """Where it goes, or how it is refused, and how long it waits before."""
    if "outcome" in result:
        return f"{_first_waits(result)}{result['outcome']} -> {result['upstream']}"
    if result.get("message") == NO_RULE:
        return f"no rule matches ({result['status']} {result['code']})"
    return f"{_first_waits(result)}{result['status']} {result['code']}"


def head(result: Result) -> str:
    """A result in one line."""
    if "outcome" not in result:
        return f"refused: {end(result)}"
    told = f"{end(result)} ({result['backend']}), because {result['reason']}"
    if not finds_room(result):
        return told
    other = result["otherwise"]
    reason = f" ({other['reason']})" if "reason" in other else ""
    return f"{told}; without room within {result['may_wait']:g} s: {_bare(other)}{reason}"


def _bare(result: Result) -> str:
    """Its end without the wait before."""
    return end({name: value for name, value in result.items() if name != WAITS})


def _first_waits(result: Result) -> str:
    if WAITS not in result:
        return ""
    about = "about " if finds_room(result) else ""
    return f"waits {about}{result[WAITS]:g} s, then "
