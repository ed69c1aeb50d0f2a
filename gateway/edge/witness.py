"""What the audit is told of flagged requests that are answered with an error of ours."""

from __future__ import annotations

from contextlib import suppress

from gateway.audit.journal import Refusal, sources
from gateway.edge.body import FORM_TYPE, Glimpse, glimpse, glimpse_of, kind_of
from gateway.edge.calls import Call
from gateway.edge.picture_form import parse
from gateway.edge.services import Services
from gateway.errors import GatewayError, InvalidRequest, ResidencyUnknown
from gateway.model import Demand, GenRequest, Model, Policy, Tenant
from gateway.routing.board import Board
from gateway.routing.plan import plan_of
from gateway.routing.residency import parse_demand, strictest


def refused_in_audit(
    services: Services, request: GenRequest, policy: Policy, name: str | None, error: GatewayError, kept: Demand
) -> None:
    """Of a request that was read whole: decided or not, by the rule `name`. `kept` is what its newest decision
    demanded, if there was one: an earlier rule's demand is in it."""
    rule = next((one for one in policy.rules if one.name == name), None)
    model = policy.models.get(request.model)
    demands = [request.residency, request.tenant.residency, kept]
    demands += [said.residency for said in (model, rule) if said is not None]
    demand = strictest(*demands)
    if demand:
        by = sources(request, policy, rule) or ("rule",)  # else it was the rule of an earlier decision
        told = Refusal(request.id, request.tenant.name, policy.version, demand, by, name, _name(model))
        services.journal.refused(told, error)


def undecided_in_audit(services: Services, request: GenRequest, board: Board, error: GatewayError) -> None:
    """Of one that was read whole and refused before anybody decided it, as a job is that is not accepted."""
    name, demand = error.rule, Demand()
    with suppress(GatewayError):
        plan = plan_of(request, board)
        name, demand = plan.rule.name, plan.demand
    refused_in_audit(services, request, board.policy, name, error, demand)


def unread_in_audit(
    services: Services, call: Call, tenant: Tenant, policy: Policy, raw: bytes, error: GatewayError
) -> None:
    """Of a request that was refused before it was one: what it demanded may not have been understood. `raw` is as much
    of its body as was read, `policy` the one by which it was refused."""
    seen = _seen(call, raw)
    model = policy.models.get(seen.model) if seen.model is not None else None
    said = {
        "header": call.residency is not None or call.stray(policy) is not None,
        "metadata": seen.spoke,
        "tenant": bool(tenant.residency),
        "model": model is not None and bool(model.residency),
    }
    by = tuple([where for where, spoke in said.items() if spoke])
    if by:
        asked = [_understood(text, policy) for text in (call.residency, seen.residency)]
        demand = strictest(tenant.residency, *asked, *([] if model is None else [model.residency]))
        services.journal.refused(
            Refusal(call.id, tenant.name, policy.version, demand, by, error.rule, _name(model)), error
        )


def _seen(call: Call, raw: bytes) -> Glimpse:
    if kind_of(call) != FORM_TYPE:
        return glimpse(raw)
    try:
        return glimpse_of(parse(call.headers.get(b"content-type", b""), raw).fields)
    except InvalidRequest:
        return Glimpse()


def _understood(text: str | None, policy: Policy) -> Demand:
    try:
        return parse_demand(text, policy.zones)
    except ResidencyUnknown:
        return Demand()


def _name(model: Model | None) -> str | None:
    """Only names that the policy knows: any other is the caller's text."""
    return model.name if model is not None else None
