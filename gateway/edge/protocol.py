"""A connection of a caller, from its first byte to its end: limits, deadlines, and the end of the process.

What cannot be framed without doubt (`reading.py`) gets a plain answer, and the connection is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.edge.deadline import Deadline, Patience, unsent
from gateway.edge.head import Refusal
from gateway.edge.reading import DONE, HEAD, SWITCHED, Reading, nowhere

LINGER_SECONDS = 1.0
"""How long a caller that is still sending is listened to after its last answer: closing on unread bytes makes the
kernel send a reset, which can overtake the answer."""


class Protocol(Reading):
    """One connection. A request is not begun before its caller has taken enough of the answers before it: whatever
    answers it finds room.
    """

    @staticmethod
    def on_refused(status: int) -> None:
        """Called with the status of each refusal."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._unsent = 0
        self._deadline = Deadline(self.loop, self._expired)
        self._deadline.watch(self.patience.head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = DONE
        self._deadline.close()
        self.connections.discard(self)
        if self.cycle is not None:
            self.cycle.transport = self.transport  # `_uploading` refers to us, and we to what came of the body
            self.cycle.leave()
        self.flow.resume_writing()
        self.flow.close()
        self._sink = nowhere
        self.parser = None  # type: ignore[assignment]  # it refers back to us, as does the other
        del self._uploading

    # Answering.

    def _switch(self, sink: Callable[[bytes], None]) -> None:
        """What comes is no HTTP any more. It may have begun before its answer was read; and when we end it, its caller
        may still be sending."""
        self._phase, self._sink = SWITCHED, sink
        self.cycle.transport = cast(asyncio.Transport, self._uploading)
        ahead, self._ahead = bytes(self._ahead), bytearray()
        if ahead:
            sink(ahead)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._phase = DONE
            self._watch_unsent(self.patience.send)
        elif self.flow.write_paused and self._phase != DONE:
            self._phase = HEAD
            self.flow.pause_reading()
            self._watch_unsent(self.patience.send)
        elif self._phase != DONE:
            self._next()

    def _next(self) -> None:
        """The connection is free for another request, which may be here already."""
        self.flow.resume_reading()
        self._phase = HEAD
        self._watch_unsent(self.patience.idle)
        if self._ahead:
            ahead, self._ahead = bytes(self._ahead), bytearray()
            self._read(ahead)

    def _refuse(self, refusal: Refusal) -> None:
        """Answers plainly, unless an answer has begun: that one can only be cut."""
        self.on_refused(refusal.status)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.leave()
            if cycle.response_started:
                self._phase = DONE
                self.transport.close()
                return
        body = f"{refusal.text}\n".encode()
        lines = [name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers]
        framing = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(b"".join([STATUS_LINE[refusal.status], *lines, framing % len(body), body]))
        self.linger()

    def linger(self) -> None:
        """The last answer is written: drop what still comes for a moment, then close."""
        self._phase = DONE
        self._ahead.clear()
        if not self.transport.is_closing():
            if self.transport.can_write_eof():  # TLS has no half of an end
                self.transport.write_eof()
            self.flow.resume_reading()
            self._watch_unsent(LINGER_SECONDS)

    def last(self) -> None:
        """The answer at work is the last one. A connection without one may still ask once."""
        self._keep = False
        if self.cycle is not None and not self.cycle.response_complete and self._phase != SWITCHED:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        self._keep = False
        if self.cycle is not None:
            self.cycle.shut_down()
        super().shutdown()

    # Deadlines.

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._phase < DONE:
            self._watch_unsent(self.patience.send)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._phase == HEAD:
            self._next()
        elif self._phase < DONE:
            self._deadline.drop()
            if self.cycle.on_room is not None:
                self.cycle.on_room()

    def _watch_unsent(self, seconds: float) -> None:
        """A deadline that any progress of the caller puts off."""
        self._unsent = unsent(self.transport)
        self._deadline.watch(seconds)

    def _expired(self) -> None:
        waiting = unsent(self.transport)
        if self._phase == HEAD and self._head:
            self._refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, f"no whole head within {self.patience.head:g} s"))
        elif not waiting:
            self.transport.close()
        elif waiting < self._unsent:
            self._watch_unsent(self.patience.send)
        else:
            if self.cycle is not None:
                self.cycle.stalled = True
            self.transport.abort()


def protocol(patience: Patience, on_refused: Callable[[int], None] = Protocol.on_refused) -> type[Protocol]:
    """The protocol with these deadlines, for uvicorn's `Config(http=...)`."""
    given = {"patience": patience, "on_refused": staticmethod(on_refused)}
    return cast(type[Protocol], type("Protocol", (Protocol,), given))
