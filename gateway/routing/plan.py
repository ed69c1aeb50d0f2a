"""The first half of a decision: model, rule, demand and pools. The same for all requests that ask alike."""

from __future__ import annotations

from gateway.errors import ModelNotAllowed, ModelNotFound
from gateway.model import Demand, GenRequest, Model, Policy, Rule, Tenant
from gateway.routing.board import Asked, Board, Plan, Pool, holds, remember
from gateway.routing.globs import fits
from gateway.routing.matching import courses
from gateway.routing.residency import strictest
from gateway.routing.terms import terms_of


def plan_of(request: GenRequest, board: Board) -> Plan:
    """The plan of `request`, remembered on `board`. Raises ModelNotFound or ModelNotAllowed."""
    asked = Asked(request.model, request.endpoint, request.tenant, request.residency, request.priority, request.stream)
    found = board.courses.get(asked)
    if found is None:
        found = remember(board.courses, asked, courses(asked, *found_model(asked, board.policy), board))
    for course in found:
        if course.further is None or course.further(request, board):
            if course.plan is None:
                course.plan = make_plan(asked, course.rule, board)
            return course.plan
    raise ModelNotFound("no rule of the policy matches this request", param="model")


def make_plan(asked: Asked, rule: Rule, board: Board) -> Plan:
    model, wanted = found_model(asked, board.policy)
    demand = strictest(wanted, rule.residency)

    def pools(backends: tuple[str, ...]) -> tuple[Pool, ...]:
        return tuple(board.pool(model, backend, demand, asked.endpoint, rule) for backend in backends)

    return Plan(
        rule=rule,
        model=model,
        demand=demand,
        permitted=board.permitted(rule, model, demand),
        home=pools(rule.backends),
        spill=pools(rule.spill.backends if rule.spill else ()),
        fallback=pools(rule.fallback),
        spill_now=spill_word(rule, board),
        terms=terms_of(rule, model),
    )


def found_model(asked: Asked, policy: Policy) -> tuple[Model, Demand]:
    """The model, and where the data of such a request may go whatever the rule."""
    model = find_model(asked, policy)
    return model, strictest(asked.residency, asked.tenant.residency, model.residency)


def find_model(asked: Asked, policy: Policy) -> Model:
    model = policy.models.get(asked.model)
    if model is None:
        raise ModelNotFound("this gateway has no such model; GET /v1/models lists those it has", param="model")
    if not may_use(asked.tenant, model.name):
        raise ModelNotAllowed("this key may not use this model", param="model")
    return model


def may_use(tenant: Tenant, model: str) -> bool:
    """Whether the tenant's allow-list holds this model; no list allows all."""
    return tenant.models is None or fits(model, tenant.models)


def spill_word(rule: Rule, board: Board) -> str | None:
    """The first threshold of `spill.when` that holds now, in the user's words."""
    if rule.spill is None or not rule.spill.when:
        return None
    signals = board.signals(rule.backends)
    for threshold in rule.spill.when:
        if holds(threshold, signals):
            sign = (">" if threshold.above else "<") + ("=" if threshold.inclusive else "")
            return f"{threshold.signal} {sign} {threshold.value:g}"
    return None
