"""One HTTP exchange on uvicorn, with three things ASGI does not offer: chunks written without a task switch,
a synchronous call when the client leaves, and a connection reset."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "simfleet.connection"
_LINGER_RESET = struct.pack("ii", 1, 0)
Header = tuple[bytes, bytes]


class SimProtocol(HttpToolsProtocol):
    """uvicorn's connection; the scope carries it under `extensions` so that a handler can write to it directly."""

    on_lost: Callable[[], None] | None = None
    lost = False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"protocol": self}}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost = True
        callback, self.on_lost = self.on_lost, None
        if callback is not None:
            callback()

    def reset(self) -> None:
        """Drop the connection with a TCP RST; nothing buffered is sent."""
        if self.transport.is_closing():
            return
        with contextlib.suppress(OSError):
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self.transport.abort()


class ClientGone(Exception):
    """The client closed its connection before its request was complete."""


class Exchange:
    """One request and its answer. A reply is `reply`, or `start`, any number of `write`, and `end`."""

    __slots__ = ("_receive", "_send", "connection", "gone", "headers", "method", "path", "query", "server")

    def __init__(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.connection = _connection(scope)
        self.method = scope["method"]
        self.path = scope["path"]
        self.query = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Resolved as soon as the connection is lost."""
        self.server = b"uvicorn"
        """Value of the header `server`."""
        self._receive = receive
        self._send = send
        self.on_gone(lambda: None)

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call back once when the client leaves; at once if it has left already. Replaces an earlier callback."""

        def lost() -> None:
            if not self.gone.done():
                self.gone.set_result(None)
            callback()

        if self.connection.lost:
            lost()
        else:
            self.connection.on_lost = lost

    async def body(self) -> bytes:
        """The whole request body. Raises ClientGone."""
        parts: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            parts.append(message["body"])
            if not message["more_body"]:
                return b"".join(parts)

    async def reply(
        self, status: int, body: object, headers: Iterable[Header] = (), content_type: bytes = b"application/json"
    ) -> None:
        """A complete answer; anything but bytes is encoded as JSON."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        length = (b"content-length", str(len(raw)).encode())
        fields = [(b"content-type", content_type), length, (b"server", self.server), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        await self._send({"type": "http.response.body", "body": raw, "more_body": False})

    async def start(self, headers: Iterable[Header] = ()) -> None:
        """Begin a server-sent event stream."""
        fields = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"server", self.server),
            *headers,
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": fields})

    def write(self, data: bytes) -> None:
        """Send one HTTP chunk now, from any callback: one timer can serve all streams of a batch."""
        transport = self.connection.transport
        if not transport.is_closing():
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def wait(self, event: asyncio.Event) -> bool:
        """Wait for an event; False when the client left first."""
        if not event.is_set():
            waiter = asyncio.ensure_future(event.wait())
            either: set[asyncio.Future[Any]] = {waiter, self.gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
        return event.is_set() and not self.gone.done()

    async def left_within(self, seconds: float) -> bool:
        """Let so much time pass; True, and at once, when the client leaves meanwhile."""
        done, _ = await asyncio.wait({self.gone}, timeout=seconds)
        return bool(done)


def _connection(scope: HTTPScope) -> SimProtocol:
    connection = (scope.get("extensions") or {})[EXTENSION]["protocol"]
    assert isinstance(connection, SimProtocol)
    return connection
