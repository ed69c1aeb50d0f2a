"""What the audit is told of flagged requests that are answered with an error of ours."""

from __future__ import annotations

from gateway.audit.journal import sources
from gateway.edge.account import Account
from gateway.edge.body import RESIDENCY
from gateway.edge.calls import Call
from gateway.edge.services import Services
from gateway.errors import GatewayError, ResidencyUnknown
from gateway.model import Demand, GenRequest, Policy, Tenant
from gateway.routing.residency import parse_demand, strictest


def refused_in_audit(
    services: Services, request: GenRequest, policy: Policy, account: Account, error: GatewayError
) -> None:
    """Of a request that was read whole: decided or not."""
    rule = next((one for one in policy.rules if one.name == account.rule), None)
    model = policy.models.get(request.model)
    demands = [request.residency, request.tenant.residency]
    demands += [said.residency for said in (model, rule) if said is not None]
    demand = strictest(*demands)
    if demand:
        by = sources(request, policy, rule)
        services.journal.refused(request.id, request.tenant.name, policy.version, error, demand, by)


def unread_in_audit(services: Services, call: Call, tenant: Tenant, error: GatewayError) -> None:
    """Of a request that was refused before it was one: what it demanded may not have been understood."""
    unknown = isinstance(error, ResidencyUnknown)
    said = {
        "header": call.residency is not None,
        "metadata": unknown and error.param == RESIDENCY,
        "tenant": bool(tenant.residency),
    }
    by = tuple([where for where, spoke in said.items() if spoke])
    if by:
        policy = services.policy
        demand = strictest(tenant.residency, _header(call, policy))
        services.journal.refused(call.id, tenant.name, policy.version, error, demand, by)


def _header(call: Call, policy: Policy) -> Demand:
    try:
        return parse_demand(call.residency, policy.zones)
    except ResidencyUnknown:
        return Demand()
