"""One request and its answer on a connection: uvicorn's, and beside `send` a short way for answers made here.

An application finds it as `scope["extensions"][WIRE]`. Its methods write at once, from wherever they are called: a
piece of a stream goes from the upstream's socket to the client's in one chain of calls, without a task in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from uvicorn._types import ASGI3Application, ASGIReceiveEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.edge.wire import JobEnd
from gateway.upstreams.http1.wire import gather

WIRE = "gateway.wire"
SWITCHING = 101
UPLOAD_WATER = 256 * 1024
"""Bytes of an unfinished request body that wake the application, and past which no more of it is read until then: as
much as one read of uvloop brings. It asks for the whole body, and each of its turns is a copy of what there is."""

Headers = Sequence[tuple[bytes, bytes]]
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class Cycle(RequestResponseCycle):
    """An application answers with `send`, or with `answer`, or with `begin`, any `write` and `finish`; not with both.

    These never wait and never raise for a client that has left. Whoever goes on writing while `paused` fills memory.
    """

    job: JobEnd | None = None

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.on_left: Callable[[], None] | None = None
        """Called when the client leaves before its answer is complete."""
        self.stalled = False
        """The client left because it took nothing for too long."""
        self.on_room: Callable[[], None] | None = None
        """Called when `paused` ends."""
        self._eager = False
        self.on_shutdown: Callable[[], None] | None = None
        """Called when the process is about to end."""
        self.ending = False
        """It is."""
        self.on_switch: Callable[[Callable[[bytes], None]], None] | None = None
        """The protocol's: hands over all bytes that follow."""
        self._pieces: list[bytes | bytearray] = []
        self._size = 0
        self._chunked = False
        self.scope["extensions"] = {WIRE: self}  # type: ignore[dict-item]  # ASGI would have a dict here

    async def run_asgi(self, app: ASGI3Application) -> None:
        try:
            await super().run_asgi(app)
        finally:
            self.on_left = self.on_room = self.on_shutdown = self.on_switch = None
            self.scope["extensions"] = {}  # scope and cycle refer to each other

    # What the protocol reports.

    def take(self, piece: bytes) -> None:
        """A piece of the request's body."""
        gather(self._pieces, piece)
        self._size += len(piece)
        if self._size >= UPLOAD_WATER:
            self.flow.pause_reading()
        elif not self._eager:
            return
        self.message_event.set()

    def whole(self) -> None:
        """The body has ended. Reading goes on: a client that leaves must be heard."""
        self.more_body = False
        self.flow.resume_reading()
        self.message_event.set()

    def shut_down(self) -> None:
        """The process takes nothing new: what would go on for ever ends now."""
        self.ending = True
        if self.on_shutdown is not None:
            self.on_shutdown()

    def leave(self) -> None:
        """The client has gone, or will get no (further) answer."""
        if not self.response_complete:
            self.disconnected = True
            if self.on_left is not None:
                self.on_left()
        self.message_event.set()

    # What the application uses.

    def stream(self) -> None:
        """From now on the body is given as it comes: any piece of it wakes the application, not only enough of them."""
        self._eager = True
        if self._size:
            self.message_event.set()

    async def receive(self) -> ASGIReceiveEvent:
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(_CONTINUE)
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body = b"".join(self._pieces)  # a single piece is not copied
        self._pieces, self._size = [], 0
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    @property
    def paused(self) -> bool:
        """The client takes bytes more slowly than they come, and enough of them wait for it."""
        return self.flow.write_paused and not self.disconnected

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer. Content-Length, Date and Connection are added; a client that asked by HEAD gets no body."""
        if self.disconnected:
            return
        head = self._head(status, headers, b"content-length: %d\r\n" % len(body))
        self.transport.write(head if self.scope["method"] == "HEAD" else head + body)
        self._complete()

    def begin(self, status: int, headers: Headers, piece: bytes) -> None:
        """The head of an answer of unknown length, and its first piece. HTTP/1.0 has no chunks: the end of the
        connection ends it (RFC 9112 section 6.1). Not for HEAD, whose answer has no pieces."""
        if self.scope["method"] == "HEAD":
            raise RuntimeError("an answer to HEAD is whole")
        if self.disconnected:
            return
        self._chunked = self.scope["http_version"] == "1.1"
        head = self._head(status, headers, b"transfer-encoding: chunked\r\n" if self._chunked else b"")
        self.transport.write(head)
        if piece:
            self.write(piece)

    def switch(self, headers: Headers, sink: Callable[[bytes], None]) -> None:
        """The connection is a WebSocket from now on: `sink` gets what comes, `write` sends as it is, `finish` ends it.
        Every byte of it counts towards the send deadline as that of an answer does."""
        if self.disconnected or self.on_switch is None:
            return
        self.keep_alive = True  # there is no `Connection: close` beside an upgrade
        head = self._head(SWITCHING, [*headers, (b"connection", b"Upgrade")], b"upgrade: websocket\r\n")
        self.keep_alive = False
        self.transport.write(head)
        self.on_switch(sink)

    def write(self, piece: bytes) -> None:
        if not self.disconnected:
            self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if piece and self._chunked else piece)

    def finish(self) -> None:
        if self.disconnected or self.response_complete:
            return
        if self._chunked:
            self.transport.write(_LAST_CHUNK)
        self._complete()

    def cut(self) -> None:
        """An answer that was begun and cannot be ended: its reader must not take it for a whole one, so the last chunk
        never comes, nor the rest of a length that was said. Where the end of the connection is that of the answer
        (HTTP/1.0) it is reset."""
        if self.disconnected or self.response_complete:
            return
        self.keep_alive = False
        if not (self._chunked or self.chunked_encoding or self.expected_content_length):
            self.transport.abort()
        self._complete()

    def _head(self, status: int, headers: Headers, framing: bytes) -> bytes:
        """Raises RuntimeError where a header would break its line."""
        if self.response_started:
            raise RuntimeError("the answer has begun already")
        lines = [STATUS_LINE[status]]
        lines += [b"%b: %b\r\n" % header for header in self.default_headers]
        lines += [b"%b: %b\r\n" % header for header in headers]
        if framing:
            lines.append(framing)
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\r") != len(lines) or head.count(b"\n") != len(lines) or b"\0" in head:
            raise RuntimeError("a response header with CR, LF or NUL")
        self.response_started = True
        self.waiting_for_100_continue = False
        return head + b"\r\n"

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
