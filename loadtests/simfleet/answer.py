"""One answer on its way out: tokens in, a stream of frames or one body out."""

from __future__ import annotations

import asyncio

from .exchange import Exchange
from .faults import Stall
from .framing import Framing
from .journal import Entry


class Answer:
    """Tokens go in through `emit`, from any callback; `done` tells when and how it ended.

    `done` resolves to "finished", "aborted" (the client left) or "dropped" (a fault cut it off).
    """

    def __init__(self, exchange: Exchange, framing: Framing, entry: Entry) -> None:
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.scripts = framing.scripts
        self.streamed = bool(framing.body.stream)
        self.writes = framing.writes
        self.drop_after: int | None = None
        """Cut the connection after this many emissions; an answer that is not streamed is cut before its body."""
        self.stall: Stall | None = None
        """From its frame on, the stream is dribbled: the bytes wait in `_pending`."""
        self._pending = bytearray()
        self._dribble: asyncio.TimerHandle | None = None
        self._exchange = exchange
        self._framing = framing
        self._entry = entry
        self._open = len(self.scripts)
        self._emitted = 0

    def emit(self, choice: int, first: int, count: int) -> None:
        """Tokens first .. first+count-1 of a choice exist now; the last one ends the choice."""
        if self.done.done():
            return
        if self._cut():
            self.done.set_result("dropped")
            self._exchange.connection.reset()
            return
        if self._framing.writes:
            self._entry.completion_tokens += count
        last = first + count >= self.scripts[choice].length
        self._open -= last
        if self.streamed:
            frames = self._framing.frames(choice, first, count, last=last, closing=self._open == 0)
            self._send(frames)
        self._emitted += 1
        if self._open == 0 and not self._pending:
            self.done.set_result("finished")

    def abort(self) -> None:
        if self._dribble is not None:
            self._dribble.cancel()
        if not self.done.done():
            self.done.set_result("aborted")

    def _send(self, frames: bytes) -> None:
        if self.stall is None or self._emitted < self.stall.after_frames:
            self._exchange.write(frames)
            return
        self._pending += frames
        if self._dribble is None and self.stall.every_s > 0:
            self._dribble = asyncio.get_running_loop().call_later(self.stall.every_s, self._drop, self.stall.every_s)

    def _drop(self, every_s: float) -> None:
        """One byte; the next in `every_s` seconds."""
        self._dribble = None
        if self.done.done():
            return
        self._exchange.write(bytes(self._pending[:1]))
        del self._pending[:1]
        if self._pending:
            self._dribble = asyncio.get_running_loop().call_later(every_s, self._drop, every_s)
        elif self._open == 0:
            self.done.set_result("finished")

    def whole(self) -> bytes:
        """The body of an answer that is not streamed."""
        return self._framing.whole()

    def _cut(self) -> bool:
        return self.drop_after is not None and (self._emitted >= self.drop_after or not self.streamed)
