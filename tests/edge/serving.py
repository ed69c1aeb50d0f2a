"""A real uvicorn with the gateway's protocol on a socket, in front of a small application, and a raw client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from gateway.edge.cycle import WIRE, Cycle
from gateway.edge.deadline import Patience
from gateway.edge.protocol import protocol

WAIT_SECONDS = 10.0
BIG_PIECE, BIG_PIECES = b"x" * 65536, 256

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(slots=True)
class Server:
    """`seen` has a row for each request that was read whole: method, target and body."""

    port: int = 0
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Of the last request."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the caller of a hanging path has gone, /big or /huge has nothing more to say, or /wire/flood pauses."""
    paused_after: int = 0
    """How many pieces /wire/flood wrote before it paused last."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.headers = scope["headers"]
        if scope["path"] == "/refuse":
            await answer(send, 401, b"refused")
            return
        if scope["path"] == "/hang":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        self.seen.append((scope["method"], scope["path"], body))
        wire: Cycle = scope["extensions"][WIRE]
        if scope["path"].startswith("/wire"):
            await self._wire(wire, scope["path"])
        elif scope["path"] == "/big":
            await self._big(send, [BIG_PIECE] * BIG_PIECES)
        elif scope["path"] == "/huge":
            await self._big(send, [BIG_PIECE * BIG_PIECES])
        else:
            await answer(send, 200, json.dumps([scope["method"], scope["path"], body.decode()]).encode())

    async def _wire(self, wire: Cycle, path: str) -> None:
        """The short way to answer, in its different uses."""
        if path == "/wire/whole":
            wire.answer(200, [(b"x-a", b"b")], b"hello")
        elif path == "/wire/stream":
            wire.begin(200, [(b"x-a", b"b")], b"he")
            wire.write(b"")
            wire.write(b"llo")
            wire.finish()
        elif path == "/wire/empty":
            wire.begin(200, [], b"")
            wire.finish()
        elif path == "/wire/broken":
            wire.answer(200, [(b"x-a", b"b\r\nx-c: d")], b"hello")
        elif path == "/wire/hang":
            left = asyncio.Event()
            wire.on_left = left.set
            await left.wait()
            wire.begin(200, [], b"nobody")
            wire.write(b"hears")
            wire.finish()
            wire.answer(200, [], b"this")
            self.left.set()
        elif path == "/wire/flood":
            await self._flood(wire)

    async def _flood(self, wire: Cycle) -> None:
        """Writes until the client is the slower one, and again once there is room."""
        room = asyncio.Event()
        wire.on_room = room.set
        wire.begin(200, [], b"")
        for _ in range(2):
            self.paused_after = 0
            while not wire.paused:
                wire.write(BIG_PIECE)
                self.paused_after += 1
                await asyncio.sleep(0)
            self.left.set()
            await room.wait()
            room.clear()
        wire.finish()

    async def _big(self, send: Send, pieces: list[bytes]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in pieces[:-1]:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": pieces[-1]})
        self.left.set()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SECONDS)

    def ask(self, *pieces: bytes) -> list[Answer]:
        """Sends the pieces one by one; the answers until the server ends the connection."""
        with self.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in pieces:
                    connection.sendall(piece)
            return listen(connection)


async def answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def plain(self) -> bool:
        """A refusal as the protocol itself makes it: small text, and the connection ends with it."""
        return (
            self.headers.get("content-type", "").startswith("text/plain")
            and self.headers.get("connection") == "close"
            and 0 < len(self.body) < 200
        )


def listen(connection: socket.socket, most: int | None = None) -> list[Answer]:
    """The answers until the server ends the connection, or until there are `most`. Raises TimeoutError."""
    raw = b""
    answers: list[Answer] = []
    while most is None or len(answers) < most:
        try:
            more = connection.recv(1 << 16)
        except ConnectionResetError:  # whoever still sends when the server closes may be told so
            more = b""
        raw += more
        while (found := take(raw)) is not None:
            one, raw = found
            answers.append(one)
        if not more:
            break
    assert not raw, f"bytes that are no answer: {raw[:100]!r}"
    return answers


def take(raw: bytes) -> tuple[Answer, bytes] | None:
    """The first answer, and what follows it."""
    head, found, rest = raw.partition(b"\r\n\r\n")
    if not found:
        return None
    line, *lines = head.decode("latin-1").split("\r\n")
    matched = re.fullmatch(r"HTTP/1\.1 (\d{3}) .+", line)
    assert matched is not None, line
    headers = dict(one.lower().split(": ", 1) for one in lines)
    length = int(headers.get("content-length", 0))
    if len(rest) < length:
        return None
    return Answer(int(matched[1]), headers, rest[:length]), rest[length:]


@contextlib.contextmanager
def serving(patience: Patience) -> Iterator[Server]:
    """The server runs in a thread, on the event loop that the gateway runs on."""
    app = Server()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol(patience),
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield app
        finally:
            server.should_exit = True
            thread.join()
