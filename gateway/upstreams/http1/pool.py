"""The keep-alive connections to one address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from gateway.errors import ConnectFailed
from gateway.model import Timeouts
from gateway.upstreams.http1.connection import Address, Connection
from gateway.upstreams.http1.exchange import Exchange, Source

IDLE_SECONDS = 4.0
"""How long a connection is kept for another request. uvicorn, and so vLLM and SGLang, ends an idle one after 5 s, over
TLS as well; where that crosses a request on its way nobody can tell whether the request was seen, and what is bought is
not sent twice. A new plain connection costs one round trip."""
TLS_IDLE_SECONDS = 30.0
"""The same of TLS towards an API, which costs more to open: a balancer or nginx ends it there and keeps idle ones for
60 s or more."""


def freely() -> None:
    """Nothing keeps it from leaving."""


class Pool:
    """Sends each request on a connection of its own: the idle one used last, else a new one.

    There is no limit on connections in use; leases and seats bound those. Nothing is sent twice: an idle connection
    that its upstream has closed is recognised before it is written to, one that it may close any moment now is not used
    any more, and a later failure is the caller's to judge.
    """

    def __init__(self, address: Address, *, max_idle: int = 64, idle_seconds: float = IDLE_SECONDS) -> None:
        self._address = address
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: list[Connection] = []
        self._opened = self._reused = self._in_use = 0
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None

    @property
    def address(self) -> Address:
        return self._address

    @property
    def idle_seconds(self) -> float:
        """How long a connection waits for another exchange."""
        return self._idle_seconds

    @property
    def opened(self) -> int:
        """Connections opened so far."""
        return self._opened

    @property
    def reused(self) -> int:
        """Exchanges so far that began on a connection used before."""
        return self._reused

    @property
    def idle(self) -> int:
        """Connections waiting for an exchange now."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """Exchanges now, from the call of `send` until they are closed."""
        return self._in_use

    async def send(
        self, head: bytes, body: bytes | Source, timeouts: Timeouts, may_send: Callable[[], None] = freely
    ) -> Exchange:
        """Send a request and return when the final (not 1xx) head of its answer is here. The caller closes the result.
        `may_send` is called once there is a connection, just before the first byte; with what it raises none leaves.

        Raises ConnectFailed, PermitRefused, UpstreamTimeout, Reset or BadAnswer (`processed` is False only where no
        byte was sent, or a body that is made meanwhile was not whole). Cancelling it closes the connection.
        """
        if self._closed:
            raise ConnectFailed("the pool of this upstream is closed")
        loop = asyncio.get_running_loop()
        started = loop.time()
        connect_seconds = None
        connection = self._take()
        self._in_use += 1
        if connection is not None:
            self._reused += 1
        else:
            began = perf_counter()  # uvloop's own clock has steps of 1 ms
            connection = await self._open(loop, min(timeouts.connect, timeouts.total))
            connect_seconds = perf_counter() - began
        try:
            may_send()
        except BaseException:
            self._release(connection, True)
            raise
        exchange = Exchange(
            connection,
            timeouts,
            started,
            self._release,
            connect_seconds=connect_seconds,
            bodyless=head.startswith(b"HEAD "),
        )
        await exchange.start(head, body)
        return exchange

    def close(self) -> None:
        """Close the idle connections; those in use close when their exchange ends. No `send` succeeds any more."""
        self._closed = True
        for connection in self._idle:
            connection.close()

    async def aclose(self) -> None:
        """As `close`, and returns when the idle connections are gone."""
        self.close()
        if not self._idle:
            return
        if self._emptied is None:
            self._emptied = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._emptied)

    def _take(self) -> Connection | None:
        """Never one past its time, however late the loop's timer and the loop's own clock are."""
        now = perf_counter()
        while self._idle:
            connection = self._idle.pop()
            if now < connection.idle_until and not connection.stale():
                return connection
            connection.close()
        return None

    async def _open(self, loop: asyncio.AbstractEventLoop, seconds: float) -> Connection:
        connection = Connection(loop, self._gone)
        try:
            await connection.open(self._address, seconds)
        except BaseException:
            self._in_use -= 1
            raise
        self._opened += 1
        return connection

    def _release(self, connection: Connection, clean: bool) -> None:
        self._in_use -= 1
        if clean and not self._closed and len(self._idle) < self._max_idle and not connection.transport.is_closing():
            self._idle.append(connection)
            connection.idle_until = perf_counter() + self._idle_seconds
            connection.watch(asyncio.get_running_loop().time() + self._idle_seconds)
        else:
            connection.close()

    def _gone(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        if self._emptied is not None and not self._idle and not self._emptied.done():
            self._emptied.set_result(None)
