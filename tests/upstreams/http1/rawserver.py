"""An upstream of which every byte is the test's: it parses just enough of a request to know where it ends."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType

from gateway.model import Network, Timeouts
from gateway.upstreams.http1 import Address, Exchange, Pool, request_head

HOST = "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\n"
HI = OK + b"Content-Length: 2\r\n\r\nhi"
STREAM = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TIMEOUTS = Timeouts(connect=2.0, first_byte=2.0, idle=2.0, total=5.0)
LARGE = 16 << 20
"""More than the kernel's buffers on both sides of a loopback connection take."""
_LINGER_AND_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Request:
    line: bytes
    headers: dict[bytes, bytes]
    body: bytes


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number
        """0 for the first connection accepted, and so on."""

    async def head(self) -> tuple[bytes, dict[bytes, bytes]] | None:
        """Request line and headers, or None when the client has gone."""
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        line, *fields = raw[:-4].split(b"\r\n")
        return line, dict(field.lower().split(b": ", 1) for field in fields)

    async def request(self) -> Request | None:
        head = await self.head()
        if head is None:
            return None
        try:
            body = await self.reader.readexactly(int(head[1].get(b"content-length", b"0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Request(*head, body)

    async def send(self, *pieces: bytes) -> None:
        """Each piece in a write of its own, with a turn of the loop between."""
        for piece in pieces:
            if self.writer.transport.is_closing():  # uvloop's would raise RuntimeError
                raise ConnectionResetError
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def gone(self) -> None:
        """Returns when the client has closed."""
        try:
            while await self.reader.read(1 << 16):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        """Send RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_AND_RESET)
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


async def settle() -> None:
    """A few turns of the loop: what transports still have to do to open or to close."""
    for _ in range(5):
        await asyncio.sleep(0)


class RawServer:
    """Runs `script` for each connection and closes it afterwards; a script that fails, fails the test."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._faults: list[Exception] = []
        self._changed = asyncio.Condition()
        self.accepted = 0
        self.open = 0

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._serve, HOST, 0, ssl=self._tls, limit=1 << 17)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def address(self, *networks: Network) -> Address:
        return Address(HOST, self.port, networks=networks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        self.accepted += 1
        self.open += 1
        try:
            await self._script(Peer(reader, writer, self.accepted - 1))
        except (ConnectionError, asyncio.CancelledError):
            pass
        except Exception as fault:
            self._faults.append(fault)
        finally:
            writer.close()
            self.open -= 1
            self._tasks.discard(task)
            async with self._changed:
                self._changed.notify_all()

    async def all_closed(self) -> None:
        """Returns once every script has come to its end, which those that wait in `request` or `gone` do on EOF."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: self.open == 0)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await settle()  # asyncio does not close what it accepts while its server closes
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await settle()
        if self._faults:
            raise self._faults[0]


def always(*pieces: bytes) -> Script:
    """A script that answers every request of a connection with the same bytes."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(*pieces)

    return script


def then_end(*pieces: bytes) -> Script:
    """A script that answers one request and ends the connection."""

    async def script(peer: Peer) -> None:
        if await peer.request():
            await peer.send(*pieces)

    return script


def get(path: str = "/", method: str = "GET") -> bytes:
    return request_head(method, path, "test", [], 0)


def post(body: bytes) -> bytes:
    return request_head("POST", "/", "test", [], len(body))


async def read_all(exchange: Exchange) -> bytes:
    pieces = []
    while piece := await exchange.read():
        pieces.append(piece)
    return b"".join(pieces)


async def fetch(pool: Pool, head: bytes | None = None, body: bytes = b"", timeouts: Timeouts = TIMEOUTS) -> bytes:
    async with await pool.send(head or get(), body, timeouts) as exchange:
        return await read_all(exchange)
