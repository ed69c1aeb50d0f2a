"""Where a serving process asks the ledger: a process of its own reads it, begun with the first question.

A report holds no request up: the database's libraries would add 22 to 31 MB to each serving process, and its rows cost
CPU under the interpreter's lock (docs/adr/0024-ledger.md). What is left to do here with an answer is done in a thread,
and the answer is bounded. The reader ends when nobody has asked for a while.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from contextlib import suppress

import msgspec

from gateway.errors import NoCapacity, NotFound
from gateway.ledger.place import keeps_ledger, ledger_url
from gateway.reports.ask import Ask, Report
from gateway.reports.gathering import Facts, Material
from gateway.reports.question import LINE_BYTES, Question, What, read_answer
from gateway.settings import Settings
from gateway.surroundings import surroundings

COMMAND = ("-m", "gateway", "ledger", "answer")
ANSWER_SECONDS = 30.0
"""For all queries of one question, each of which has its own limit, and for the process to begin."""
IDLE_SECONDS = 60.0
MOST_WAITING = 8
"""Questions that wait for the one before; further ones are refused."""
MOST_OF_ONE, MOST_OF_TENANTS = 2, 6
"""Of those, from one tenant, and from all: the rest is kept for operators."""
RETRY_AFTER_SECONDS = 5


class Desk:
    """Every question raises InvalidRequest where it asks for too much, NoCapacity where the ledger is away, NotFound
    where none is kept."""

    def __init__(self, settings: Settings) -> None:
        """Raises StartupFault for a database that cannot be meant."""
        url = ledger_url(settings) if keeps_ledger(settings) else ""
        self._env = {"GATEWAY_LEDGER_URL": url, "GATEWAY_LOG_LEVEL": settings.log_level}
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting: Counter[str | None] = Counter()
        self._idle: asyncio.TimerHandle | None = None

    async def report(self, ask: Ask, tenant: str | None = None) -> Report:
        """`tenant`: who asks; None is an operator."""
        return await read_answer(await self._ask("report", ask, tenant), Report)

    async def attempts(self, ask: Ask) -> Report:
        return await read_answer(await self._ask("attempts", ask), Report)

    async def material(self, ask: Ask) -> Material:
        return await read_answer(await self._ask("material", ask), Material)

    async def facts(self, ask: Ask) -> Facts:
        return await read_answer(await self._ask("facts", ask), Facts)

    async def aclose(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        await self._kill()

    async def _ask(self, what: What, ask: Ask, tenant: str | None = None) -> bytes:
        if not self._env["GATEWAY_LEDGER_URL"]:
            raise NotFound("this gateway keeps no ledger: GATEWAY_LEDGER_URL is `none`")
        if not self._place_for(tenant):
            raise NoCapacity("too many ask the ledger at once", retry_after=RETRY_AFTER_SECONDS)
        self._waiting[tenant] += 1
        try:
            async with self._turn:
                return await self._answered(msgspec.json.encode(Question(what, ask)))
        finally:
            self._waiting[tenant] -= 1
            if not self._waiting[tenant]:
                del self._waiting[tenant]

    def _place_for(self, tenant: str | None) -> bool:
        waiting = self._waiting.total()
        if tenant is None:
            return waiting < MOST_WAITING
        return self._waiting[tenant] < MOST_OF_ONE and waiting - self._waiting[None] < MOST_OF_TENANTS

    async def _answered(self, question: bytes) -> bytes:
        """A reader that is late, dies, or is not waited for any more is ended: the next answer must be to the next
        question."""
        if self._idle is not None:
            self._idle.cancel()
        done = False
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                process = self._process or await self._start()
                assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes
                process.stdin.write(question + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            done = line.endswith(b"\n")
        except (OSError, ValueError, TimeoutError):
            line = b""
        finally:
            if not done:
                await self._kill()
        if not done:
            raise NoCapacity("the ledger's reader does not answer", retry_after=RETRY_AFTER_SECONDS)
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._hang_up)
        return line

    async def _start(self) -> Process:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *COMMAND,
            env=surroundings(self._env),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            limit=LINE_BYTES,
            start_new_session=True,
        )
        return self._process

    def _hang_up(self) -> None:
        """Its input ends, and so does it; whoever asks next begins another one."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
