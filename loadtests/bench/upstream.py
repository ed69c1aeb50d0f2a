"""The upstream of the bench: canned answers at little cost. `python -m loadtests.bench.upstream PORT`.

A uvloop protocol, since it must also send events at 10 ms gaps. Its CPU time belongs to no peer.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from loadtests.bench.wire import (
    GAP_MARK,
    GAP_SECONDS,
    LAST_CHUNK,
    METRICS,
    STREAM_MARK,
    answer,
    events,
    length,
    plain,
    stream_head,
)
from loadtests.nursery import die_with_parent

ANSWER = answer()
PAGE = plain(METRICS, "text/plain")
HEAD = stream_head()
EVENTS = events()
GAPLESS = HEAD + b"".join(EVENTS) + LAST_CHUNK


class Upstream(asyncio.Protocol):
    """Answers one request at a time; clients here never pipeline."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = 0
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._need:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._need = end + 4 + length(bytes(self._buffer[:end]).lower())
        if len(self._buffer) >= self._need:
            whole, self._need = bytes(self._buffer), 0
            self._buffer.clear()
            self._answer(whole)

    def _answer(self, request: bytes) -> None:
        if not request.startswith(b"POST"):
            self._transport.write(PAGE)
        elif STREAM_MARK not in request:
            self._transport.write(ANSWER)
        elif GAP_MARK not in request:
            self._transport.write(GAPLESS)
        else:
            self._transport.write(HEAD + EVENTS[0])
            self._later(1, self._loop.time() + GAP_SECONDS)

    def _later(self, index: int, due: float) -> None:
        self._loop.call_at(due, self._event, index, due)

    def _event(self, index: int, due: float) -> None:
        if self._transport.is_closing():
            return
        last = index + 1 == len(EVENTS)
        self._transport.write(EVENTS[index] + LAST_CHUNK if last else EVENTS[index])
        if not last:
            self._later(index + 1, due + GAP_SECONDS)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.platform == "linux":
        die_with_parent()
    uvloop.run(serve(int(sys.argv[1])))
