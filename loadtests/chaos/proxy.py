"""A TCP proxy that can be slow and change its target: what lies between a gateway and its store, or its workers."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

PIECE = 64 << 10


@dataclass(slots=True)
class Proxy:
    """Passes bytes to `target` (host, port). Change `delay` (seconds for each piece, each way) while it runs;
    lives on the loop that called `open`."""

    target: tuple[str, int]
    host: str = "127.0.0.1"
    port: int = 0
    delay: float = 0.0
    _server: asyncio.Server | None = None
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pair, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _pair(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._join(near_reader, near)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            near.close()

    async def _join(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_connection(*self.target)
        ways = [asyncio.create_task(way) for way in (self._pass(near_reader, far), self._pass(far_reader, near))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(PIECE):
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(piece)
                await writer.drain()
