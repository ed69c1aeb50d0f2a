"""A worker that hears: it takes forms as they come, keeps what it is told to, and misbehaves as told.

On sockets of its own, in a thread: what a transcription server does on the wire, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

READ = 1 << 18
PAGE = b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0\n"
HEARD: dict[str, Any] = {"text": "hello", "usage": {"type": "duration", "seconds": 3}}


@dataclass(frozen=True, slots=True)
class Act:
    """What it does with one request. `*_after`: bytes of the body, after which it does not read on."""

    status: int = 200
    kind: str = "application/json"
    body: bytes = json.dumps(HEARD).encode()
    answer_after: int | None = None
    die_after: int | None = None
    stall_after: int | None = None


@dataclass(slots=True)
class Heard:
    """One request: `how` it ended: `whole`, `left`, `early`, `dead`."""

    worker: int
    path: str
    headers: dict[str, str]
    size: int = 0
    body: bytearray = field(default_factory=bytearray, repr=False)
    how: str = ""


@dataclass(slots=True)
class Play:
    """`acts` of the next requests, whichever worker they come to; all that came. `keep`: bytes of each body."""

    acts: list[Act] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    keep: int = 8 << 20
    resume: threading.Event = field(default_factory=threading.Event)
    """Set: whoever stands still goes on."""


@dataclass(slots=True)
class Listener:
    """`port` is known once it listens."""

    number: int
    play: Play
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
                method, path, _ = lines[0].split(" ", 2)
                headers = dict(line.lower().split(": ", 1) for line in lines[1:])
                if method == "GET":
                    writer.write(_answer(Act(kind="text/plain", body=PAGE)))
                else:
                    heard = Heard(self.number, path, headers)
                    self.play.heard.append(heard)
                    await self._hear(heard, reader, writer)
        writer.close()

    async def _hear(self, heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        act = self.play.acts.pop(0) if self.play.acts else Act()
        try:
            while piece := await _piece(heard, reader):
                heard.size += len(piece)
                if len(heard.body) < self.play.keep:
                    heard.body += piece
                if act.stall_after is not None and heard.size >= act.stall_after:
                    await asyncio.to_thread(self.play.resume.wait)
                    act = Act()
                if act.die_after is not None and heard.size >= act.die_after:
                    heard.how = "dead"
                    writer.transport.abort()
                    return
                if act.answer_after is not None and heard.size >= act.answer_after:
                    heard.how = "early"
                    writer.write(_answer(act, b"connection: close\r\n"))
                    await writer.drain()
                    while await reader.read(READ):
                        pass
                    writer.close()
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            heard.how = "left"
            raise
        heard.how = "whole"
        writer.write(_answer(act))


async def _piece(heard: Heard, reader: asyncio.StreamReader) -> bytes:
    """The next of a body; b"" at its end."""
    if "content-length" in heard.headers:
        left = int(heard.headers["content-length"]) - heard.size
        data = await reader.read(min(READ, left)) if left else b""
        if left and not data:
            raise asyncio.IncompleteReadError(b"", left)
        return data
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


def _answer(act: Act, more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n"
    return head % (act.status, act.kind.encode(), len(act.body), more) + act.body


@contextlib.contextmanager
def listeners(count: int) -> Iterator[tuple[Play, list[Listener]]]:
    """They listen for as long as the block lasts."""
    play = Play()
    made = [Listener(number, play) for number in range(count)]
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        servers = [await asyncio.start_server(one.serve, "127.0.0.1", 0, limit=READ) for one in made]
        for one, server in zip(made, servers, strict=True):
            one.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        for server in servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait()
    try:
        yield play, made
    finally:
        play.resume.set()
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
