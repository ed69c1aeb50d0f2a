"""Opens the port and runs uvicorn on it: the one place that knows the server's options."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

import uvicorn

from gateway.edge.protocol import Patience, protocol
from gateway.errors import StartupFault
from gateway.settings import Settings

BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises StartupFault with what to do where the port is taken or the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as fault:
        sock.close()
        if fault.errno == errno.EADDRINUSE:
            raise StartupFault(
                f"port {port} is taken; stop what listens there or choose another with GATEWAY_PORT"
            ) from None
        raise StartupFault(f"cannot listen on {host} port {port}: {fault.strerror}") from None
    return sock


def run(app: Any, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; running requests get `grace_seconds`. Raises StartupFault."""
    sock = bind(settings.host, settings.port)
    patience = Patience(settings.head_seconds, settings.idle_seconds, settings.send_seconds)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol(patience, app.on_refused),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the peer decides about loopback callers: no header may name another
        date_header=True,
        timeout_graceful_shutdown=int(settings.grace_seconds),
    )
    host, port = sock.getsockname()[:2]
    print(f"gateway on http://{host}:{port} with policies {settings.policies}", file=sys.stderr, flush=True)
    uvicorn.Server(config).run(sockets=[sock])
