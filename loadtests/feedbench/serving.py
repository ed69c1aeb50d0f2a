"""The feed of a fleet in memory behind the gateway's own protocol, and viewers in a process of their own."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.console.live.feed import Feed, Source
from gateway.console.live.rows import COLUMNS, rows
from gateway.console.live.sources import Fleet, fleet_change, fleet_whole
from gateway.console.live.stream import Live
from gateway.edge.deadline import Patience
from gateway.edge.protocol import protocol
from gateway.routing.board import Board

READER = """
import selectors, socket, sys
port, number = int(sys.argv[1]), int(sys.argv[2])
chosen = selectors.DefaultSelector()
for _ in range(number):
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(b"GET / HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n")
    chosen.register(one, selectors.EVENT_READ)
while True:
    for key, _ in chosen.select():
        if not key.fileobj.recv(1 << 20):
            raise SystemExit
"""
"""Reads and forgets."""
WARM_UP_SECONDS = 2.0


def feed_of(board: Callable[[], Board]) -> Feed:
    async def hello() -> dict[str, object]:
        return {"columns": COLUMNS}

    async def fleet() -> Fleet:
        now = board()
        return Fleet(now.snapshot.at, {row.name: row for row in rows(now, lambda _: None)})

    return Feed([Source("hello", hello), Source("fleet", fleet, fleet_whole, fleet_change)])


class Server:
    """Runs while the block lasts."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        options = {"http": protocol(Patience()), "ws": "none", "interface": "asgi3", "lifespan": "off"}
        self._server = uvicorn.Server(
            uvicorn.Config(self._answer, log_config=None, access_log=False, timeout_graceful_shutdown=1, **options)  # type: ignore[arg-type]
        )

    async def __aenter__(self) -> Server:
        self._task = asyncio.create_task(self._server._serve([self._listener]))
        while not self._server.started:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._task
        self._listener.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Live(self._feed, frozenset({"hello", "fleet"}))(scope, receive, send)

    async def cores(self, viewers: int, seconds: float) -> float:
        """CPU of this process, as a share of one core, while so many look."""
        command = [sys.executable, "-c", READER, str(self.port), str(viewers)]
        readers = subprocess.Popen(command)  # noqa: ASYNC220 - ours
        try:
            await asyncio.sleep(WARM_UP_SECONDS)
            assert len(self._feed.viewers) == viewers, len(self._feed.viewers)
            began, used = time.monotonic(), time.process_time()
            await asyncio.sleep(seconds)
            return (time.process_time() - used) / (time.monotonic() - began)
        finally:
            readers.kill()
            readers.wait()
            while self._feed.viewers:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.05)
