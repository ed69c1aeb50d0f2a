"""A conversation: two WebSockets, and every frame from the one to the other within the call that brings it.

Whoever takes its frames more slowly than they come holds the other one back. The end of either is the end of both, with
the same code. A session ends by itself too: after too long, in silence, with its money, or with the process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from websockets.frames import Frame, Opcode

from gateway.edge.cycle import Cycle
from gateway.edge.talk_urls import Sieve
from gateway.errors import (
    GatewayError,
    InvalidRequest,
    Reset,
    SessionExpired,
    ShuttingDown,
    UpstreamFailed,
    UpstreamFault,
)
from gateway.model import Usage
from gateway.upstreams.dialects.realtime import Tally, error_event
from gateway.upstreams.websocket import GOING_AWAY, INTERNAL, NO_STATUS, RESTART, Peer, UpstreamSocket, serving

POLICY = 1008
PING_SECONDS = 20.0
SILENT_SECONDS = 3 * PING_SECONDS
"""Whoever leaves so many pings without an answer is gone."""
_TICK_SECONDS = 0.01
_MOST_UNTOLD = 100
"""Errors that wait for the end of a message; of more the newest."""
CLOSE_SECONDS = 1.0
"""How long the other end may take to answer a close."""
_BROKEN = frozenset({INTERNAL, RESTART, 1013, 1014})
"""Codes with which a server says that it failed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds in all and without a frame; bytes of one message."""

    total: float
    idle: float
    message: int


@dataclass(slots=True)
class End:
    """How it ended: what the client was told, and what the upstream did wrong."""

    error: GatewayError | None = None
    fault: UpstreamFault | None = None


class Session:
    """`run` returns when it is over. `spent` is told the usage so far after each answer, and says why that is too much;
    and once more when it is over in the middle of an answer. `ours`: the upstream is a worker of ours, and sees no
    address."""

    def __init__(
        self,
        wire: Cycle,
        upstream: UpstreamSocket,
        bounds: Bounds,
        request_id: str,
        spent: Callable[[Usage], GatewayError | None],
        *,
        ours: bool,
    ) -> None:
        self._wire, self._upstream, self._bounds, self._id, self._spent = wire, upstream, bounds, request_id, spent
        self._client = Peer(serving(bounds.message), wire.write, wire.finish)
        self._sieve = Sieve() if ours else None
        self._tally = Tally()
        self._pieces: list[bytes] = []
        """Of a message of the upstream that comes in several frames."""
        self._between, self._untold = True, list[bytes]()
        """Whether the client is between two messages, and what it is told when it is."""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[End] = self._loop.create_future()
        self._end: End | None = None
        self._until = time.monotonic() + bounds.total
        self._spoke = time.monotonic()

    async def run(self, headers: list[tuple[bytes, bytes]]) -> End:
        """`headers`: of the 101 that the client gets now. Cancelled where the client is gone without a word."""
        wire, upstream = self._wire, self._upstream
        upstream.on_gone, upstream.on_room = self._upstream_gone, self._read_client
        wire.on_room, wire.on_shutdown = upstream.go_on, self._shut_down
        timer = self._loop.call_later(self._pause(), self._tick)
        self._timer = timer
        try:
            wire.switch(headers, self._from_client)
            upstream.listen(self._from_upstream)
            if upstream.gone:
                self._upstream_gone()
            if wire.ending:  # it was told so while the upstream's handshake was waited for
                self._shut_down()
            return await self._ended
        finally:
            self._timer.cancel()
            self._spent(self._tally.whole())
            upstream.close()
            wire.on_room = wire.on_shutdown = None
            wire.finish()

    # Frames.

    def _from_client(self, data: bytes) -> None:
        for frame in self._client.feed(data):
            self._spoke = self._client.heard
            self._tally.asked(len(frame.data))
            self._send_up(frame)
        if self._upstream.blocked:
            self._wire.flow.pause_reading()
        if not self._client.open:
            self._close(self._client.code, self._client.reason)

    def _send_up(self, frame: Frame) -> None:
        try:
            frames = [frame] if self._sieve is None else self._sieve.sift(frame)
        except InvalidRequest as error:  # as OpenAI does: the session goes on
            self._untold = [*self._untold, error_event(error, self._id)][-_MOST_UNTOLD:]
            self._tell()
            return
        for one in frames:
            self._upstream.peer.send(one)

    def _tell(self) -> None:
        """Nothing may stand in the middle of a message that comes in fragments (RFC 6455 section 5.4)."""
        if self._between:
            untold, self._untold = self._untold, []
            for text in untold:
                self._client.tell(text)

    def _read_client(self) -> None:
        """Again: nobody could hear it meanwhile."""
        self._client.heard = time.monotonic()
        self._wire.flow.resume_reading()

    def _from_upstream(self, frames: list[Frame]) -> None:
        peer = self._upstream.peer
        for frame in frames:
            self._spoke = peer.heard
            self._client.send(frame)
            self._between = frame.fin
            self._tell()
            self._read(frame)
        if self._wire.paused:
            self._upstream.hold()
        if not peer.open:
            fault = Reset(f"the session was ended with {peer.code}") if peer.code in _BROKEN else None
            self._close(peer.code, peer.reason, End(fault=fault))

    def _read(self, frame: Frame) -> None:
        """Messages of text are looked at whole."""
        if not frame.fin or self._pieces:
            if frame.opcode is Opcode.TEXT or self._pieces:
                self._pieces.append(bytes(frame.data))
            if not frame.fin:
                return
            message, self._pieces = b"".join(self._pieces), []
        elif frame.opcode is Opcode.TEXT:
            message = bytes(frame.data)
        else:
            return
        if self._tally.answered(message) and (why := self._spent(self._tally.told)) is not None:
            self._fail(POLICY, why)

    # Ends.

    def _fail(self, code: int, error: GatewayError, fault: UpstreamFault | None = None) -> None:
        """The client is told why, in an event, and then that it is over."""
        if self._end is None:
            self._client.tell(error_event(error, self._id))
            self._close(code, "", End(error, fault))

    def _close(self, code: int, reason: str = "", end: End | None = None) -> None:
        """Both ends are told with the same code; whoever does not answer is not waited for long."""
        if self._end is None:
            self._end = end or End()
            self._client.close(code, reason)
            self._upstream.peer.close(code, reason)
            self._timer.cancel()
            self._timer = self._loop.call_later(CLOSE_SECONDS, self._over)
        if self._wire.response_complete and self._upstream.gone:
            self._over()

    def _over(self) -> None:
        if not self._ended.done():
            self._ended.set_result(self._end or End())

    def _upstream_gone(self) -> None:
        """It has closed, as was agreed, or without a word."""
        if self._end is None:
            fault = Reset("the connection ended before the session did")
            self._fail(INTERNAL, UpstreamFailed("the session broke off: the upstream is gone"), fault)
        else:
            self._close(NO_STATUS)

    def _shut_down(self) -> None:
        self._fail(RESTART, ShuttingDown("the session is ended"))

    # Time.

    def _pause(self) -> float:
        """Until it must be looked at again."""
        now = time.monotonic()
        return max(_TICK_SECONDS, min(PING_SECONDS, self._spoke + self._bounds.idle - now, self._until - now))

    def _tick(self) -> None:
        now, client, upstream = time.monotonic(), self._client, self._upstream
        self._timer = self._loop.call_later(self._pause(), self._tick)
        if now >= self._until:
            self._fail(GOING_AWAY, SessionExpired(f"a session may last {self._bounds.total:g} s"))
        elif now - self._spoke >= self._bounds.idle:
            self._fail(GOING_AWAY, SessionExpired(f"nobody has said anything for {self._bounds.idle:g} s"))
        elif now - client.heard > SILENT_SECONDS and not upstream.blocked:
            self._fail(GOING_AWAY, SessionExpired(f"the client has not answered for {SILENT_SECONDS:g} s"))
        elif now - upstream.peer.heard > SILENT_SECONDS and not upstream.held:
            self._upstream_gone()
        else:
            client.ping()
            upstream.peer.ping()
