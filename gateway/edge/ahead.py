"""What a client sends while nobody takes it: read on for a bit, onto the disk, so that its end is heard.

The end of a client that leaves stands behind all that it has sent, so whoever does not read never comes to it: its
upload would keep a lease, or a place in a line, for as long as a worker takes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from gateway.edge.replies import Receive
from gateway.edge.spool import Spool
from gateway.errors import NoCapacity

MOST_BYTES = 16 << 20
"""What two kernels keep of one connection at the most: 4 MiB to be sent and 6 MiB to be read (tcp(7), defaults of
tcp_wmem and tcp_rmem), and as much again as is read at a time."""
LOOK_SECONDS = 0.5
Message = MutableMapping[str, Any]


class Ahead:
    """As `receive`. Past `watch` it is also read when nobody asks. Must be closed."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._asked = 0
        self._reading = asyncio.Lock()
        self._kept: Spool | None = None
        self._given = 0
        """Bytes of `_kept`."""
        self._unkept = b""
        """What came behind that, and found no room on the disk."""
        self._last: Message | None = None
        """The message that nothing follows, where it has come."""
        self._task: asyncio.Task[None] | None = None

    def watch(self, spool: Callable[[], Spool]) -> None:
        self._task = asyncio.ensure_future(self._watch(spool))

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._drop()

    async def __call__(self) -> Message:
        self._asked += 1
        async with self._reading:
            if self._kept is not None:
                data = await self._kept.read(self._given)
                self._given += len(data)
                if self._given == self._kept.size:
                    self._drop()
                if data:
                    return {"type": "http.request", "body": data, "more_body": True}
            if self._unkept:
                data, self._unkept = self._unkept, b""
                return {"type": "http.request", "body": data, "more_body": True}
            return await self._receive() if self._last is None else self._last

    async def _watch(self, spool: Callable[[], Spool]) -> None:
        while self._last is None and not self._unkept:
            asked = self._asked
            await asyncio.sleep(LOOK_SECONDS)
            while asked == self._asked and self._may_read_on():
                async with self._reading:
                    await self._read_on(spool)

    def _may_read_on(self) -> bool:
        """Not where whoever wants the next piece waits for the client."""
        ended = self._last is not None or self._unkept
        return not ended and not self._reading.locked() and self._held() < MOST_BYTES

    def _held(self) -> int:
        return 0 if self._kept is None else self._kept.size - self._given

    async def _read_on(self, spool: Callable[[], Spool]) -> None:
        message = await self._receive()
        data = message.get("body", b"")
        if not message.get("more_body", False):
            self._last = {**message, "body": b""} if "body" in message else message
        if not data:
            return
        try:
            if self._kept is None:
                self._kept = spool()
            await self._kept.write(data)
        except NoCapacity:  # then the rest is read when it is wanted
            self._unkept = data

    def _drop(self) -> None:
        kept, self._kept, self._given = self._kept, None, 0
        if kept is not None:
            kept.close()
