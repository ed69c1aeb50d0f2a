"""One request and its answer, on a connection that is theirs from the first byte to the last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Literal, Protocol

from gateway.errors import BadAnswer, Reset, UpstreamFault, UpstreamTimeout
from gateway.model import Timeouts
from gateway.upstreams.http1.connection import Connection
from gateway.upstreams.http1.wire import Response

HIGH_WATER = 64 * 1024
"""Unread body bytes past which the connection is no longer read; taking what is there (all of it) resumes."""
JOINED = 16 * 1024
"""Up to this size a request body is copied behind its head; it costs less than a second buffer in the transport."""
SLICE = 1 << 20
"""A larger request body is handed to the transport in slices of this size, as the upstream takes them. They are not
copied; each one costs two turns of the event loop."""

Sink = Callable[[bytes], None]
"""Takes a piece of the body as it comes. What it raises ends the exchange, and `pour` with it."""
Release = Callable[[Connection, bool], None]
"""Called once, with whether the connection may carry another exchange."""
_Phase = Literal["first_byte", "idle"]
_LAST_CHUNK = b"0\r\n\r\n"


class Source(Protocol):
    """A request body that is made while it is sent. It has its own deadline: `Timeouts.total` begins behind it."""

    @property
    def length(self) -> int | None:
        """Bytes in all; None: not known, so it goes in chunks."""

    async def read(self) -> bytes:
        """The next piece; b"" at the end. Asked for when the upstream has taken enough of those before. What it raises
        ends the exchange; it is cancelled where the upstream answers before it wants the rest."""


class Exchange:
    """`status`, `headers` (names in lower case) and the body in pieces. Must be closed; `async with` does it."""

    __slots__ = (
        "_closed", "_connection", "_error", "_keep", "_loop", "_paused", "_phase", "_release", "_response", "_sink",
        "_timeouts", "_total_at", "_waiter", "connect_seconds", "headers", "peer", "reused", "status",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        timeouts: Timeouts,
        started: float,
        release: Release,
        *,
        connect_seconds: float | None,
        bodyless: bool,
    ) -> None:
        """`started` is the loop's time that `timeouts.total` counts from; `connect_seconds` is None where reused."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.peer = connection.peer
        self.reused = connect_seconds is None
        self.connect_seconds = connect_seconds or 0.0
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._response = Response(bodyless=bodyless)
        self._timeouts = timeouts
        self._total_at = started + timeouts.total
        self._release = release
        self._waiter: asyncio.Future[None] | None = None
        self._phase: _Phase = "first_byte"
        self._error: Exception | None = None
        self._sink: Sink | None = None
        self._closed = self._paused = False
        self._keep = False
        """The request is written in full, and nothing on our side speaks against using the connection again."""
        connection.owner = self

    async def start(self, head: bytes, body: bytes | Source) -> None:
        """Write the request and wait for the head of the answer. Closes the exchange if it fails."""
        connection = self._connection
        connection.watch(self._total_at)
        try:
            if connection.transport.is_closing():  # ended between its opening and now: `lost` will not come again
                raise Reset("the connection ended before anything was sent", processed=False)
            if not isinstance(body, bytes):
                await self._stream(head, body)
            elif len(body) <= JOINED:
                connection.transport.write(head + body if body else head)
                self._keep = True
            else:
                await self._write(head, memoryview(body))
            await self._wait_for_head()
        except BaseException:
            self.close()
            raise
        if connection.transport.get_write_buffer_size():
            self._keep = False  # answered early: what is unsent may never be read
        self.status, self.headers = self._response.status, self._response.headers

    async def _write(self, head: bytes, body: memoryview) -> None:
        """Ends without the rest when the answer comes first. Standing still for `idle` seconds is a timeout."""
        connection, response = self._connection, self._response
        connection.transport.write(head)
        for start in range(0, len(body), SLICE):
            while connection.blocked and not response.headed and self._error is None:
                await self._wait("idle", self._loop.time() + self._timeouts.idle)
            if response.headed or self._error is not None:
                return
            connection.transport.write(body[start : start + SLICE])
        self._keep = True

    async def _stream(self, head: bytes, source: Source) -> None:
        """As `_write`, of a body that is not here yet. A fault before its end is of a request that was never whole."""
        connection, total, chunked = self._connection, self._timeouts.total, source.length is None
        self._total_at = inf
        connection.transport.write(head)
        try:
            while piece := await self._piece(source):
                connection.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                while connection.blocked and not self._answered:
                    await self._wait("idle", self._loop.time() + self._timeouts.idle)
            if self._error is not None:
                raise self._error
        except UpstreamFault as fault:
            fault.processed = False
            raise
        self._total_at = self._loop.time() + total
        if not self._response.headed:
            if chunked:
                connection.transport.write(_LAST_CHUNK)
            self._keep = True

    async def _piece(self, source: Source) -> bytes:
        """The next of a body; b"" also where the upstream has answered, or is gone, and takes no more."""
        reading = asyncio.ensure_future(source.read())
        reading.add_done_callback(lambda _: self._wake())
        try:
            while not reading.done() and not self._answered:
                await self._wait("idle", inf)
            return b"" if self._answered else reading.result()
        finally:
            if not reading.cancel() and not reading.cancelled():
                reading.exception()  # it was the upstream's word that counted: nobody else looks at this one

    @property
    def _answered(self) -> bool:
        return self._response.headed or self._error is not None

    async def _wait_for_head(self) -> None:
        deadline = self._loop.time() + self._timeouts.first_byte
        while not self._response.headed:
            if self._error is not None:
                raise self._error
            await self._wait("first_byte", deadline)

    async def read(self) -> bytes:
        """All body bytes that are here, at least one; b"" at the clean end.

        Raises Reset, UpstreamTimeout or BadAnswer, each after the bytes that came before it. Cancelling it closes.
        """
        while (data := self.read_nowait()) is None:
            await self._wait("idle", self._loop.time() + self._timeouts.idle)
        return data

    def read_nowait(self) -> bytes | None:
        """As `read`, but None where that would wait."""
        if self._closed:
            raise Reset("the exchange is closed")
        data = self._response.take()
        if data:
            if self._paused:
                self._paused = False
                self._connection.transport.resume_reading()
            return data
        if self._response.complete:
            return b""
        if self._error is not None:
            raise self._error
        return None

    async def pour(self, sink: Sink) -> None:
        """Hands every piece of the body to `sink`, which runs as its bytes arrive, until the clean end.

        Raises as `read` does, after the bytes that came before the fault, and what `sink` raises.
        """
        if self._closed:
            raise Reset("the exchange is closed")
        self._sink = sink
        if self._response.buffered:
            self.go_on()
            self._hand_over(sink)
        while self._error is None and not self._response.complete:
            await self._wait("idle", self._idle_at())
        if self._error is not None:
            raise self._error

    def _idle_at(self) -> float:
        """Nothing is waited for while the reader holds the upstream back: then only the total counts."""
        return self._total_at if self._paused else self._loop.time() + self._timeouts.idle

    def hold(self) -> None:
        """Take no more from the upstream until `go_on`: the reader of a sink is slower than it."""
        if not self._paused and not self._closed and not self._response.complete:
            self._paused = True
            self._connection.deadline = self._total_at
            self._connection.transport.pause_reading()

    def go_on(self) -> None:
        if self._paused and not self._closed and self._error is None:
            self._paused = False
            self._connection.watch(min(self._idle_at(), self._total_at))
            self._connection.transport.resume_reading()

    async def _wait(self, phase: _Phase, deadline: float) -> None:
        """Until anything happens. A wait that is cancelled ends the exchange: its connection is never used again."""
        if self._waiter is not None:
            raise RuntimeError("another task is waiting for this exchange")
        self._phase = phase
        self._connection.watch(min(deadline, self._total_at))
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        except BaseException:
            self._keep = False
            self.close()
            raise
        finally:
            self._waiter = None
        if not self._closed:
            self._connection.deadline = self._total_at

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self._response.complete:  # what comes after the end takes nothing away
            self._error = error
        self._keep = False
        self._connection.close()
        self._wake()

    def close(self) -> None:
        """Give the connection back after a complete, clean exchange; else close it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        response, connection = self._response, self._connection
        clean = self._keep and response.complete and response.reusable and not self._paused
        response.drop()
        self._error = self._sink = None
        connection.owner = None
        self._release(connection, clean)
        self._wake()

    async def aclose(self) -> None:
        self.close()

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What the connection reports (connection.Owner).

    def received(self, data: bytes) -> None:
        response, sink = self._response, self._sink
        try:
            response.feed(data)
        except BadAnswer as fault:
            if sink is not None:
                self._hand_over(sink)
            self._fail(fault)
            return
        if sink is not None:
            self._hand_over(sink)
        elif response.buffered > HIGH_WATER:
            self.hold()
        if response.complete and not response.reusable:
            self._connection.close()
        if sink is None or response.complete:
            self._wake()

    def _hand_over(self, sink: Sink) -> None:
        connection = self._connection
        connection.deadline = min(self._loop.time() + self._timeouts.idle, self._total_at)
        try:
            if data := self._response.take():
                sink(data)
        except Exception as fault:
            self._error = fault
            self._fail(fault)

    def ended(self) -> None:
        if self._response.eof():
            self._wake()
        else:
            self.lost()

    def lost(self) -> None:
        self._fail(Reset("the connection ended before the answer did"))

    def writable(self) -> None:
        self._wake()

    def expired(self) -> None:
        if self._waiter is None or self._connection.deadline >= self._total_at:
            self._fail(UpstreamTimeout("total", self._timeouts.total, held=self._paused))
        elif self._phase == "first_byte":
            self._fail(UpstreamTimeout("first_byte", self._timeouts.first_byte))
        else:
            self._fail(UpstreamTimeout("idle", self._timeouts.idle))
