"""All paths but those of generations, which `edge/middleware.py:Front` answers itself."""

from __future__ import annotations

from functools import cache

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from gateway import __version__
from gateway.console import admin, gpus, ready
from gateway.console.dashboard import dashboard_routes
from gateway.console.registration import registration_routes
from gateway.edge.described import described
from gateway.edge.replies import error_headers
from gateway.edge.routes import router
from gateway.errors import GatewayError, MethodNotAllowed, NotFound, PolicyInvalid
from gateway.ledger.watch import Watch
from gateway.lifespan import Process, lifespan
from gateway.upstreams.dialects.surface import error_body

TITLE = "Hybrid router gateway"


def web(process: Process, ledger: Watch) -> FastAPI:
    """FastAPI's own pages load scripts of another host: none of them; `/docs` leads to the document itself."""
    services, site = process.services, process.site
    api = FastAPI(title=TITLE, version=__version__, docs_url=None, redoc_url=None, lifespan=lambda _: lifespan(process))
    api.include_router(router(services))
    if site is not None:
        api.include_router(site.routes())
    api.include_router(registration_routes(services))
    api.include_router(ready.routes(services, lambda: ledger.last.said()))
    api.include_router(admin.router(services, process.feed, None if site is None else site.shelf))
    api.include_router(gpus.agent_routes(services))
    api.include_router(dashboard_routes())
    plain = api.openapi
    api.openapi = cache(lambda: described(plain()))  # type: ignore[method-assign]
    api.add_exception_handler(PolicyInvalid, admin.answer_invalid)
    api.add_exception_handler(GatewayError, answer_error)
    api.add_exception_handler(HTTPException, answer_http)
    return api


async def answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)  # noqa: S101 - registered for GatewayError alone
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    body = error_body(request.url.path, error, request.state.call.id)
    return Response(body, error.status, headers)


async def answer_http(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405, in our shape."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    method = MethodNotAllowed(f"{request.url.path} does not take {request.method}")
    path = NotFound(f"no such path: {request.method} {request.url.path}; /openapi.json lists them")
    return await answer_error(request, method if status == 405 else path)
