"""Request bodies that are made while they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.errors import InvalidRequest, Reset, UpstreamTimeout
from gateway.model import Timeouts
from gateway.upstreams.http1 import Pool, request_head
from tests.upstreams.http1.rawserver import HI, LARGE, OK, TIMEOUTS, Peer, RawServer

PIECE = b"x" * (256 << 10)


class Made:
    """A source that counts what was asked of it."""

    def __init__(self, pieces: AsyncIterator[bytes], length: int | None = None) -> None:
        self.length, self._pieces = length, pieces
        self.asked = 0

    async def read(self) -> bytes:
        self.asked += 1
        return await anext(self._pieces, b"")


async def given(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def endless(stop: Callable[[], bool] = lambda: False) -> AsyncIterator[bytes]:
    while not stop():
        yield PIECE


async def silent() -> AsyncIterator[bytes]:
    yield b"begun"
    await asyncio.Event().wait()


def head(length: int | None) -> bytes:
    return request_head("POST", "/", "h", (), length)


async def chunks(peer: Peer) -> bytes:
    body = b""
    while size := int(await peer.reader.readuntil(b"\r\n"), 16):
        body += (await peer.reader.readexactly(size + 2))[:-2]
    await peer.reader.readexactly(2)
    return body


async def test_a_body_of_unknown_length_goes_in_chunks_and_its_connection_is_used_again() -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        while found := await peer.head():
            assert found[1][b"transfer-encoding"] == b"chunked"
            bodies.append(await chunks(peer))
            await peer.send(HI)

    async with RawServer(script) as server:
        pool = Pool(server.address())
        for _ in range(2):
            async with await pool.send(head(None), Made(given(b"one", b"two")), TIMEOUTS) as exchange:
                assert await exchange.read() == b"hi"
        await pool.aclose()
    assert bodies == [b"onetwo"] * 2
    assert server.accepted == 1


async def test_a_body_of_known_length_goes_as_it_is() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request is not None
        assert request.body == b"onetwo"
        await peer.send(HI)

    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(head(6), Made(given(b"one", b"two"), 6), TIMEOUTS) as exchange:
            assert await exchange.read() == b"hi"
        await pool.aclose()


async def test_an_upstream_that_takes_nothing_is_asked_to_take_no_more() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    source = Made(endless())
    async with RawServer(script) as server:
        pool = Pool(server.address())
        with pytest.raises(UpstreamTimeout) as late:
            await pool.send(head(None), source, Timeouts(connect=2, first_byte=2, idle=0.3, total=0.1))
        await pool.aclose()
    assert (late.value.phase, late.value.processed) == ("idle", False)
    assert source.asked * len(PIECE) < 2 * LARGE


@pytest.mark.parametrize("body", [endless, silent], ids=["while it is sent", "while it is waited for"])
async def test_an_answer_before_the_end_is_read_and_the_rest_is_not_sent(
    body: Callable[[], AsyncIterator[bytes]],
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(5)
        await peer.send(OK.replace(b"200 OK", b"413 No") + b"Content-Length: 2\r\n\r\nno")
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(head(None), Made(body()), TIMEOUTS) as exchange:
            assert (exchange.status, await exchange.read()) == (413, b"no")
        await server.all_closed()
        assert pool.idle == 0
        await pool.aclose()


@pytest.mark.parametrize("body", [endless, silent], ids=["while it is sent", "while it is waited for"])
async def test_an_upstream_that_goes_before_the_end_has_not_seen_a_request(
    body: Callable[[], AsyncIterator[bytes]],
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(5)
        peer.reset()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        with pytest.raises(Reset) as reset:
            await pool.send(head(None), Made(body()), TIMEOUTS)
        await pool.aclose()
    assert reset.value.processed is False


async def test_what_the_source_raises_ends_it() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"begun"
        raise InvalidRequest("no form")

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        with pytest.raises(InvalidRequest):
            await pool.send(head(None), Made(broken()), TIMEOUTS)
        await server.all_closed()
        assert (pool.in_use, pool.idle) == (0, 0)
        await pool.aclose()


async def test_whoever_is_cancelled_while_it_waits_for_a_piece_leaves_nothing() -> None:
    here = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        here.set()
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        sending = asyncio.ensure_future(pool.send(head(None), Made(silent()), TIMEOUTS))
        await here.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await server.all_closed()
        assert pool.in_use == 0
        await pool.aclose()
