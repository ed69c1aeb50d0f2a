"""`gateway serve`: the gateway process, or the parent of several."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gateway.settings import Settings

GC_THRESHOLD = 50_000
"""Allocations between collections: the path makes little that cycles, and the default 700 shows in the p99.
Modules that load make nothing but what stays: a tenth of the time of a start was spent on looking at it."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3), from glibc's malloc.h."""
TRIM_BYTES, MMAP_BYTES = 16 << 20, 1 << 20


@click.command(short_help="Run the gateway.")
@click.option("--policies", type=click.Path(path_type=Path), help="Policy folder [GATEWAY_POLICIES].")
@click.option("--host", help="Address to listen on [GATEWAY_HOST].")
@click.option("--port", type=int, help="Port to listen on [GATEWAY_PORT].")
@click.option("--workers", type=int, help="Processes that serve the port [GATEWAY_WORKERS].")
@click.option("--place", hidden=True, help="Given by the parent to each of several processes.")
def serve(policies: Path | None, host: str | None, port: int | None, workers: int | None, place: str | None) -> None:
    """Serve the policy folder: OpenAI paths under /v1, /dashboard, /metrics, /healthz, /readyz, /docs."""
    gc.set_threshold(GC_THRESHOLD)
    from gateway.settings import load_settings
    from gateway.telemetry import set_up_logs

    settings = load_settings(policies=policies, host=host, port=port, workers=workers)
    set_up_logs(settings.log_level)
    if settings.workers > 1 and place is None:
        from gateway.cli.workers import supervise

        supervise(settings)
    else:
        serve_here(settings, place)


def serve_here(settings: Settings, given: str | None) -> None:
    """This process serves, on a socket of its own or on the one that the parent opened."""
    from gateway.siblings import Place

    try:
        place = None if given is None else Place.parse(given)
        inherited = [] if place is None else [socket.socket(fileno=number) for number in place.sockets]
    except (ValueError, OSError) as fault:
        raise click.UsageError("--place is for the parent of several processes; give --workers") from fault

    from gateway.app import create_app
    from gateway.cli.certificate import Certificate, Files
    from gateway.cli.listen import run
    from gateway.cli.port import announce, bind

    files = Files.of(settings)
    certificate = None if files is None else Certificate(files)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a policy to reload
    app = create_app(settings, place)
    sockets = inherited or [
        bind(settings.host, port) for port in (settings.port, settings.admin_port) if port is not None
    ]
    if not inherited:
        announce(sockets[0], settings)
    gc.collect()
    gc.freeze()
    keep_memory()
    run(app, settings, certificate, *sockets)


def keep_memory() -> None:
    """Has glibc keep up to TRIM_BYTES of freed memory at the end of its heap.

    Left alone it gives it back after every body of some 100 KB, and each page is faulted in again for the next one:
    30 to 50 faults for a request of 200 KB. What is larger than MMAP_BYTES still goes back at once. Elsewhere than on
    glibc this does nothing.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)
        mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)
