"""Runs a simulated provider here: over real HTTP, in a thread of its own, so that blocking SDKs can ask it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import uvicorn

from loadtests.simfleet.exchange import SimProtocol

from .base import Provider

HOST = "127.0.0.1"
START_S = 10.0
P = TypeVar("P", bound=Provider)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Not here: it runs in a thread."""
        yield


@dataclass(frozen=True, slots=True)
class Running(Generic[P]):
    provider: P
    url: str


@contextlib.contextmanager
def serve(provider: P) -> Iterator[Running[P]]:
    """The provider at a free port of its own, in a thread of its own, until the block is left."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind((HOST, 0))
    url = f"http://{HOST}:{sock.getsockname()[1]}"
    provider.public = provider.public or url
    config = uvicorn.Config(
        provider, http=SimProtocol, ws="none", lifespan="off", access_log=False, log_level="error", loop="asyncio"
    )
    server = _Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([sock])), daemon=True)
    thread.start()
    try:
        _await_start(server)
        yield Running(provider, url)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(START_S)
        sock.close()


def _await_start(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + START_S
    while not server.started:
        if time.monotonic() > deadline:
            raise TimeoutError("the simulated provider did not start")
        time.sleep(0.005)
