"""Runs the server: the one place that knows uvicorn's options."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from gateway.cli.certificate import Certificate
from gateway.cli.server import Server
from gateway.cli.terminal import on_hangup
from gateway.edge.deadline import Patience
from gateway.edge.protocol import protocol
from gateway.settings import Settings


def run(app: Any, settings: Settings, certificate: Certificate | None, *sockets: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT (`server.py` has the order of the end). SIGHUP has the policy folder and the
    certificate read anew. Raises StartupFault where what it needs went away while it began, such as the store."""
    patience = Patience(settings.head_seconds, settings.idle_seconds, settings.send_seconds)
    kind = protocol(patience, app.on_refused)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=kind,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the peer decides about loopback callers: no header may name another
        date_header=True,
    )

    def hangup() -> None:
        app.on_hangup()
        if certificate is not None:
            certificate.load()

    on_hangup(hangup)
    leave, grace = settings.leave_seconds, settings.grace_seconds
    server = Server(config, kind, app.on_leaving, leave=leave, grace=grace, certificate=certificate)
    try:
        server.run(sockets=list(sockets))
    except SystemExit:  # with a code of uvicorn's own
        if app.fault is not None:
            raise app.fault from None
        raise
