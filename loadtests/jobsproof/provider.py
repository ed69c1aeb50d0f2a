"""A bought API of jobs, as small as it can be, with the faults that matter: answers that are lost after the order was
taken, refusals, orders that fail, are slow, or never end. It counts what it was ordered, and by which mark.

    POST /orders          {"mark"} -> {"id"}; 503 nothing was taken
    GET  /orders?mark=    {"id"}, or 404: surely never taken
    GET  /orders/{id}     {"state": queued, succeeded, failed}
    GET  /files/{id}      the film
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

FILM_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of an order, drawn from its mark."""

    lost: bool
    """Its answer, not itself."""
    refusals: int
    fails: bool
    stuck: bool
    seconds: float

    @classmethod
    def of(cls, mark: str, seed: int) -> Fate:
        draw = random.Random(f"{seed} {mark}")
        slow = draw.random() < 0.1
        return cls(
            lost=draw.random() < 0.04,
            refusals=1 if draw.random() < 0.04 else 0,
            fails=draw.random() < 0.03,
            stuck=draw.random() < 0.01,
            seconds=draw.uniform(2.0, 5.0) if slow else draw.uniform(0.1, 1.5),
        )


def film(mark: str) -> bytes:
    """What the order of this mark makes."""
    return hashlib.sha256(mark.encode()).digest() * (FILM_BYTES // 32)


@dataclass
class Provider:
    """`taken` are orders by mark: more than one is a film that was paid for twice."""

    seed: int
    taken: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    url: str = ""
    _orders: dict[str, tuple[str, float]] = field(default_factory=dict)
    _open: set[asyncio.Task[None]] = field(default_factory=set)
    _refused: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._served, "127.0.0.1", 0)
        self.url = "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
        try:
            yield
        finally:
            server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        with suppress(asyncio.CancelledError):
            await task

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                answer = self._answer(*await _request(head, reader))
                if answer is None:
                    break
                status, body = answer
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
                await writer.drain()

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes] | None:
        """None: the connection breaks."""
        _, kind, *rest = path.partition("?")[0].split("/")
        if method == "POST":
            return self._order(json.loads(body)["mark"])
        if kind == "orders" and not rest:
            mark = path.partition("mark=")[2]
            return (200, _json(id=_id(mark))) if mark in self.taken else (404, b"{}")
        mark, began = self._orders.get(rest[0], ("", 0.0))
        if not mark:
            return 404, b"{}"
        return (200, film(mark)) if kind == "files" else (200, _json(state=self._state(mark, began)))

    def _order(self, mark: str) -> tuple[int, bytes] | None:
        fate = Fate.of(mark, self.seed)
        if self._refused[mark] < fate.refusals:
            self._refused[mark] += 1
            return 503, b"{}"
        self.taken[mark] += 1
        self._orders.setdefault(_id(mark), (mark, time.monotonic()))
        if fate.lost:
            self.lost += 1
            return None
        return 200, _json(id=_id(mark))

    def _state(self, mark: str, began: float) -> str:
        fate = Fate.of(mark, self.seed)
        if fate.stuck or time.monotonic() - began < fate.seconds:
            return "queued"
        return "failed" if fate.fails else "succeeded"


async def _request(head: bytes, reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    length = next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), 0)
    return method, path, await reader.readexactly(length)


def _id(mark: str) -> str:
    return hashlib.sha256(b"order " + mark.encode()).hexdigest()[:24]


def _json(**fields: str) -> bytes:
    return json.dumps(fields).encode()
