"""Where the socket would be: connections that lead nowhere, note every byte they get, and answer as told.

`Loop` is uvloop's with one method replaced, so that everything above it is the gateway's own: pools, connections with
their check of the peer, requests, answers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, cast

import uvloop

from loadtests.residency import wires

Mood = Literal["answer", "refuse", "reset", "hang", "cut", "late", 401, 429, 500, 503]
LATE_SECONDS = 0.02
"""Long enough to stand in the way of others, short enough to be no fault."""
ERROR = b'{"error":{"message":"no","type":"x","code":"x"}}'


class Far(Protocol):
    """The other side: asked when a connection is opened, told what is written to it."""

    def connect(self, host: str) -> str | None:
        """The address of the peer; None: nobody listens there."""

    def received(self, host: str, peer: str, data: bytes) -> Mood: ...


class Loop(uvloop.Loop):
    """Every TCP connection is one of these."""

    far: Far

    async def create_connection(  # type: ignore[override]  # the one use of its many
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[Transport, asyncio.Protocol]:
        await asyncio.sleep(0)
        peer = self.far.connect(host)
        if peer is None:
            raise ConnectionRefusedError(111, "Connection refused")
        protocol = factory()
        transport = Transport(self, protocol, host, peer)
        protocol.connection_made(transport)
        return transport, protocol


class Idle:
    """What a connection does with its socket before anything is sent: sets an option, and polls it."""

    _reading, _writing = os.pipe()  # nothing is ever written: it never looks readable

    def setsockopt(self, *_: object) -> None:
        pass

    def fileno(self) -> int:
        return self._reading


class Transport(asyncio.Transport):
    """A connection to a server that lives in this process."""

    def __init__(self, loop: Loop, protocol: asyncio.Protocol, host: str, peer: str) -> None:
        super().__init__({"peername": (peer, 80), "socket": Idle()})
        self._loop, self._protocol, self._host, self._peer = loop, protocol, host, peer
        self._closing = False
        self._part = b""
        self._mood: Mood | None = None

    def write(self, data: Any) -> None:
        """Judged as soon as it says whose it is: an upload that breaks off was sent all the same."""
        if self._closing:
            return
        self._part += bytes(data)
        whole = wires.whole(self._part)
        if self._mood is None and (whole or wires.nonce_of(self._part) is not None):
            self._mood = self._loop.far.received(self._host, self._peer, self._part)
        if not whole or self._mood is None:
            return
        request, mood = self._part, self._mood
        self._part, self._mood = b"", None
        if mood == "reset":
            self._loop.call_soon(self.abort)
        elif mood == "late":
            self._loop.call_later(LATE_SECONDS, self._answer, "answer", request)
        elif mood != "hang":
            self._loop.call_soon(self._answer, mood, request)

    def _answer(self, mood: Mood, request: bytes) -> None:
        if self._closing:
            return
        if isinstance(mood, int):
            self._protocol.data_received(b"HTTP/1.1 %d No\r\n" % mood + framed(b"application/json", ERROR))
            return
        switched = wires.switching(request)
        if switched is not None:
            self._protocol.data_received(switched)
            self.abort()
            return
        kind, body = wires.reply(request, self._host)
        whole = b"HTTP/1.1 200 OK\r\n" + framed(kind, body)
        if mood == "cut":
            self._protocol.data_received(whole[: -len(body) // 2])
            self.abort()
        else:
            self._protocol.data_received(whole)

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    close = abort

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def writelines(self, pieces: Iterable[Any]) -> None:
        self.write(b"".join(pieces))


def framed(kind: bytes, body: bytes) -> bytes:
    """The rest of an answer, behind its first line."""
    return b"content-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, len(body), body)


def running_loop() -> Loop:
    return cast(Loop, asyncio.get_running_loop())
