"""The outermost layers, as plain ASGI classes: ids and errors around everything,
the generation paths before FastAPI."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from gateway.edge.account import CLIENT_LEFT
from gateway.edge.body import ClientLeft
from gateway.edge.calls import Call, Scope, new_call
from gateway.edge.cycle import WIRE, Cycle
from gateway.edge.fetching import Fetching
from gateway.edge.hearing import hearing
from gateway.edge.job_desk import JobDesk
from gateway.edge.replies import Receive, Send, identity, reply_error
from gateway.edge.routes import generation
from gateway.edge.services import Services
from gateway.edge.talking import talking
from gateway.edge.telling import tell_refused
from gateway.errors import GatewayError, NotFound, ShuttingDown, StartupFault
from gateway.telemetry import REQUEST
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.hearing import HEARING
from gateway.upstreams.dialects.realtime import REALTIME
from gateway.upstreams.dialects.surface import PATHS

OPERATORS = ("/metrics", "/openapi.json", "/docs", "/dashboard", "/admin")
"""What `GATEWAY_ADMIN_PORT` moves off the main port, with all that lies below."""

GUARDS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""For browsers: nobody frames an operator's page, guesses its type, or keeps what it showed."""

App = Callable[[Scope, Receive, Send], Awaitable[None]]
_log = logging.getLogger("gateway")


class Front:
    """Answers the generation paths itself and leaves every other path, and the lifespan, to `rest`."""

    def __init__(self, services: Services, rest: App, desk: JobDesk | None = None) -> None:
        """Without a desk there are no jobs."""
        self._services, self._rest, self._desk = services, rest, desk
        self._admin_port = services.settings.admin_port
        self.on_refused = services.telemetry.count_refused
        """For the protocol: what it refuses never comes here."""
        self.on_hangup = services.live.ask_reload
        """For SIGHUP."""
        self.on_leaving = services.leaving.set
        """For the server, once it was told to end."""
        self.fault: StartupFault | None = None
        """Why the lifespan did not begin: the server itself knows only that it did not."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            try:
                await self._rest(scope, receive, send)
            except StartupFault as fault:
                self.fault = fault
                raise
            return
        call = new_call(scope, self._services.telemetry.tracing.begin)
        REQUEST.set(call.id)
        wire: Cycle = scope["extensions"][WIRE]
        try:
            await self._answer(call, scope, receive, send, wire)
        except (Exception, asyncio.CancelledError) as fault:
            if isinstance(fault, asyncio.CancelledError) and self._services.leaving.is_set():
                self._shut_down(call, wire)  # the process waits no longer (cli/server.py)
                return
            # Ours to mend: the log names the place, never the request. The client gets a plain 500, or a cut answer.
            self._services.telemetry.count_error(GatewayError.code)
            _log.exception("unhandled", extra={"fields": {"request_id": call.id, "path": call.path}})
            if not wire.response_started:
                reply_error(wire, call, GatewayError("the gateway failed; the operator's log has the request id"))
            else:
                raise

    def _shut_down(self, call: Call, wire: Cycle) -> None:
        if wire.response_started:
            wire.cut()
        else:
            self._services.telemetry.count_error(ShuttingDown.code)
            reply_error(wire, call, ShuttingDown())

    async def _answer(self, call: Call, scope: Scope, receive: Receive, send: Send, wire: Cycle) -> None:
        endpoint = PATHS.get(call.path)
        if self._admin_port is not None and (scope["server"][1] == self._admin_port) is not of_operators(call.path):
            reply_error(wire, call, NotFound(f"no such path on this port: {scope['method']} {call.path}"))
        elif endpoint is None or (endpoint.jobs == "always" and scope["method"] != "POST"):
            scope.setdefault("state", {})["call"] = call
            await self._rest(scope, receive, WithIdentity(call, send))
        else:
            await self._generate(call, endpoint, scope, receive, send, wire)

    async def _generate(
        self, call: Call, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send, wire: Cycle
    ) -> None:
        telemetry, fetching = self._services.telemetry, Fetching(self._services.fetches)
        telemetry.inflight.add(1)
        try:
            answer: App
            if endpoint.name in HEARING:
                answer = await hearing(self._services, call, endpoint, scope["method"], receive, wire)
            elif endpoint is REALTIME:
                answer = talking(self._services, call, endpoint, scope)
            else:
                accept = None if self._desk is None else partial(self._desk.take, scope["query_string"])
                answer = await generation(
                    self._services, call, endpoint, scope["method"], receive, wire, fetching, accept
                )
        except GatewayError as error:
            telemetry.count_error(error.code)
            tell_refused(self._services, call, endpoint, error.code, traced=error.traced)
            reply_error(wire, call, error)
        except ClientLeft:
            tell_refused(self._services, call, endpoint, CLIENT_LEFT)
        else:
            await answer(scope, receive, send)
        finally:
            fetching.close()
            telemetry.inflight.add(-1)


def of_operators(path: str) -> bool:
    return any(path == mine or path.startswith(mine + "/") for mine in OPERATORS)


class WithIdentity:
    """Adds `X-Request-Id` to what FastAPI answers, and to what operators see GUARDS, where it has none of its own."""

    def __init__(self, call: Call, send: Send) -> None:
        self._call, self._send = call, send
        self._guards = GUARDS if of_operators(call.path) else ()

    def __call__(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            own = message.get("headers", ())
            names = {name.lower() for name, _ in own}
            guards = (guard for guard in self._guards if guard[0] not in names)
            message["headers"] = [*own, *identity(self._call), *guards]
        return self._send(message)
