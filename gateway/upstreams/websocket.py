"""One end of a WebSocket: its protocol without I/O (the `websockets` package), and our own connection below it.

So the connected peer is held against the permit as for any request, and frames are passed from one socket to the other
within the call that brings them. No extension is ever agreed on: a frame's bytes are what its sender wrote.
Source: RFC 6455.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from gateway.errors import BadAnswer, Reset, UpstreamTimeout
from gateway.model import Timeouts
from gateway.upstreams.http1.connection import Address, Connection

NO_STATUS, ABNORMAL, TLS = 1005, 1006, 1015
"""Codes that stand for a close without one: they are never sent."""
GOING_AWAY, INTERNAL, RESTART = 1001, 1011, 1012
SWITCHING = 101
_DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
_MOST_REASON = 123
QUIET = logging.getLogger("gateway.frames")
QUIET.disabled = True
"""The package tells of every frame and close."""


class Peer:
    """What is said to and by whoever is at the other end. `write` takes bytes, `end` is called when no more will be
    written."""

    def __init__(self, protocol: Protocol, write: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._protocol, self._write, self._end = protocol, write, end
        self.heard = time.monotonic()
        """When it said anything."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames of messages that are whole now. Pings are answered, a close is, too."""
        self.heard = time.monotonic()
        self._protocol.receive_data(data)
        self.flush()
        events = self._protocol.events_received()
        return [one for one in events if isinstance(one, Frame) and one.opcode in _DATA]

    @property
    def open(self) -> bool:
        return self._protocol.state is OPEN

    @property
    def code(self) -> int:
        """With which it closed, or was closed for what it said."""
        said = self._protocol.close_rcvd or self._protocol.close_sent
        return ABNORMAL if said is None else said.code

    @property
    def reason(self) -> str:
        said = self._protocol.close_rcvd
        return "" if said is None else said.reason

    def send(self, frame: Frame) -> None:
        if not self.open:
            return
        if frame.opcode is Opcode.TEXT:
            self._protocol.send_text(frame.data, frame.fin)
        elif frame.opcode is Opcode.BINARY:
            self._protocol.send_binary(frame.data, frame.fin)
        else:
            self._protocol.send_continuation(frame.data, frame.fin)
        self.flush()

    def tell(self, text: bytes) -> None:
        """A message of our own, unless it would stand in the middle of another one."""
        if self.open:
            try:
                self._protocol.send_text(text)
            except ProtocolError:
                return
            self.flush()

    def ping(self) -> None:
        if self.open:
            self._protocol.send_ping(b"")
            self.flush()

    def close(self, code: int, reason: str = "") -> None:
        """Says so, once."""
        if self.open:
            if code in (NO_STATUS, ABNORMAL, TLS):
                self._protocol.send_close()
            else:
                self._protocol.send_close(code, reason.encode()[:_MOST_REASON].decode(errors="ignore"))
            self.flush()

    def flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._write(data)
            else:
                self._end()


class UpstreamSocket:
    """A WebSocket to an upstream, or its refusal to have one: `status` is 101, or `headers` and `body` say why not.
    Must be closed."""

    def __init__(self, connection: Connection, protocol: ClientProtocol) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.gone = False
        self.on_frames: Callable[[list[Frame]], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self._connection, self._protocol = connection, protocol
        self.peer = Peer(protocol, connection.transport.write, lambda: None)
        self._early: list[Frame] = []
        """What it said before anybody listened."""
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held = False
        connection.owner = self

    @classmethod
    async def open(
        cls,
        address: Address,
        host: str,
        path: str,
        headers: Iterable[tuple[bytes, bytes]],
        subprotocols: Sequence[str],
        timeouts: Timeouts,
        most: int,
    ) -> UpstreamSocket:
        """Returns when the upstream has answered the handshake. `most`: bytes of one message. Raises ConnectFailed,
        PermitRefused, UpstreamTimeout, Reset or BadAnswer."""
        connection = Connection(asyncio.get_running_loop(), lambda _: None)
        await connection.open(address, min(timeouts.connect, timeouts.total))
        uri = WebSocketURI(address.tls is not None, address.host, address.port, path, "", None, None)
        protocol = ClientProtocol(
            uri, subprotocols=[Subprotocol(one) for one in subprotocols] or None, max_size=most, logger=QUIET
        )
        socket = cls(connection, protocol)
        try:
            await socket._shake_hands(path, host, headers, min(timeouts.first_byte, timeouts.total))
        except BaseException:
            connection.close()
            raise
        return socket

    async def _shake_hands(self, path: str, host: str, headers: Iterable[tuple[bytes, bytes]], seconds: float) -> None:
        request = self._protocol.connect()
        request.path = path
        del request.headers["Host"]
        request.headers["Host"] = host
        for name, value in headers:
            request.headers[name.decode()] = value.decode("latin-1")
        self._protocol.send_request(request)
        self.peer.flush()
        try:
            async with asyncio.timeout(seconds):
                await self._answered
        except TimeoutError:
            raise UpstreamTimeout("first_byte", seconds) from None

    @property
    def subprotocol(self) -> str | None:
        return self._protocol.subprotocol

    @property
    def blocked(self) -> bool:
        """It takes less than it is sent."""
        return self._connection.blocked

    def listen(self, on_frames: Callable[[list[Frame]], None]) -> None:
        """From now on frames are handed over as they come; those that are here at once."""
        self.on_frames = on_frames
        early, self._early = self._early, []
        if early:
            on_frames(early)

    def hold(self) -> None:
        if not self._held and not self.gone:
            self._held = True
            self._connection.transport.pause_reading()

    def go_on(self) -> None:
        if self._held and not self.gone:
            self._held = False
            self.peer.heard = time.monotonic()
            self._connection.transport.resume_reading()

    @property
    def held(self) -> bool:
        return self._held

    def close(self, code: int = GOING_AWAY) -> None:
        """At once; what was said to it still leaves where it can. Idempotent."""
        self.on_frames = self.on_gone = self.on_room = None
        if not self.gone:
            self.peer.close(code)
            transport = self._connection.transport
            self._connection.owner = None
            (transport.abort if transport.get_write_buffer_size() else transport.close)()
            self.gone = True

    # What the connection reports (connection.Owner).

    def received(self, data: bytes) -> None:
        if self._answered.done():
            self._hand_over(self.peer.feed(data))
            return
        self._protocol.receive_data(data)
        self._look_at_answer()
        self.peer.flush()

    def _look_at_answer(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self.status, self.body = event.status_code, bytes(event.body)
                self.headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in event.headers.raw_items()]
            elif isinstance(event, Frame) and event.opcode in _DATA:
                self._early.append(event)
        self._settle_handshake()

    def _settle_handshake(self) -> None:
        fault = self._protocol.handshake_exc
        if self._answered.done() or (not self.status and fault is None):
            return
        if fault is not None and self.status in (0, SWITCHING):
            self._answered.set_exception(BadAnswer("the upstream's answer is no WebSocket handshake"))
        else:
            self._answered.set_result(None)

    def _hand_over(self, frames: list[Frame]) -> None:
        if self.on_frames is None:
            self._early += frames
        elif frames or not self.peer.open:
            self.on_frames(frames)

    def ended(self) -> None:
        if not self._answered.done():
            self._protocol.receive_eof()  # ends the body of a refusal that has no length
            self._look_at_answer()
        self.lost()

    def lost(self) -> None:
        if not self._answered.done():
            self._answered.set_exception(Reset("the connection ended before the handshake did"))
        if not self.gone:
            self.gone = True
            if self.on_gone is not None:
                self.on_gone()

    def writable(self) -> None:
        if self.on_room is not None:
            self.on_room()

    def expired(self) -> None:
        self.lost()


def serving(most: int) -> Protocol:
    """The protocol of a server's end whose handshake is done. `most`: bytes of one message."""
    return Protocol(SERVER, state=OPEN, max_size=most, logger=QUIET)
