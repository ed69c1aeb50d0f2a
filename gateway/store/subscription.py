"""One channel of the store, heard for as long as the process lives. Published messages come at most once: who was not
connected has missed them, so `gap` tells whenever that may have happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import hiredis

from gateway.errors import StoreFault
from gateway.store.target import BACKOFF_FIRST, BACKOFF_MOST, CONNECT_TIMEOUT, Target, connect, greeting, pack

_NO_RIGHT = "NOPERM"
PING_SECONDS = 1.0
SILENCE_SECONDS = 3.0
"""A connection on which not even a ping is answered for so long is dead, whatever the kernel says."""

_log = logging.getLogger("gateway")


class Subscription:
    """`heard(message)` and `gap()` are called from the event loop; they must not raise."""

    def __init__(
        self, target: Target, channel: str, heard: Callable[[str], None], gap: Callable[[], None] = lambda: None
    ) -> None:
        self._target, self._channel, self._heard, self._gap = target, channel, heard, gap
        self._refused = False

    async def run(self) -> None:
        """Until cancelled. Where the store is away it tries again, as the main connection does."""
        pause = BACKOFF_FIRST
        while True:
            try:
                ears = await self._open()
            except (StoreFault, OSError, TimeoutError) as fault:
                self._tell(fault)
                pause = min(2 * pause, BACKOFF_MOST)
            else:
                pause, self._refused = BACKOFF_FIRST, False
                try:
                    self._gap()
                    await ears.until_dead()
                finally:
                    ears.close()
            await asyncio.sleep(pause)

    def _tell(self, fault: Exception) -> None:
        """Says once that the store's user has no right to the channel: nothing else would."""
        if not self._refused and str(fault).startswith(_NO_RIGHT):
            self._refused = True
            _log.warning(
                "the store refuses a subscription", extra={"fields": {"channel": self._channel, "fault": str(fault)}}
            )

    async def _open(self) -> _Ears:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            ears = await connect(self._target, lambda: _Ears(self._heard))
            try:
                ears.send([*greeting(self._target), ("SUBSCRIBE", self._channel)])
                await ears.subscribed
            except BaseException:
                ears.close()
                raise
        return ears


class _Ears(asyncio.Protocol):
    """A connection in RESP2's subscribed state: all that comes are messages and pongs."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._over = self._loop.create_future()
        self._last = self._loop.time()
        self.subscribed: asyncio.Future[None] = self._loop.create_future()

    async def until_dead(self) -> None:
        """Returns when the connection has ended, or does not answer."""
        while not self._over.done() and self._loop.time() - self._last < SILENCE_SECONDS:
            self.send([("PING",)])
            await asyncio.wait([self._over], timeout=PING_SECONDS)

    def send(self, commands: list[Any]) -> None:
        self._transport.write(b"".join(map(pack, commands)))

    def close(self) -> None:
        self._transport.abort()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._last = self._loop.time()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except hiredis.ProtocolError:
            self.close()

    def _take(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            if not self.subscribed.done():
                self.subscribed.set_exception(StoreFault(str(reply)))
            self.close()
        elif isinstance(reply, list) and reply[0] == b"message":
            self._heard(reply[2].decode(errors="replace"))
        elif isinstance(reply, list) and reply[0] == b"subscribe" and not self.subscribed.done():
            self.subscribed.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over.done():
            self._over.set_result(None)
        if not self.subscribed.done():
            self.subscribed.set_exception(StoreFault("the store closed the connection"))
            self.subscribed.exception()  # nobody may be left to ask
