"""The load: a closed loop of so many connections, or so many requests a second whatever the answers do."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from loadtests.bench.wire import whole

OPEN_CONNECTIONS = 16
"""Of the open loop. A request that finds none free waits, and that wait counts."""
PATIENCE_SECONDS = 20.0
"""How long after the last request its answer may take."""


@dataclass(slots=True)
class Outcome:
    """`latencies` in seconds, one for each good answer; `why`: the first line of the first bad one."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    why: str = ""


class Wire(asyncio.Protocol):
    """One connection, one request at a time. `done(wire)` is called after each answer and when the connection ends."""

    def __init__(self, request: bytes, events: int, outcome: Outcome, done: Callable[[Wire], None]) -> None:
        self._request, self._events, self._outcome, self._done = request, events, outcome, done
        self._buffer = bytearray()
        self._began = 0.0
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        self.open = True

    def ask(self, due: float | None = None) -> None:
        """`due`: when it should have been sent (perf_counter), if that was earlier."""
        self._began = due or time.perf_counter()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not whole(self._buffer):
            return
        good = self._buffer.startswith(b"HTTP/1.1 200") and self._buffer.count(b"data: ") == self._events
        if good:
            self._outcome.latencies.append(time.perf_counter() - self._began)
        else:
            self._fail(bytes(self._buffer[:200]).partition(b"\r\n")[0].decode("latin-1"))
        self._began = 0.0
        self._buffer.clear()
        self._done(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._began:
            self._fail("the connection ended without an answer")
            self._done(self)

    def _fail(self, why: str) -> None:
        self._outcome.failures += 1
        self._outcome.why = self._outcome.why or why


async def closed_loop(port: int, request: bytes, *, events: int, wires: int, seconds: float) -> Outcome:
    """`wires` connections that ask again as soon as they are answered; what is under way at the end is waited for."""
    outcome, finished = Outcome(), asyncio.Event()
    left = wires
    start = time.perf_counter()

    def done(wire: Wire) -> None:
        nonlocal left
        if wire.open and time.perf_counter() < start + seconds:
            wire.ask()
            return
        left -= 1
        if left == 0:
            finished.set()

    made = await _connect(port, wires, lambda: Wire(request, events, outcome, done))
    start = time.perf_counter()
    for wire in made:
        wire.ask()
    async with asyncio.timeout(seconds + PATIENCE_SECONDS):
        await finished.wait()
    outcome.seconds = time.perf_counter() - start
    _close(made)
    return outcome


async def open_loop(port: int, request: bytes, *, rate: float, seconds: float) -> Outcome:
    """`rate` requests a second at even gaps; a latency counts from when the request was due."""
    outcome, finished = Outcome(), asyncio.Event()
    waiting: deque[float] = deque()
    total = int(rate * seconds)
    left = total

    def done(wire: Wire) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            finished.set()
        elif waiting:
            wire.ask(waiting.popleft())
        else:
            free.append(wire)

    made = await _connect(port, OPEN_CONNECTIONS, lambda: Wire(request, 0, outcome, done))
    free = list(made)
    start = time.perf_counter()
    for number in range(total):
        due = start + number / rate
        await asyncio.sleep(due - time.perf_counter())
        if free:
            free.pop().ask(time.perf_counter())
        else:
            waiting.append(due)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await finished.wait()
    outcome.seconds = time.perf_counter() - start
    _close(made)
    return outcome


async def _connect(port: int, count: int, make: Callable[[], Wire]) -> list[Wire]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(make, "127.0.0.1", port))[1] for _ in range(count)]


def _close(wires: list[Wire]) -> None:
    for wire in wires:
        if wire.open:
            wire.transport.close()
