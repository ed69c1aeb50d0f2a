"""One connection to the store: calls go out in batches, answers are matched to calls strictly in order.

A call that is late or cancelled keeps its place in the queue, so its answer is read when it comes, given to the call's
`late` or dropped, and can never be taken for the answer to another call. Parsing and packing are hiredis's; there is no
push data in RESP2.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import hiredis

from gateway.errors import StoreFault

LATE_LIMIT = 3
FULL = "OOM"
UNUSABLE = frozenset({"LOADING", "READONLY", "MASTERDOWN", "MISCONF", FULL})
"""Error codes that mean that this store takes no writes now; any other error concerns its call alone."""
BUSY_LOOP = 0.010
"""Seconds. A timer later than this means that our own event loop was busy: the answer may already lie in the socket."""


class Call(NamedTuple):
    """A packed command and its answer. `late` is called with an answer that comes when nobody waits for it any more;
    it must not raise."""

    packed: bytes
    answer: asyncio.Future[Any]
    late: Callable[[Any], None] | None = None


class ReplyFault(StoreFault):
    """The store answered with an error. `code` is its first word, such as NOSCRIPT, OOM or READONLY."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.partition(" ")[0]


class Wire(asyncio.Protocol):
    """`lost(wire, reason)` is called once: the connection broke, LATE_LIMIT calls in a row ran late, the store said
    that it takes no writes (a code of `unusable`), or `close`. `late` counts the calls that ran late since the last
    answer in time.
    """

    def __init__(self, lost: Callable[[Wire, str], None], unusable: frozenset[str] = UNUSABLE) -> None:
        self._lost: Callable[[Wire, str], None] | None = lost
        self._unusable = unusable
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[Call, float]] = deque()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reason = "the store closed the connection"
        self.late = 0

    @property
    def over(self) -> bool:
        return self._lost is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, batch: Sequence[Call], timeout: float) -> None:
        """Write packed commands; each future gets its answer, its error, or StoreFault after `timeout` seconds."""
        if self._transport is None or self.over:
            for call in batch:
                _fail(call.answer, self._reason)
            return
        deadline = self._loop.time() + timeout
        for call in batch:
            self._waiting.append((call, deadline))
        self._transport.write(b"".join([call.packed for call in batch]))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._expire, deadline)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while not self.over and (reply := self._reader.gets()) is not False:
                self._answer(reply)
        except (hiredis.ProtocolError, IndexError):  # IndexError: an answer that nobody asked for
            self.close("the store's answer is not RESP2")

    def _answer(self, reply: Any) -> None:
        (_, future, late), _ = self._waiting.popleft()
        if future.done():
            if late is not None and not isinstance(reply, hiredis.ReplyError):
                late(reply)
            return
        self.late = 0
        if isinstance(reply, hiredis.ReplyError):
            fault = ReplyFault(str(reply))
            future.set_exception(fault)
            if fault.code in self._unusable:
                self.close(f"the store takes no writes: {fault.code}")
        else:
            future.set_result(reply)

    def _expire(self, due: float, *, graced: bool = False) -> None:
        now = self._loop.time()
        if not graced and now > due + BUSY_LOOP:
            # uvloop may run timers between two sockets' reads: look once more after a turn of the loop.
            self._timer = self._loop.call_later(BUSY_LOOP, lambda: self._expire(due, graced=True))
            return
        self._timer = None
        for (_, future, _), deadline in self._waiting:
            if deadline > now:
                self._timer = self._loop.call_at(deadline, self._expire, deadline)
                break
            if not future.done():
                self.late += 1
                _fail(future, "the store did not answer in time")
        if self.late >= LATE_LIMIT:
            self.close(f"{LATE_LIMIT} calls in a row were not answered in time")

    def close(self, reason: str) -> None:
        """Drop the connection; every call that waits fails now."""
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            _fail(self._waiting.popleft()[0].answer, self._reason)
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(self, self._reason)


def _fail(future: asyncio.Future[Any], reason: str) -> None:
    if not future.done():
        future.set_exception(StoreFault(reason))
