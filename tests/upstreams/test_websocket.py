"""The upstream's end of a WebSocket: whom it reached, and what it said to the handshake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from gateway.errors import BadAnswer, ConnectFailed, PermitRefused, UpstreamFault, UpstreamTimeout
from gateway.model import Timeouts
from gateway.upstreams.http1 import Address
from gateway.upstreams.websocket import UpstreamSocket
from tests.upstreams.http1.rawserver import TIMEOUTS, Peer, RawServer, Script


@asynccontextmanager
async def opened(address: Address, timeouts: Timeouts = TIMEOUTS) -> AsyncIterator[UpstreamSocket]:
    socket = await UpstreamSocket.open(
        address, "h", "/v1/realtime?model=m", [(b"x-a", b"b")], ["realtime"], timeouts, 1000
    )
    try:
        yield socket
    finally:
        socket.close()


async def test_a_peer_outside_its_networks_is_refused_before_it_gets_a_byte() -> None:
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        heard.append(await peer.reader.read())

    async with RawServer(script) as server:
        with pytest.raises(PermitRefused):
            async with opened(server.address(ip_network("10.0.0.0/8"))):
                pass
        await server.all_closed()
    assert heard == [b""]


def saying(raw: bytes, then: bool = False) -> Script:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(raw)
        if not then:
            await peer.gone()

    return script


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (saying(b"HTTP/1.1 101 Switching\r\n\r\n"), BadAnswer),
        (saying(b"hello\r\n\r\n"), BadAnswer),
        (saying(b"", then=True), UpstreamFault),
        (saying(b"HTTP/1.1 101 Swit", then=True), UpstreamFault),
        (saying(b""), UpstreamTimeout),
    ],
)
async def test_what_is_no_handshake(script: Script, fault: type[UpstreamFault]) -> None:
    async with RawServer(script) as server:
        with pytest.raises(fault):
            async with opened(server.address(), Timeouts(connect=1, first_byte=0.2, idle=1, total=1)):
                pass
        await server.all_closed()


@pytest.mark.parametrize("sized", [True, False])
async def test_a_refusal_is_read_whole(sized: bool) -> None:
    length = b"Content-Length: 4\r\n" if sized else b""
    script = saying(b"HTTP/1.1 403 No\r\nX-Why: a\r\n" + length + b"\r\nbody", then=True)
    async with RawServer(script) as server, opened(server.address()) as socket:
        assert (socket.status, socket.body) == (403, b"body")
        assert (b"x-why", b"a") in socket.headers


async def test_nobody_there() -> None:
    async with RawServer(saying(b"")) as server:
        address = server.address()
    with pytest.raises(ConnectFailed):
        async with opened(address):
            pass


async def test_whoever_is_cancelled_during_the_handshake_leaves_nothing() -> None:
    here = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        here.set()
        await peer.gone()

    async with RawServer(script) as server:

        async def run() -> None:
            async with opened(server.address()):
                pass

        opening = asyncio.ensure_future(run())
        await here.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await server.all_closed()
