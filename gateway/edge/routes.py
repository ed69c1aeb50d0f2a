"""Where each path goes. The generation paths are raw ASGI; everything else is FastAPI's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from msgspec import Raw

from gateway.edge import body as bodies
from gateway.edge import chat_urls, media
from gateway.edge.account import refused
from gateway.edge.calls import Call, Scope
from gateway.edge.cycle import Cycle
from gateway.edge.fetching import Fetching, heeding
from gateway.edge.forward import Forward
from gateway.edge.gathering import Gathering
from gateway.edge.limits import of_refused
from gateway.edge.replies import Receive, Send
from gateway.edge.services import Services
from gateway.edge.telling import tell_refused
from gateway.edge.witness import undecided_in_audit, unread_in_audit
from gateway.errors import (
    GatewayError,
    MethodNotAllowed,
    ModelNotFound,
    NoCapacity,
    NotFound,
    ShuttingDown,
    StoreFault,
)
from gateway.model import RANK, Demand, GenRequest, Model, Policy, Tenant
from gateway.reports.usage import usage
from gateway.routing.affinity import scope_of
from gateway.routing.board import Board
from gateway.routing.plan import may_use, plan_of
from gateway.routing.residency import parse_demand, strictest
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.translate.table import TWINS, Rewording

IN_FORCE = "policy_in_force"
"""Who demanded what only the policy in force demands of a request that a candidate decides."""
STORE_RETRY_AFTER_SECONDS = 2


App = Callable[[Scope, Receive, Send], Awaitable[None]]
Accept = Callable[[Call, GenRequest, bodies.Body, Board], Awaitable[App]]
"""Takes a request in as a job, and answers it."""


async def generation(
    services: Services,
    call: Call,
    endpoint: Endpoint,
    method: str,
    receive: Receive,
    wire: Cycle,
    fetching: Fetching,
    accept: Accept | None = None,
) -> App:
    """Steps 1 to 3 of a generation: who calls, what is asked, where the data may go; all else is what it gives back.
    `fetching` is its own: what it fetched is held until whoever made it closes it. Raises GatewayError, ClientLeft."""
    if method != "POST":
        raise MethodNotAllowed(f"{call.path} takes POST")
    policy = services.policy
    tenant, raw = caller(services, call), b""  # before the body: a stranger's is not read
    call = followed(services, call, tenant)
    request: GenRequest | None = None
    try:
        call.demand(policy)  # before the body too: what is refused anyway is not read
        settings = services.settings
        raw = await bodies.read(call, receive, settings.max_body_bytes, settings.body_seconds, forms=endpoint.forms)
        board = services.board_for(call, tenant)
        if board.policy is not policy:
            # Replaced while the body came at the client's pace, or a candidate: who may do what is read from the policy
            # that also decides.
            policy = board.policy
            tenant = caller(services, call, policy)
        fetching.known(tenant.name, call.deadline())
        text = endpoint.asks is None
        make = partial(built, services, call, tenant, endpoint, board)
        if text:
            body = bodies.decode(raw, endpoint)
        else:

            def stays(seen: bodies.Body) -> bool:
                return must_stay(make(seen)[0], board)

            with heeding(wire):
                body = await media.decode(call, raw, endpoint, Gathering.of(settings, fetching), stays)
        request, fields = make(body)
        if text and not body.text_only and chat_urls.may_be_read_here(policy, policy.models.get(request.model)):
            with heeding(wire):
                guard = chat_urls.Guard.of(settings, fetching)
                fields = await guard.guarded(fields, stays=must_stay(request, board))
            request = replace(request, reworded=reworded(endpoint, fields))
        if endpoint.jobs == "always" or (endpoint.jobs == "on_request" and bodies.in_background(body)):
            if accept is None:
                raise NotFound("this gateway keeps no jobs: it needs GATEWAY_JOBS_KEY or GATEWAY_KEY_PEPPER")
            taken = await accept(call, request, body, board)
            tell_refused(services, call, endpoint, None)
            return taken
    except (GatewayError, asyncio.CancelledError) as fault:
        error = answerable(services, fault)
        if error.retry is not False:  # else it may be a job by now: its receipt and its audit are the job's
            services.receipts.add(refused(call, tenant, policy.version, error))
            if request is None:
                unread_in_audit(services, call, tenant, policy, raw, error)
            else:
                undecided_in_audit(services, request, board, error)
        error.headers, error.traced = of_refused(services, tenant, call.path), call.traced
        raise error from None
    return Forward(services, call, request, fields, board, body.pictures)


def answerable(services: Services, fault: GatewayError | asyncio.CancelledError) -> GatewayError:
    """A request that nobody has decided yet is cancelled by the end of the process alone: a client that leaves ends its
    body. What is cancelled for any other reason stays so: a fault of ours."""
    if isinstance(fault, GatewayError):
        return fault
    if not services.leaving.is_set():
        raise fault
    return ShuttingDown()


def built(
    services: Services, call: Call, tenant: Tenant, endpoint: Endpoint, board: Board, body: bodies.Body
) -> tuple[GenRequest, Mapping[str, Raw]]:
    """As `build`, under the policy of `board` and, where that is on trial, the demands of the one in force too."""
    policy, in_force = board.policy, services.policy
    residency = demanded(call, body, policy)
    request, fields = build(call, tenant, endpoint, body, residency, policy, services.prompts)
    if policy is not in_force:
        same, _ = build(call, caller(services, call), endpoint, body, residency, in_force, services.prompts)
        request = kept_by_both(services, request, same)
    return request, fields


def must_stay(request: GenRequest, board: Board) -> bool:
    """Whether a demand is on its data. Raises as a decision does where no rule is for it."""
    return bool(strictest(request.residency, plan_of(request, board).demand))


def kept_by_both(services: Services, tried: GenRequest, same: GenRequest) -> GenRequest:
    """A request on trial, under what the policy in force demands of it too: `same` is the same call as that one sees
    it. Its caller chooses by X-Gateway-Session which of the two decides, and must not choose the looser one."""
    try:
        demand = plan_of(same, services.board()).demand
    except GatewayError:  # it would answer nothing: what it demands of tenant and model holds all the same
        model = services.policy.models.get(same.model)
        demand = strictest(same.residency, same.tenant.residency, model.residency if model is not None else Demand())
    whole = strictest(tried.residency, demand)
    if whole == tried.residency:
        return tried
    return replace(tried, residency=whole, demanded_by=(*tried.demanded_by, IN_FORCE))


def caller(services: Services, call: Call, policy: Policy | None = None) -> Tenant:
    return services.keys.tenant(policy or services.policy, call.headers, call.peer)


def followed(services: Services, call: Call, tenant: Tenant) -> Call:
    """`call`, with its trace as it goes on now that its caller was let in."""
    trace = services.telemetry.tracing.let_in(call.trace, tenant.name)
    return call if trace is call.trace else call._replace(trace=trace)


def demanded(call: Call, body: bodies.Body, policy: Policy) -> Demand:
    """What the caller asks for, in the header and in the body together. Raises ResidencyUnknown."""
    residency = call.demand(policy)
    if body.residency is None:
        return residency
    return strictest(residency, parse_demand(body.residency, policy.zones, param=bodies.RESIDENCY))


def build(
    call: Call,
    tenant: Tenant,
    endpoint: Endpoint,
    body: bodies.Body,
    residency: Demand,
    policy: Policy,
    secret: bytes = b"",
) -> tuple[GenRequest, Mapping[str, Raw]]:
    """What routing sees of a call: of its headers and of its prompt what the rules of `policy` look at. `secret`:
    `Services.prompts`."""
    asked = call.priority()
    begins = bodies.begins(body.fields, endpoint, scope_of(secret, tenant.name)) if policy.affine else ()
    request = GenRequest(
        id=call.id,
        endpoint=endpoint.name,
        model=body.model,
        tenant=tenant,
        body=body.raw,
        prompt_bytes=body.prompt_bytes,
        max_tokens=body.max_tokens,
        n=body.choices * body.prompts,
        stream=body.stream,
        include_usage=body.include_usage,
        residency=residency,
        priority=asked if RANK[asked] > RANK[tenant.priority] else tenant.priority,
        arrived=call.started,
        ready=time.monotonic(),
        text_only=body.text_only,
        deadline=call.deadline(),
        max_wait=call.milliseconds(b"x-gateway-max-wait-ms"),
        max_cost=call.number(b"x-gateway-max-cost-usd"),
        fields=body.known,
        client_id=call.client_id,
        trace=call.trace,
        demanded_by=spoken_in(call, body) if residency else (),
        headers=call.kept(policy.headers),
        session=call.text("x-gateway-session"),
        pipeline=call.pipeline(),
        prefix=begins[0] if begins else None,
        beginnings=begins,
        reworded=reworded(endpoint, body.fields),
        media=body.media,
    )
    return request, body.fields


def reworded(endpoint: Endpoint, fields: Mapping[str, Raw]) -> Rewording | None:
    return Rewording(endpoint.name, fields) if endpoint.name in TWINS else None


def spoken_in(call: Call, body: bodies.Body) -> tuple[str, ...]:
    said = (("header", call.residency), ("metadata", body.residency))
    return tuple([where for where, demand in said if demand is not None])


def router(services: Services) -> APIRouter:
    """The other paths of the main port."""
    api = APIRouter()

    @api.get("/healthz", tags=["operations"])
    async def healthz() -> Mapping[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @api.get("/metrics", tags=["operations"])
    async def metrics(request: Request) -> Response:
        """Prometheus text format; of all processes that share this port. It needs no key, but where there are none at
        all it is told to whom everything else is."""
        if not services.policy.tenants:
            caller(services, request.state.call)
        page = await services.siblings.page()
        if page is None:
            return Response("the parent of these processes does not answer\n", 503, media_type="text/plain")
        return Response(page, media_type="text/plain; version=0.0.4")

    @api.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(status_code=307, headers={"Location": "/openapi.json"})

    @api.get("/v1/models", tags=["openai"])
    async def models(request: Request) -> Mapping[str, Any]:
        """The models this key may use, in OpenAI's shape."""
        tenant = caller(services, request.state.call)
        return {
            "object": "list",
            "data": [model_row(services.policy.models[name]) for name in visible(services, tenant)],
        }

    @api.get("/v1/models/{name:path}", tags=["openai"])
    async def model(name: str, request: Request) -> Mapping[str, Any]:
        tenant = caller(services, request.state.call)
        if name not in visible(services, tenant):
            raise ModelNotFound("this gateway has no such model; GET /v1/models lists those it has", param="model")
        return model_row(services.policy.models[name])

    @api.get("/v1/gateway/usage", tags=["gateway"])
    async def used(request: Request) -> Response:
        """What the caller's tenant has used and pays for, and of that the caller's own key (docs/reports.md)."""
        tenant = caller(services, request.state.call)
        told = await usage(services.desk, tenant, request.query_params.multi_items(), time.time())
        return Response(told, media_type="application/json")

    @api.get("/v1/gateway/receipts/{receipt_id}", tags=["gateway"])
    async def receipt(receipt_id: str, request: Request) -> Response:
        """The full account of one request, for the tenant that made it."""
        tenant = caller(services, request.state.call)
        try:
            found = await services.receipts.find(tenant.name, receipt_id)
        except StoreFault:
            raise NoCapacity(
                "receipts cannot be read while the store is away", retry_after=STORE_RETRY_AFTER_SECONDS
            ) from None
        if found is None:
            raise NotFound("no such receipt for this key")
        return Response(found, media_type="application/json")

    return api


def visible(services: Services, tenant: Tenant) -> list[str]:
    return [name for name in services.policy.models if may_use(tenant, name)]


def model_row(model: Model) -> Mapping[str, Any]:
    """In OpenAI's shape; `shutdown_date` where every way to serve it ends some day: the last of these days."""
    row = {"id": model.name, "object": "model", "created": 0, "owned_by": "gateway"}
    days = [served.retires for served in model.served_by]
    ends = [day for day in days if day is not None]
    return row | {"shutdown_date": max(ends).isoformat()} if ends and len(ends) == len(days) else row
