"""The first half of a decision: model, rule, demand and pools. The same for all requests that ask alike."""

from __future__ import annotations

from dataclasses import replace

from gateway.errors import ModelNotAllowed, ModelNotFound
from gateway.model import Demand, GenRequest, Model, Policy, PriorityClass, Rule, Tenant
from gateway.routing.below import held_back
from gateway.routing.board import Asked, Board, Plan, Pool, remember
from gateway.routing.globs import fits
from gateway.routing.matching import courses
from gateway.routing.residency import strictest
from gateway.routing.signals import EXACT, spill_word
from gateway.routing.terms import terms_of
from gateway.routing.versions import weights_of
from gateway.routing.worth import is_cheap, worth_of

NO_RULE = "no rule of the policy matches this request"


def plan_of(request: GenRequest, board: Board) -> Plan:
    """The plan of `request`, remembered on `board`. Raises ModelNotFound or ModelNotAllowed."""
    asked = Asked(request.model, request.endpoint, request.tenant, request.residency, request.priority, request.stream)
    found = board.courses.get(asked)
    if found is None:
        found = remember(board.courses, asked, courses(asked, *found_model(asked, board.policy), board))
    if request.whole is not None:
        prompt_bytes, most = request.whole
        request = replace(request, prompt_bytes=prompt_bytes, max_tokens=most)
    for course in found:
        if course.further is None or course.further(request, board):
            if course.plan is None:
                course.plan = make_plan(asked, course.rule, board)
            return course.plan
    raise ModelNotFound(NO_RULE, param="model")


def make_plan(asked: Asked, rule: Rule, board: Board) -> Plan:
    model, wanted = found_model(asked, board.policy)
    demand = strictest(wanted, rule.residency)

    def pools(backends: tuple[str, ...]) -> tuple[Pool, ...]:
        return tuple(pool for name in backends for pool in board.pools(model, name, demand, asked.endpoint, rule))

    may, spill = rule.classes[asked.priority], rule.spill
    if not may.spill:
        spill = None
    leaving = pools(spill.backends if spill else ())
    worth = worth_of(rule, model.name, leaving, board)
    cheap = is_cheap(worth, board.worths.get(rule.name))
    return Plan(
        rule=rule,
        model=model,
        demand=demand,
        permitted=board.permitted(rule, model, demand),
        home=tuple([held_back(pool, may.below) for pool in pools(rule.backends)]),
        spill=leaving,
        fallback=pools(rule.fallback if may.spill else ()),
        spill_now=spill_word(rule, model.name, board) if may.spill else None,
        priced=tuple(one for one in spill.when if one.signal in EXACT) if spill else (),
        order=spill.order if spill else "listed",
        share=may.share,
        worth=worth,
        cheap=cheap,
        waits=waits_of(rule, may),
        terms=terms_of(rule, model),
        versions=weights_of(model),
    )


def waits_of(rule: Rule, may: PriorityClass) -> tuple[float, float]:
    """How long such a request may wait for room at home: before it leaves, and in all where it may not."""
    if may.max_wait is not None:
        return may.max_wait, may.max_wait
    kept = rule.max_wait if rule.kept_wait is None else max(rule.max_wait, rule.kept_wait)
    return (rule.max_wait if may.spill else kept), kept


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
    """Whether the allow-lists of tenant and key hold this model; no list allows all."""
    return all(globs is None or fits(model, globs) for globs in (tenant.models, tenant.also_models))
