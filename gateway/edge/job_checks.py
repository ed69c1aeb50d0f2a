"""What is looked at before a job is accepted, so that what could only fail later is refused at once."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.edge.body import Body
from gateway.edge.elsewhere import engine_of
from gateway.edge.ordering import order_of
from gateway.edge.services import Services
from gateway.errors import FleetSaturated, GatewayError, InvalidRequest, NoCapacity, ResidencyRefused
from gateway.jobs.artefacts import Lies
from gateway.model import Candidate, Decision, Demand, GenRequest, Policy
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.fields import action
from gateway.routing.plan import plan_of
from gateway.routing.residency import strictest
from gateway.upstreams.dialects.ordered import dialect_of
from gateway.upstreams.dialects.workers import fields as worker_fields


async def checked(services: Services, lies: Lies, request: GenRequest, body: Body, board: Board) -> Demand:
    """What is demanded of its data, by everybody. Raises what a decision raises, unless that may be over by the time
    the job is worked on; ResidencyRefused where its results could not be kept, InvalidRequest where nobody could be
    told what it asks for, and BudgetExceeded where nobody could be paid."""
    try:
        decision = decide(request, board, services.rng)
    except (NoCapacity, FleetSaturated):
        demand = strictest(request.residency, plan_of(request, board).demand)
        may_be_kept(lies, demand, board.policy)
        return demand
    demand = strictest(request.residency, decision.demand)
    may_be_kept(lies, demand, board.policy)
    _sayable(request, body, decision, board)
    await services.admission.affords(request, decision)
    return demand


def may_be_kept(lies: Lies, demand: Demand, policy: Policy) -> None:
    """Raises ResidencyRefused."""
    if not lies.admits(demand, policy):
        what = ", ".join(demand.words())
        raise ResidencyRefused(f"results are not kept within: {what}; see GATEWAY_ARTEFACTS_ZONE", param="residency")


def _sayable(request: GenRequest, body: Body, decision: Decision, board: Board) -> None:
    """Raises InvalidRequest where the words of all who may serve it lack something that it asks for."""
    refusal: InvalidRequest | None = None
    for one in _firsts(decision):
        try:
            _say(request, body, decision, one, board)
            return
        except InvalidRequest as fault:
            refusal = refusal or fault
        except GatewayError:
            return  # not for what is asked: it may be over by then
    if refusal is not None:
        raise refusal.with_traceback(None)


def _firsts(decision: Decision) -> Iterator[Candidate]:
    """One of each group: they speak alike."""
    for group in (*decision.primary, *decision.overflow):
        yield from group.candidates[:1]


def _say(request: GenRequest, body: Body, decision: Decision, one: Candidate, board: Board) -> None:
    upstream, engine = one.upstream, engine_of(one, board)
    removed = [name for name in request.fields if action(decision.rule, upstream.kind, name) == "remove"]
    fields = {name: value for name, value in body.fields.items() if name not in removed}
    dialect = dialect_of(upstream, request.endpoint, engine)
    if dialect is not None:
        dialect.submit(upstream, order_of(request, fields, body.pictures, one.served, request.id))
    elif upstream.kind == "local":
        worker_fields.check(request.endpoint, engine, fields)
