"""Opens the port; apart from `listen.py`, so that the parent of several processes need not import the server."""

from __future__ import annotations

import errno
import socket
import sys

from gateway.errors import StartupFault
from gateway.settings import Settings

BACKLOG = 2048


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket. Raises StartupFault with what to do where the port is taken or the address is not ours.

    `shared`: several sockets may listen on the port, each with a queue of its own, and the kernel spreads connections
    over them (SO_REUSEPORT). Whether a stranger listens there has to be found out before, without it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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


def announce(sock: socket.socket, settings: Settings) -> None:
    host, port = sock.getsockname()[:2]
    shared = f", {settings.workers} processes" if settings.workers > 1 else ""
    scheme = "http" if settings.tls_cert is None else "https"
    print(f"gateway on {scheme}://{host}:{port} with policies {settings.policies}{shared}", file=sys.stderr, flush=True)
