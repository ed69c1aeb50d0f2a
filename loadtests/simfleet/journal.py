"""What arrived: a ring of every request a port received, so that a test can prove what did and what did not."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque

import msgspec

from .exchange import Exchange

RING = 20_000


class Entry(msgspec.Struct):
    """One request. Header values are kept only for our own ids; of `authorization` only that it was there."""

    seq: int
    """Arrival index on this port, from 0."""
    path: str
    time: float
    """Unix seconds."""
    authorization: bool
    x_request_id: str | None
    traceparent: str | None
    x_nonce: str | None
    header_names: list[str]
    id: str | None = None
    """Id of the answer."""
    model: str | None = None
    stream: bool = False
    outcome: str = "active"
    """active, finished, aborted (client left), error, dropped (fault), lost (the server died)."""
    status: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's."""
    user: str | None = None
    """The body's own `user`: what a test knows its request by."""
    ended: float | None = None
    """Unix seconds; None while it runs."""


class Journal:
    """The last RING entries of one port, and how many ended in which way since the start."""

    def __init__(self) -> None:
        self._ring: deque[Entry] = deque(maxlen=RING)
        self.received = 0
        self.outcomes: Counter[str] = Counter()
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def open(self, exchange: Exchange) -> Entry:
        entry = Entry(
            seq=self.received,
            path=exchange.path,
            time=time.time(),
            authorization=b"authorization" in exchange.headers,
            x_request_id=exchange.header(b"x-request-id"),
            traceparent=exchange.header(b"traceparent"),
            x_nonce=exchange.header(b"x-nonce"),
            header_names=sorted(sys.intern(name.decode("latin-1")) for name in exchange.headers),
        )
        self.received += 1
        self._ring.append(entry)
        return entry

    def close(self, entry: Entry, outcome: str, status: int | None = None) -> None:
        """Settle how a request ended; the first outcome holds."""
        if entry.outcome != "active":
            return
        entry.outcome, entry.ended = outcome, time.time()
        entry.status = entry.status if status is None else status
        self.outcomes[outcome] += 1
        self.prompt_tokens += entry.prompt_tokens
        self.completion_tokens += entry.completion_tokens

    def lose(self) -> None:
        """The server died: every request that it still held is lost."""
        for entry in self._ring:
            self.close(entry, "lost")

    def since(self, seq: int) -> list[Entry]:
        """Entries from arrival index `seq` on, oldest first."""
        return [entry for entry in self._ring if entry.seq >= seq]
