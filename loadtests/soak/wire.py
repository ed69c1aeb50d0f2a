"""One client connection by hand: what it sends when, how it leaves, and whether its answer came to its end."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends a RST."""


@dataclass(slots=True)
class Answer:
    """What has come so far; `whole` once its end has. `fault`: why it never will."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    events: int = 0
    whole: bool = False
    fault: str = ""


class Wire(asyncio.Protocol):
    """A connection that is kept from one request to the next; one request at a time."""

    def __init__(self) -> None:
        self.open = False
        self._answer: Answer | None = None
        self._changed: Callable[[], None] = lambda: None

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> Wire:
        """Raises OSError."""
        return (await asyncio.get_running_loop().create_connection(cls, host, port))[1]

    def send(self, raw: bytes) -> None:
        """More of a request; `ask` begins one."""
        self._transport.write(raw)

    def ask(self, raw: bytes) -> Answer:
        """Sends (the first part of) a request; the answer fills as it comes."""
        self._answer = Answer()
        self._parser = httptools.HttpResponseParser(self)
        self.send(raw)
        return self._answer

    async def until(self, condition: Callable[[Answer], bool]) -> None:
        """Returns when `condition` holds for the answer, or it is whole, or it never will be."""
        answer = self._answer
        assert answer is not None
        done = asyncio.get_running_loop().create_future()

        def look() -> None:
            if not done.done() and (condition(answer) or answer.whole or answer.fault):
                done.set_result(None)

        self._changed = look
        look()
        await done

    def leave(self, *, reset: bool = False) -> None:
        if reset and self.open:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        else:
            self._transport.close()
        self.open = False

    # asyncio and the parser call these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        self.open = True

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.leave()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as fault:
            self._answer.fault = f"not HTTP: {type(fault).__name__}"
            self.leave()
        self._changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._answer is not None and not self._answer.whole:
            self._answer.fault = self._answer.fault or "the connection ended"
        self._changed()

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._answer is not None
        self._answer.headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._answer is not None
        self._answer.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        assert self._answer is not None
        self._answer.body += body
        self._answer.events += body.count(b"\n\n")

    def on_message_complete(self) -> None:
        assert self._answer is not None
        self._answer.whole = True
        if not self._parser.should_keep_alive():
            self.leave()
