"""Where host names lead, by the system's own resolver: what /etc/hosts says counts, as it does for connections."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Future, ThreadPoolExecutor

from gateway.routing.join import plain

THREADS = 8
"""A lookup that hangs keeps its thread until the system gives up; nobody else's thread."""
SECONDS = 1.0
MOST_WAITING = 1_024


class Hosts:
    """Lookups in threads of their own: those of the event loop resolve the names of connections."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="hosts")
        self._running: dict[str, Future[frozenset[str]]] = {}
        """Each host once at a time, whoever asks and however often: one that is slow holds one thread."""

    async def addresses_of(self, host: str) -> frozenset[str]:
        """Empty where it leads nowhere. Raises TimeoutError where that is not known within SECONDS."""
        running = self._running.get(host)
        if running is None:
            if len(self._running) >= MOST_WAITING:
                raise TimeoutError
            running = self._running[host] = self._threads.submit(_look_up, host)
        looked = asyncio.wrap_future(running)
        looked.add_done_callback(lambda _: self._over(host, running))
        done, _ = await asyncio.wait({looked}, timeout=SECONDS)
        if not done:
            raise TimeoutError
        return looked.result()

    def _over(self, host: str, running: Future[frozenset[str]]) -> None:
        if self._running.get(host) is running:
            del self._running[host]


def _look_up(host: str) -> frozenset[str]:
    try:
        rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(str(plain(str(row[4][0]))) for row in rows)
