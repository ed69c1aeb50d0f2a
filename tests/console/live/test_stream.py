"""The feed on a real socket: its beginning, its heartbeat, and viewers that read nothing or leave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.console.live import stream
from gateway.console.live.feed import Feed, Source
from loadtests.feedbench.serving import Server
from tests.polling import until

ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LARGE = "x" * 500_000


@asynccontextmanager
async def viewer(
    server: Server, room: int = 1 << 16
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """`room`: bytes that its machine takes although it reads nothing."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=own, limit=1024)
    writer.write(ASK)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def feed_of(text: str, tick: float) -> Feed:
    asked = 0

    async def make() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"n": asked, "text": text} if tick < 1 else {"text": text}

    return Feed([Source("fleet", make)], tick)


async def test_a_viewer_hears_and_is_off_the_list_when_it_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.02)
    feed = feed_of("well", 60.0)
    async with Server(feed) as server:
        async with viewer(server) as (reader, _):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"200" in head.split(b"\r\n")[0]
            assert b"content-type: text/event-stream" in head
            assert b"cache-control: no-store" in head
            assert (await reader.readuntil(b"\n\n")).endswith(b'\r\nevent: fleet\ndata: {"text":"well"}\n\n')
            assert stream.HEARTBEAT in await reader.readuntil(b":\n\n")
            assert len(feed.viewers) == 1
        await until(lambda: not feed.viewers)


async def test_who_reads_nothing_is_let_go_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STALLED_SECONDS", 0.3)
    feed = feed_of(LARGE, 0.02)
    async with Server(feed) as server, viewer(server, 1 << 12), viewer(server) as (reader, _):
        await until(lambda: len(feed.viewers) == 2)
        heard = 0
        while len(feed.viewers) == 2:
            heard += len(await reader.read(1 << 20))
        assert heard > len(LARGE)
        assert len(feed.viewers) == 1
        assert await reader.read(1 << 20)


async def test_all_end_with_the_feed() -> None:
    feed = feed_of("well", 60.0)
    async with Server(feed) as server, viewer(server) as (reader, _):
        await reader.readuntil(b"\n\n")
        await feed.aclose()
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"\r\n0\r\n\r\n"), "a whole answer"
