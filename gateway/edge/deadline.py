"""How long a connection may take for what: one timer for all its deadlines, and what tells whether its caller takes
anything, or is gone."""

from __future__ import annotations

import asyncio
import fcntl
import math
import select
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

_INT = struct.Struct("i")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for a head to arrive from its first byte, for a connection to stay unused, for a caller to take
    nothing of what waits for it (any progress begins them anew)."""

    head: float = 10.0
    idle: float = 75.0
    send: float = 60.0


class Deadline:
    """One deadline at a time; to set another replaces it. The timer is moved only when a deadline comes before it, and
    looks again when it fires too early: to put a deadline off, or to drop it, costs an assignment.
    """

    __slots__ = ("_at", "_expired", "_loop", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired: Callable[[], None] | None = expired
        self._at = self._timer_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, seconds: float) -> None:
        """Call `expired` so many seconds from now."""
        self._at = self._loop.time() + seconds
        self._arm()

    def drop(self) -> None:
        self._at = math.inf

    def close(self) -> None:
        """For good: forgets whom to call."""
        self._at, self._expired = math.inf, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = self._at
            self._timer = self._loop.call_at(self._at, self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._loop.time() < self._at:
            self._arm()
        elif self._expired is not None:
            self._at = math.inf
            self._expired()


def unsent(transport: asyncio.Transport) -> int:
    """Bytes that wait for the caller, those in the kernel too (tcp(7), SIOCOUTQ); 0 where it has taken over all.

    The kernel asks for more only when a third of its megabytes is free: a slow caller would seem to take nothing.
    """
    waiting = transport.get_write_buffer_size()
    if waiting:
        with suppress(OSError, ValueError):
            handle = transport.get_extra_info("socket").fileno()
            waiting += _INT.unpack(fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(_INT.size)))[0]
    return waiting


def left(transport: asyncio.Transport) -> bool:
    """Whether the caller has closed or reset the connection, also where bytes of it are still unread (poll(2),
    POLLRDHUP): a transport whose reading is paused never tells."""
    poll = select.poll()
    try:
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    except (OSError, ValueError):
        return True
    return bool(poll.poll(0))
