"""`gateway serve --workers N`: a parent that serves nothing itself and keeps N processes which do.

Each child is this same command with `--place`, started anew rather than forked, so that it inherits no thread, loop or
open connection. The parent owns what must exist once: the embedded store, the port, and the counts of those that died.

The port is one listening socket per child (docs/adr/0009-several-processes.md says why). The parent holds them too, so
connections that wait for a child that died are taken by the next one in its place.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from gateway.background import keep_running
from gateway.cli.certificate import Files
from gateway.cli.child import Child
from gateway.cli.port import announce, bind
from gateway.cli.terminal import on_hangup
from gateway.errors import StartupFault
from gateway.ledger.child import WriterChild
from gateway.ledger.place import keeps_ledger
from gateway.settings import Settings
from gateway.siblings import DUMP, GATHER, LINE_BYTES, PAGE, READY, Place
from gateway.startup import jobs_secret, load_policy, policy_key
from gateway.store.embedded import Embedded
from gateway.telemetry import Telemetry

ASK_SECONDS = 1.0
"""How often each child is asked for its figures though nobody wants the page: what it counted since goes with it if it
is killed."""
PAUSE_FIRST, PAUSE_MOST = 0.5, 10.0
SOUND_SECONDS = 10.0
"""A child that lived so long is replaced at once; before one that lived less there is a pause, twice the last one."""
END_SECONDS = 5.0
"""After `leave_seconds` and `grace_seconds`: for a child to give back its leases and file its receipts."""
POLL_SECONDS = 0.01
STARTUP_FAULT, FAILURE = 2, 1
"""Exit codes of `gateway`: a StartupFault, and whatever else."""
ENDS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger("gateway")


def supervise(settings: Settings) -> None:
    """Serves until one of ENDS, and exits with 0 then, or as a child that cannot start does. Raises PolicyFault or
    StartupFault."""
    load_policy(settings)
    if (files := Files.of(settings)) is not None:
        files.context()
    with (
        sockets(settings.host, settings.port, settings.workers) as opened,
        sockets(settings.host, settings.admin_port, settings.workers) as doors,
        store_of(settings) as embedded,
    ):
        end = asyncio.run(Workers(settings, embedded, opened, doors).run())
    sys.exit(0 if isinstance(end, signal.Signals) else end)


@contextmanager
def sockets(host: str, port: int | None, count: int) -> Iterator[list[socket.socket]]:
    """A listening socket for each child, all on one port; none where there is no such port."""
    opened: list[socket.socket] = []
    try:
        if port is not None:
            with bind(host, port) as alone:
                port = alone.getsockname()[1]
            opened += (bind(host, port, shared=True) for _ in range(count))
        yield opened
    finally:
        for sock in opened:
            sock.close()


@contextmanager
def store_of(settings: Settings) -> Iterator[Embedded | None]:
    """The embedded store where no other is given: owned, minded and ended by this process alone."""
    if settings.redis_url is not None:
        yield None
        return
    embedded = Embedded.start(settings.data_dir)
    _log.info("embedded store", extra={"fields": {"folder": str(settings.data_dir), "notice": embedded.notice}})
    try:
        yield embedded
    finally:
        embedded.stop()


class Workers:
    """The children by number; None while one is between two lives."""

    def __init__(
        self,
        settings: Settings,
        embedded: Embedded | None,
        opened: list[socket.socket],
        doors: Sequence[socket.socket] = (),
    ) -> None:
        """`opened` and `doors`: on the main port and on the operators', one of each for a child."""
        self._settings, self._embedded, self._sockets, self._doors = settings, embedded, opened, doors
        self._address: tuple[str, int] = opened[0].getsockname()[:2]
        self._children: list[Child | None] = [None] * settings.workers
        self._past = Telemetry()
        """What children that ended had counted."""
        self._announced = False
        self._writer = _writer(settings, embedded)
        self._policy_key = policy_key(settings) if embedded is not None else None
        self._jobs_key = jobs_secret(settings) if embedded is not None else None
        self._end: asyncio.Future[signal.Signals | int]
        self._told = False
        """The children know that they are to end."""
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> signal.Signals | int:
        """Until a signal, which is passed on and returned, or until a child cannot start: then its exit code."""
        loop = asyncio.get_running_loop()
        self._end = loop.create_future()
        for number in ENDS:
            loop.add_signal_handler(number, self._pass_on, number)
        on_hangup(lambda: self._signal(signal.SIGHUP))
        keepers = [loop.create_task(self._keep(number)) for number in range(len(self._children))]
        for keeper in keepers:
            keeper.add_done_callback(self._failed)
        others = [loop.create_task(keep_running(self._ask_around))]
        if self._writer is not None:
            others.append(loop.create_task(keep_running(self._writer.run)))
        if (embedded := self._embedded) is not None:
            others.append(loop.create_task(keep_running(lambda: embedded.mind(self._settings.data_dir))))
        try:
            return await self._end
        finally:
            await self._finish(keepers)
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            if self._writer is not None:
                await self._writer.aclose()

    def _pass_on(self, number: signal.Signals) -> None:
        """The first ends the children in order, another one hurries them."""
        if not self._end.done():
            self._end.set_result(number)
        self._told = True
        self._signal(signal.SIGTERM)

    async def _ask_around(self) -> None:
        while True:
            await asyncio.sleep(ASK_SECONDS)
            for child in self._children:
                if child is not None:
                    child.ask()

    def _failed(self, keeper: asyncio.Task[None]) -> None:
        """A keeper ends only with the whole, or by a mistake of ours."""
        fault = keeper.exception()
        if fault is not None and not self._end.done():
            self._end.set_exception(fault)

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children:
            if child is not None and child.process.poll() is None:
                child.process.send_signal(number)

    async def _finish(self, keepers: list[asyncio.Task[None]]) -> None:
        """Children get their grace; nothing is left behind."""
        for sock in (*self._sockets, *self._doors):
            sock.close()
        if not self._told:
            self._signal(signal.SIGTERM)
        seconds = self._settings.leave_seconds + self._settings.grace_seconds + END_SECONDS
        _, late = await asyncio.wait(keepers, timeout=seconds)
        self._signal(signal.SIGKILL)
        if late:
            await asyncio.wait(late)

    async def _keep(self, number: int) -> None:
        """One child after another in one place, until the end."""
        loop = asyncio.get_running_loop()
        pause, first = 0.0, True
        while not self._end.done():
            if not self._open(number):
                pause = next_pause(pause, 0.0)
                await asyncio.wait([self._end], timeout=pause)
                continue
            began = loop.time()
            child = self._children[number] = self._start(number, fresh=first)
            code = await self._live(child)
            self._children[number] = None
            if child.last is not None:
                self._past.absorb(child.last)
            if self._end.done():
                return
            if not self._announced and code > 0:
                self._end.set_result(code if code == STARTUP_FAULT else FAILURE)
                return
            pause, first = next_pause(pause, loop.time() - began), False
            _log.error("a process ended; starting it again", extra={"fields": {"code": code, "pause": pause}})
            await self._rest(number, pause)

    async def _rest(self, number: int, pause: float) -> None:
        """While a place is empty for long, its socket must not collect connections that somebody else would take. Where
        nobody would, they wait."""
        if pause > 0:
            if any(child is not None and child.ready for child in self._children):
                self._sockets[number].close()
            await asyncio.wait([self._end], timeout=pause)

    def _open(self, number: int) -> bool:
        """Whether this place has its socket, which is opened again after `_rest` closed it."""
        if self._sockets[number].fileno() < 0:
            try:
                self._sockets[number] = bind(*self._address, shared=True)
            except StartupFault as fault:
                _log.error("the port is lost; trying again", extra={"fields": {"fault": str(fault)}})
                return False
        return True

    def _start(self, number: int, *, fresh: bool) -> Child:
        ours, theirs = socket.socketpair()
        given = tuple(sock[number].fileno() for sock in (self._sockets, self._doors) if sock)
        place = Place(given, theirs.fileno(), fresh and self._embedded is not None and self._embedded.fresh)
        env = dict(os.environ)
        if self._embedded is not None:
            env["GATEWAY_REDIS_URL"] = self._embedded.url
            env["GATEWAY_POLICY_KEY"] = (self._policy_key or b"").decode()
            env["GATEWAY_JOBS_KEY"] = (self._jobs_key or b"").decode()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, *sys.orig_argv[1:], "--place", str(place)],
                env=env,
                stdin=subprocess.DEVNULL,
                pass_fds=(*given, theirs.fileno()),
                start_new_session=True,  # Ctrl-C is for the parent, which passes it on once
            )
        return Child(process, ours)

    async def _live(self, child: Child) -> int:
        """From the first word to the exit code. The line ends with the process, however it ended."""
        reader, child.writer = await asyncio.open_unix_connection(sock=child.line, limit=LINE_BYTES)
        with suppress(ConnectionError):
            while line := await reader.readline():
                self._heard(child, line)
        child.hang_up()
        while (code := child.process.poll()) is None:  # noqa: ASYNC110 - a process has no event
            await asyncio.sleep(POLL_SECONDS)
        return code

    def _heard(self, child: Child, line: bytes) -> None:
        kind, _, rest = line.rstrip().partition(b" ")
        if kind == READY:
            child.ready = True
            if not self._announced and all(each is not None and each.ready for each in self._children):
                self._announced = True
                announce(self._sockets[0], self._settings)
        elif kind == DUMP:
            child.told(rest)
        elif kind == GATHER:
            asked, _, child.last = rest.partition(b" ")
            task = asyncio.get_running_loop().create_task(self._answer(child, asked))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, child: Child, asked: bytes) -> None:
        """The figures of all others. Of one that is silent only its counts, or else the sums would fall."""
        others = [each for each in self._children if each is not None and each is not child]
        past = Telemetry()
        past.absorb(self._past.dump())  # of this very moment: one of the others may end while we wait
        dumps = await asyncio.gather(*(each.figures() for each in others))
        for each, dump in zip(others, dumps, strict=True):
            if dump is None and each.last is not None:
                past.absorb(each.last)
        found = [msgspec.Raw(dump) for dump in (past.dump(), *dumps) if dump is not None]
        child.say(PAGE, b"%b %b" % (asked, msgspec.json.encode(found)))


def _writer(settings: Settings, embedded: Embedded | None) -> WriterChild | None:
    """The one that all children share. None where no ledger is kept."""
    given = settings.redis_url
    url = embedded.url if embedded is not None else None if given is None else given.get_secret_value()
    return None if url is None or not keeps_ledger(settings) else WriterChild(settings, url)


def next_pause(pause: float, lived: float) -> float:
    """Seconds before the next child, after one that lived for `lived` seconds and had waited `pause` before."""
    return 0.0 if lived >= SOUND_SECONDS else min(max(2 * pause, PAUSE_FIRST), PAUSE_MOST)
