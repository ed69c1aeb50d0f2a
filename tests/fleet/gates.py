"""A door between one replica and its store, that a test makes slow, shuts, or leads elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path


class Gate:
    """Listens on the unix socket `path` and passes bytes on to the socket at `target`."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self._target = path, target
        self.delay = 0.0
        """Seconds that every piece stays in the gate, each way."""
        self._shut = False
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    async def __aenter__(self) -> Gate:
        self._server = await asyncio.start_unix_server(self._pass, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.shut()

    async def shut(self) -> None:
        """Breaks every connection, and each new one at once."""
        self._shut = True
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def open(self, target: Path | None = None) -> None:
        """Lets connections through again, to another store where one is given."""
        self._target = target or self._target
        self._shut = False

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        try:
            if not self._shut:
                await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a broken connection, or a shut gate
        finally:
            self._pumps.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._target)
        try:
            async with asyncio.TaskGroup() as both:
                ways = (both.create_task(self._pump(reader, back)), both.create_task(self._pump(there, writer)))
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
        except* OSError:
            pass
        finally:
            back.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            if self.delay:
                await asyncio.sleep(self.delay)
            with contextlib.suppress(ConnectionError):
                writer.write(piece)
                await writer.drain()
