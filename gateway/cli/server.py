"""uvicorn's server with an end of our own: in order, within a bound, and by exit code 0.

    SIGTERM   readyz says 503, answers say `connection: close`, jobs go to other replicas; connections are still taken
    + leave   the port is closed, idle connections too; sessions are told
    + grace   what still runs is ended with an error; operators' port is open until that, or until all is answered
    at last   leases, slices, receipts and rows go back to the store (the lifespan's end)

A second signal cuts the waiting short and nothing else: what is owed to the store is given back all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

import uvicorn
from uvicorn.server import ServerState

from gateway.cli.certificate import Certificate
from gateway.edge.protocol import Protocol

ENDS = (signal.SIGTERM, signal.SIGINT)
HURRY_SECONDS = 0.5
"""A second signal counts so long after the first: who signals a whole group, and a parent that passes its own on, say
one thing twice."""
CUT_SECONDS = 1.0
"""For requests that are cut off to give back what they hold and to say so, as far as their callers read."""
LOOK_TICKS = 50
"""A tick is 0.1 s (uvicorn): so often the files of the certificate are looked at."""
TLS_CLOSE_SECONDS = 5.0
"""For a caller to answer our end of TLS."""
_FAILED = 3
"""uvicorn's exit code where the application cannot start."""


class Server(uvicorn.Server):
    """Speaks `kind` on the sockets it is given: the callers', and perhaps one for operators, which stays open until
    callers have their answers, for whoever watches that. `on_leaving` is called once, when the end begins; `leave` and
    `grace` are in seconds."""

    def __init__(
        self,
        config: uvicorn.Config,
        kind: type[Protocol],
        on_leaving: Callable[[], None],
        *,
        leave: float,
        grace: float,
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__(config)
        self._kind, self._on_leaving, self._leave, self._grace = kind, on_leaving, leave, grace
        self._certificate = certificate
        self._operators = ServerState()
        """Their connections and what answers them; `server_state` has the callers'."""
        self._told = 0.0
        """When the first signal came."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens on `sockets` once the application is there. A handshake of TLS has the time of a request's head."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(_FAILED)
        loop, config, kind = asyncio.get_running_loop(), self.config, self._kind
        tls = None if self._certificate is None else self._certificate.context

        def connection(state: ServerState) -> Protocol:
            return kind(config=config, server_state=state, app_state=self.lifespan.state)

        self.servers = [
            await loop.create_server(
                partial(connection, state),
                sock=sock,
                ssl=tls,
                backlog=config.backlog,
                ssl_handshake_timeout=None if tls is None else kind.patience.head,
                ssl_shutdown_timeout=None if tls is None else TLS_CLOSE_SECONDS,
            )
            for sock, state in zip(sockets or (), (self.server_state, self._operators), strict=False)
        ]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        if self._certificate is not None and counter % LOOK_TICKS == 0:
            self._certificate.look()
        ends = await super().on_tick(counter)
        self._operators.default_headers = self.server_state.default_headers
        return ends

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        callers, operators = self.server_state, self._operators
        self._on_leaving()
        self._kind.leaving = True
        for connection in (*callers.connections, *operators.connections):
            connection.last()  # type: ignore[union-attr]
        await self._wait(self._leave, lambda: False)
        grace = time.monotonic() + self._grace
        for server, sock, state in zip(self.servers, sockets or (), (callers, operators), strict=False):
            server.close()
            sock.close()
            for connection in list(state.connections):
                connection.shutdown()
            await self._wait(grace - time.monotonic(), partial(_idle, state))
        for task in (*callers.tasks, *operators.tasks):
            task.cancel(msg="the grace of the shutdown is over")
        self.force_exit = False  # what is cut off is waited for all the same
        await self._wait(CUT_SECONDS, lambda: _idle(callers) and _idle(operators))
        await self.lifespan.shutdown()

    async def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        """Until `done`, a second signal, or so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.force_exit and not done():  # noqa: ASYNC110 - a signal handler sets no event
                    await asyncio.sleep(0.05)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's, it does not raise the signal again at the end: who ends in order has not been killed."""
        before = {number: signal.signal(number, self.handle_exit) for number in ENDS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.should_exit:
            self.should_exit, self._told = True, now
        elif now - self._told > HURRY_SECONDS:
            self.force_exit = True


def _idle(state: ServerState) -> bool:
    return not state.connections and not state.tasks
