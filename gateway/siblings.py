"""What the processes of one `gateway serve --workers N` say to each other, so that `/metrics` of any is the sum of all.

Each child has one line to the parent: a socket pair, on which every message is a line of text. Nothing lies in the file
system, and the end of either process ends the line at once: so each learns of the other's death, however it died.

    child to parent   R                 it is ready
                      D {dump}          its figures: when asked, and before it ends
                      G n {dump}        its own figures, and please those of all others; n counts such requests
    parent to child   A                 asks for the figures
                      P n [dump, ...]   the answer to G n: the others that answered in time, and the counts of the past
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from gateway.telemetry import Telemetry

READY, DUMP, GATHER, ASK, PAGE = b"R", b"D", b"G", b"A", b"P"
LINE_BYTES = 16 << 20
"""Longest line: about a hundred times the figures of a process with a thousand upstreams."""
PARENT_SECONDS = 2.0
"""A parent that takes longer does not answer (it waits 0.25 s for the others): then there is no page."""
LAST_SECONDS = 0.5
"""For the last figures to go out to a parent that may be busy."""

_pages = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Place:
    """What a child is given: descriptors of its listening sockets (the main port's, and the operators' where they have
    one) and of its line to the parent; and whether the parent has just started the store on an empty folder."""

    sockets: tuple[int, ...]
    parent: int
    fresh: bool

    def __str__(self) -> str:
        return ",".join(map(str, (int(self.fresh), self.parent, *self.sockets)))

    @classmethod
    def parse(cls, text: str) -> Place:
        fresh, parent, listen, *more = map(int, text.split(","))
        return cls((listen, *more), parent, bool(fresh))


class Siblings:
    """A child's end of the line; without a `place` this process is alone, and everything here does nothing."""

    def __init__(self, telemetry: Telemetry, place: Place | None = None) -> None:
        self._telemetry, self._place = telemetry, place
        self._writer: asyncio.StreamWriter | None = None
        self._open = asyncio.Event()
        """The line is there."""
        self._asked = 0
        self._answers: dict[int, asyncio.Future[list[msgspec.Raw]]] = {}
        telemetry.processes.set(1)

    async def page(self) -> bytes | None:
        """The metrics of all processes together; `gateway_processes` tells how many that were. None where the parent
        does not answer: the sums over this process alone would look like a restart of all."""
        others = await self._others() if self._place is not None else []
        return None if others is None else self._telemetry.page(others)

    async def _others(self) -> list[bytes] | None:
        self._asked += 1
        number, answer = self._asked, asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            async with asyncio.timeout(PARENT_SECONDS):
                await self._open.wait()
                self._say(GATHER, b"%d %b" % (number, self._telemetry.dump()))
                return [bytes(dump) for dump in await answer]
        except TimeoutError:
            return None
        finally:
            del self._answers[number]

    async def run(self) -> None:
        """Says that this process is ready, answers the parent until cancelled, and ends the process when it is gone."""
        if self._place is not None:
            line = socket.socket(fileno=os.dup(self._place.parent))
            reader, self._writer = await asyncio.open_unix_connection(sock=line, limit=LINE_BYTES)
            self._open.set()
            try:
                self._say(READY)
                await self._listen(reader)
            finally:
                await self._hang_up(self._writer)
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    async def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        self._say(DUMP, self._telemetry.dump())
        self._writer = None
        self._open.clear()
        writer.close()
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await writer.wait_closed()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                kind, _, rest = line.rstrip().partition(b" ")
                if kind == ASK:
                    self._say(DUMP, self._telemetry.dump())
                elif kind == PAGE:
                    number, _, dumps = rest.partition(b" ")
                    answer = self._answers.get(int(number))
                    if answer is not None and not answer.done():
                        answer.set_result(_pages.decode(dumps))

    def _say(self, kind: bytes, rest: bytes = b"") -> None:
        if self._writer is not None:
            self._writer.write(b"%b %b\n" % (kind, rest))
