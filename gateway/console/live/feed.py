"""One producer for all viewers of a process: it makes the bytes of each event once, and runs while somebody looks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from gateway.errors import GatewayError, NoCapacity, StoreFault

KINDS = ("hello", "fleet", "flow", "latency", "money", "policy", "status")
"""In the order in which a viewer hears of them first."""
TICK_SECONDS = 1.0
MOST_VIEWERS = 64
"""Of one process: each may be sent some 100 KB a second by a fleet of 1,000."""
RETRY_AFTER_SECONDS = 30
_log = logging.getLogger("gateway")

Data = Mapping[str, Any]


def event(kind: str, data: Data) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(data))


def same_or_whole(before: Data, after: Data) -> Data | None:
    return None if before == after else after


@dataclass(frozen=True, slots=True)
class Source:
    """Where one kind of event comes from. `make` gives the state of now; where it gives None (not known yet), or raises
    GatewayError or StoreFault, the last one stays. It is asked every `ticks` ticks, each tick until there is one."""

    kind: str
    make: Callable[[], Awaitable[Any]]
    whole: Callable[[Any], Data] = lambda state: state
    change: Callable[[Any, Any], Data | None] = same_or_whole
    """What a viewer that knows the first state has to hear of the second."""
    ticks: int = 1
    dated: bool = False
    """The whole of it tells the time, so its bytes are of one instant."""


class Viewer:
    """Who looks: what it has not read yet. Events are shared with all others, so waiting costs no copy."""

    def __init__(self, only: frozenset[str]) -> None:
        self.only, self.over = only, False
        self._told: set[str] = set()
        self._unread: deque[bytes] = deque()
        self._more = asyncio.Event()

    def hears(self, kind: str, whole: Callable[[], bytes], change: bytes | None) -> None:
        """Of a kind that it wants: the whole of it the first time, then what changed."""
        if kind not in self.only:
            return
        if kind not in self._told:
            self._told.add(kind)
            self._push(whole())
        elif change is not None:
            self._push(change)

    async def take(self, silence: float) -> bytes | None:
        """All that came since the last call, or nothing after `silence` seconds; None: it is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(silence):
                await self._more.wait()
        self._more.clear()
        pieces = b"".join(self._unread)
        self._unread.clear()
        return None if self.over else pieces

    def end(self) -> None:
        self.over = True
        self._more.set()

    def _push(self, piece: bytes) -> None:
        self._unread.append(piece)
        self._more.set()


@dataclass(slots=True)
class _Known:
    """One kind as of the last tick; the bytes of the whole are made for the first who asks for them."""

    source: Source
    state: Any = None
    there: bool = False
    _bytes: bytes | None = None

    def whole(self) -> bytes:
        if self._bytes is None or self.source.dated:
            self._bytes = event(self.source.kind, self.source.whole(self.state))
        return self._bytes

    def moves(self, state: Any) -> bytes | None:
        """The event that tells of it, or None where nobody has to hear."""
        if not self.there:
            self.state, self.there = state, True
            return None
        data = self.source.change(self.state, state)
        if data is None:
            return None
        self.state, self._bytes = state, None
        return event(self.source.kind, data)


@dataclass(slots=True)
class Feed:
    """`sources` in the order of KINDS. `join` and `leave` belong to the event loop."""

    sources: Sequence[Source]
    tick_seconds: float = TICK_SECONDS
    viewers: set[Viewer] = field(default_factory=set)
    _known: list[_Known] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None

    def join(self, only: frozenset[str] = frozenset(KINDS)) -> Viewer:
        """Raises NoCapacity."""
        if len(self.viewers) >= MOST_VIEWERS:
            raise NoCapacity(f"{MOST_VIEWERS} look at this process already", retry_after=RETRY_AFTER_SECONDS)
        viewer = Viewer(only)
        self.viewers.add(viewer)
        if self._task is None:
            self._known = [_Known(source) for source in self.sources]
            self._task = asyncio.create_task(self._run(), context=Context())  # of no request
        for known in self._known:
            if known.there:
                viewer.hears(known.source.kind, known.whole, None)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        if not self.viewers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def aclose(self) -> None:
        for viewer in tuple(self.viewers):
            viewer.end()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        for tick in count():
            due = time.monotonic() + self.tick_seconds
            for known in self._known:
                if tick % known.source.ticks == 0 or not known.there:
                    await self._look(known)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _look(self, known: _Known) -> None:
        try:
            state = await known.source.make()
            if state is not None:
                self._tell(known, state)
        except (GatewayError, StoreFault):
            return  # the store is away, which `status` tells
        except Exception:
            _log.exception("the live feed has a gap", extra={"fields": {"kind": known.source.kind}})

    def _tell(self, known: _Known, state: Any) -> None:
        change = known.moves(state)
        for viewer in self.viewers:
            viewer.hears(known.source.kind, known.whole, change)
