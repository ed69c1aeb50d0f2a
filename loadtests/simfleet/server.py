"""Many ports on one uvicorn server; each can be closed and opened again while the others serve."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import time
from collections.abc import Callable

import uvicorn
from uvicorn._types import ASGI3Application

from .exchange import SimProtocol

BACKLOG = 2048
REBIND_S = 2.0
"""How long a closed port may take to become ours again."""
GC_THRESHOLD = 50_000
"""A rarer collector: its pauses would be lateness."""


class PortTaken(Exception):
    """A configured port is in use by somebody else."""


class PortServer(uvicorn.Server):
    """Serves `app` on every port (0: any free one; `ports` holds the real ones, in the given order).

    `on_ready` is called once all of them listen, `on_stop` after the last connection is closed: uvicorn ends the
    process by the signal it caught, so nothing runs after that. Raises PortTaken.
    """

    def __init__(
        self,
        app: ASGI3Application,
        host: str,
        ports: list[int],
        keep_alive_s: int,
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        config = uvicorn.Config(
            app,
            http=SimProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,  # a server names itself: see Exchange.server
            log_level="error",
            timeout_keep_alive=keep_alive_s,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._host = host
        self._sockets = [_bound(host, port) for port in ports]
        self.ports: list[int] = [sock.getsockname()[1] for sock in self._sockets]
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._listening: dict[int, asyncio.base_events.Server] = {}
        self._reserved: dict[int, socket.socket] = {}

    async def run_until_signal(self) -> None:
        """Listen until SIGTERM or SIGINT; open connections are reset then."""
        await self.serve(self._sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening = dict(zip(self.ports, self.servers, strict=True))
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in self.connections_of(None):
            connection.reset()
        for sock in self._reserved.values():
            sock.close()
        await super().shutdown(sockets)
        self._on_stop()

    def connections_of(self, port: int | None) -> list[SimProtocol]:
        """Open connections of one port, or of all (None)."""
        return [
            connection
            for connection in self.server_state.connections
            if isinstance(connection, SimProtocol)
            and (port is None or (connection.server is not None and connection.server[1] == port))
        ]

    async def refuse(self, port: int) -> None:
        """Close the listening socket; a bound one that does not listen keeps the port ours and refuses."""
        server = self._listening.pop(port)
        self.servers.remove(server)
        server.close()
        deadline = time.monotonic() + REBIND_S
        while True:
            try:
                self._reserved[port] = _bound(self._host, port)
                return
            except PortTaken:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.005)

    async def listen(self, port: int) -> None:
        """Open a refused port again."""

        def protocol() -> SimProtocol:
            return SimProtocol(config=self.config, server_state=self.server_state, app_state={})

        sock = self._reserved.pop(port)
        server = await asyncio.get_running_loop().create_server(protocol, sock=sock, backlog=BACKLOG)
        self.servers.append(server)
        self._listening[port] = server


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as fault:
        sock.close()
        if fault.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} on {host} is taken") from None
        raise
    return sock
