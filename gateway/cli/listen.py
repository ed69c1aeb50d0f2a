"""Runs uvicorn: the one place that knows the server's options."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from gateway.cli.terminal import on_hangup
from gateway.edge.protocol import Patience, protocol
from gateway.settings import Settings


def run(app: Any, settings: Settings, *sockets: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT; running requests get `grace_seconds`. SIGHUP has the policy folder read anew.
    Raises StartupFault where what it needs went away while it began, such as the store."""
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
    on_hangup(app.on_hangup)
    try:
        uvicorn.Server(config).run(sockets=list(sockets))
    except SystemExit:  # with a code of uvicorn's own
        if app.fault is not None:
            raise app.fault from None
        raise
