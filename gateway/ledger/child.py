"""The writer as a child of `gateway serve`: what imports a database, and waits for it, is not the serving process.

Measured (docs/adr/0024-ledger.md): the libraries would add 22 to 31 MB to each serving process, and a row costs as much
CPU under its interpreter lock as a fifth of a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process

from gateway.ledger.place import ledger_url
from gateway.settings import Settings
from gateway.surroundings import surroundings

DELAY_SECONDS = 1.0
"""A gateway that starts has better things to do with its CPU; rows wait on the stream."""
PAUSE_FIRST, PAUSE_MOST = 1.0, 30.0
SOUND_SECONDS = 60.0
"""A writer that lived so long is replaced after the first pause; before one that did not it is twice the last one."""
END_SECONDS = 4.0
"""For a writer to put away what is left; then it is killed: what it had not told to be done comes again."""
COMMAND = ("-m", "gateway", "ledger", "write", "--child")

_log = logging.getLogger("gateway")


class WriterChild:
    """Its process ends with this one, however that ends: its standard input does."""

    def __init__(self, settings: Settings, store_url: str) -> None:
        """Raises StartupFault for a database that cannot be meant."""
        self._env = {
            "GATEWAY_REDIS_URL": store_url,
            "GATEWAY_DATA_DIR": str(settings.data_dir.absolute()),
            "GATEWAY_LEDGER_URL": ledger_url(settings),
            "GATEWAY_LEDGER_MONTHS": str(settings.ledger_months),
            "GATEWAY_LOG_LEVEL": settings.log_level,
        }
        self._process: Process | None = None
        if settings.redis_url is not None and settings.ledger_url is None:
            _log.warning(
                "the ledger is a file of this host although the store may be shared: one host at a time writes, into "
                "its own; for several hosts set GATEWAY_LEDGER_URL=postgresql://..."
            )

    async def run(self) -> None:
        """One writer after another. Cancelled it leaves the last one alone: that is `aclose`'s."""
        loop, pause = asyncio.get_running_loop(), 0.0
        await asyncio.sleep(DELAY_SECONDS)
        while True:
            began = loop.time()
            self._process = await self._start()
            code = await self._process.wait()
            pause = PAUSE_FIRST if loop.time() - began > SOUND_SECONDS else min(max(2 * pause, PAUSE_FIRST), PAUSE_MOST)
            _log.error("the ledger's writer ended; starting it again", extra={"fields": {"code": code, "pause": pause}})
            await asyncio.sleep(pause)

    async def aclose(self) -> None:
        """To be called once nothing more comes onto the stream, and while the store is there."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None  # noqa: S101 - a pipe
        process.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *COMMAND,
            env=surroundings(self._env),
            stdin=PIPE,
            stdout=DEVNULL,
            start_new_session=True,  # Ctrl-C is for the gateway, which ends the writer last
        )
