"""The one door to Redis and Valkey: one pipeline per event-loop turn, a limit on every call, degraded mode.

All calls made in one turn of the loop leave in one write on one connection; nothing waits for a pipeline before it, and
answers come back in order (`wire.py`). URL, TLS and credentials are read by redis-py; the bytes go through hiredis on
our own protocol, because redis-py's client costs 3 to 9 times the CPU of a lease call.

*Degraded* means: not connected yet, connection broken, LATE_LIMIT calls in a row late, or a store that refuses writes.
Every call then fails at once, while a probe tries again: at once, after 50 ms, and doubling up to every second. The
probe is a write: a store that answers PING may still be loading, a replica, out of memory or out of disk. Who only
empties the store (`drains`) asks less of it: a full one takes writes that allocate nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

from gateway.errors import StartupFault, StoreFault
from gateway.store.scripts import Script
from gateway.store.subscription import Subscription
from gateway.store.target import (
    BACKOFF_FIRST,
    BACKOFF_MOST,
    CONNECT_TIMEOUT,
    Value,
    connect,
    greeting,
    pack,
    parse,
    printable,
)
from gateway.store.wire import FULL, UNUSABLE, Call, ReplyFault, Wire

TIMEOUT = 0.050
PROBE_KEY, PROBE_MS = "gw:probe", 1000
_PROBE: tuple[Value, ...] = ("SET", PROBE_KEY, "", "PX", PROBE_MS)
_PROBE_OF_DRAINS: tuple[Value, ...] = ("DEL", PROBE_KEY)
"""A write as well, which a full store does not refuse."""


class Store:
    """A client of one store. `timeout` is in seconds and holds for each call. `drains`: for whoever makes room in it, a
    full store is no degraded one; what it refuses concerns that call alone.

    Calls raise StoreFault: late (that call only), degraded (at once), or ReplyFault, the store's own error.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT, drains: bool = False) -> None:
        self._target = parse(url)
        self.where = printable(self._target)
        """The address without credentials, for messages."""
        self._timeout = timeout
        self._unusable, self._probe = (UNUSABLE - {FULL}, _PROBE_OF_DRAINS) if drains else (UNUSABLE, _PROBE)
        self._wire: Wire | None = None
        self._batch: list[Call] = []
        self._recovery: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[bool, str], None]] = []
        self._sent: set[str] = set()
        """SHA-1 of the scripts whose text this connection has sent."""

    def __repr__(self) -> str:
        return f"Store({self.where})"

    @property
    def degraded(self) -> bool:
        """True while there is no connection on which the store takes writes in time."""
        return self._wire is None

    def listen(self, listener: Callable[[bool, str], None]) -> None:
        """Call `listener(degraded, reason)` at every change, from the event loop. It must not raise."""
        self._listeners.append(listener)

    async def check(self) -> None:
        """Connect, and refuse a store that may evict keys. Raises StartupFault with what to do."""
        if self._wire is None and (self._recovery is None or self._recovery.done()):
            try:
                self._wire = await self._open()
            except (StoreFault, OSError, TimeoutError) as fault:
                raise StartupFault(f"the store at {self.where} cannot be used: {fault or 'no answer'}") from fault
        try:
            memory: bytes = await self.call("INFO", "memory")
        except StoreFault as fault:
            raise StartupFault(f"the store at {self.where} does not answer INFO: {fault}") from fault
        policy = next((line[17:] for line in memory.decode().splitlines() if line.startswith("maxmemory_policy:")), "?")
        if policy != "noeviction":
            raise StartupFault(
                f"the store at {self.where} has maxmemory-policy {policy}, which may evict leases and budgets; "
                "set `maxmemory-policy noeviction` in its configuration"
            )

    def call(self, *command: Value, late: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        """Send one command with this turn's pipeline. Answers are as in RESP2: bytes, int, list or None. `late` hears
        of one that comes after the call failed or was cancelled; it must not raise."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._wire is None:
            future.set_exception(StoreFault(f"the store at {self.where} is degraded"))
            return future
        if not self._batch:
            loop.call_soon(self._flush)
        self._batch.append(Call(pack(command), future, late))
        return future

    async def eval(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Value],
        late: Callable[[Any], None] | None = None,
    ) -> Any:
        """Run a script: by its text where this connection has not sent it yet, then by its SHA-1; by its text again
        where the store has forgotten it. `late` as in `call`."""
        try:
            return await self._run(script, (len(keys), *keys, *args), late)
        except ReplyFault as fault:
            if fault.code != "NOSCRIPT":
                raise
        return await self.call("EVAL", script.text, len(keys), *keys, *args, late=late)

    def _run(
        self, script: Script, rest: tuple[Value, ...], late: Callable[[Any], None] | None = None
    ) -> asyncio.Future[Any]:
        if script.sha1 in self._sent:
            return self.call("EVALSHA", script.sha1, *rest, late=late)
        self._sent.add(script.sha1)
        return self.call("EVAL", script.text, *rest, late=late)

    def post(
        self, script: Script, keys: Sequence[str], args: Sequence[Value], failed: Callable[[], None]
    ) -> asyncio.Future[None]:
        """`eval` from plain code, with this turn's pipeline: nobody waits for its answer, `failed` is called where it
        has none. The future is done when that is known; it never fails."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        rest = (len(keys), *keys, *args)

        def answered(future: asyncio.Future[Any]) -> None:
            fault = future.exception()
            if isinstance(fault, ReplyFault) and fault.code == "NOSCRIPT":
                self.call("EVAL", script.text, *rest).add_done_callback(answered)
                return
            if fault is not None:
                failed()
            done.set_result(None)

        self._run(script, rest).add_done_callback(answered)
        return done

    def subscription(self, channel: str, heard: Callable[[str], None], gap: Callable[[], None]) -> Subscription:
        """What is published on `channel`, once its `run` runs: on a connection of its own, as the protocol wants it."""
        return Subscription(self._target, channel, heard, gap)

    async def aclose(self) -> None:
        """Stop the recovery and drop the connection; listeners hear nothing of it."""
        self._listeners.clear()
        if self._recovery is not None:
            self._recovery.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._recovery
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close("the gateway closed the connection")

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        live = [call for call in batch if not call.answer.done()]
        if self._wire is not None:
            self._wire.send(live, self._timeout)
            return
        for call in live:
            call.answer.set_exception(StoreFault(f"the store at {self.where} is degraded"))

    async def _open(self) -> Wire:
        """A connection that has proved itself by a write. Raises StoreFault, OSError or TimeoutError."""
        async with asyncio.timeout(CONNECT_TIMEOUT):
            wire = await connect(self._target, lambda: Wire(self._lost, self._unusable))
            try:
                for command in (*greeting(self._target), self._probe):
                    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                    wire.send([Call(pack(command), answer)], self._timeout)
                    await answer
            except BaseException:
                wire.close("the store failed the probe")
                raise
        if wire.over:
            raise StoreFault("the store closed the connection")
        self._sent.clear()
        return wire

    def _lost(self, wire: Wire, reason: str) -> None:
        if wire is not self._wire:
            return
        self._wire = None
        self._recovery = asyncio.get_running_loop().create_task(self._recover(), context=Context())
        self._tell(reason)

    async def _recover(self) -> None:
        pause = BACKOFF_FIRST
        while True:
            try:
                self._wire = await self._open()
            except (StoreFault, OSError, TimeoutError):
                await asyncio.sleep(pause)
                pause = min(2 * pause, BACKOFF_MOST)
            else:
                return self._tell("the store takes writes again")

    def _tell(self, reason: str) -> None:
        for listener in self._listeners:
            listener(self.degraded, reason)
