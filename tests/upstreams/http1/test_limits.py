"""Whom the client may talk to, how long it waits, and how much it holds."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.errors import ConnectFailed, PermitRefused, Reset, UpstreamTimeout
from gateway.model import Timeouts
from gateway.upstreams.http1 import Address, Pool
from gateway.upstreams.http1.exchange import HIGH_WATER, SLICE

from .rawserver import (
    HI,
    HOST,
    LARGE,
    OK,
    STREAM,
    TIMEOUTS,
    Peer,
    RawServer,
    Script,
    always,
    fetch,
    get,
    post,
    read_all,
)

SOON = 0.05
BUFFERS = 2 << 20
"""Room for what the kernel holds for both ends of a connection whose sender's buffer is 64 KiB."""

# Whom


async def test_a_peer_inside_the_networks() -> None:
    async with RawServer(always(HI)) as server:
        address = server.address(ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.0/8"))
        pool = Pool(address)
        assert await fetch(pool) == b"hi"
        await pool.aclose()


@pytest.mark.parametrize("tls", [False, True])
async def test_a_peer_outside_the_networks_gets_no_byte(tls: bool) -> None:
    async def script(peer: Peer) -> None:
        got.append(await peer.reader.read(1))

    got: list[bytes] = []
    async with RawServer(script) as server:
        address = server.address(ip_network("10.0.0.0/8"), ip_network("::/0"))
        pool = Pool(replace(address, tls=ssl.create_default_context()) if tls else address)
        for _ in range(2):
            with pytest.raises(PermitRefused) as caught:
                await fetch(pool)
            assert not caught.value.processed
            assert HOST not in str(caught.value)
            await server.all_closed()
        assert got == [b"", b""]
        assert (pool.opened, pool.idle, pool.in_use) == (0, 0, 0)


async def test_an_ipv4_peer_in_ipv6_clothes_is_an_ipv4_peer() -> None:
    async with RawServer(always(HI)) as server:
        mapped = Address(f"::ffff:{HOST}", server.port, networks=(ip_network("127.0.0.0/8"),))
        pool = Pool(mapped)
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            assert exchange.peer == f"::ffff:{HOST}"
        with pytest.raises(PermitRefused):
            await fetch(Pool(replace(mapped, networks=(ip_network("10.0.0.0/8"),))))


async def test_nagle_is_off() -> None:
    async with RawServer(always(HI)) as server:
        pool = Pool(server.address())
        await fetch(pool)
        sock = pool._idle[0].transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await pool.aclose()


async def test_proxy_variables_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with RawServer(always(HI)) as server:
        pool = Pool(server.address())
        assert await fetch(pool) == b"hi"
        await pool.aclose()


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    async with RawServer(always(b"HTTP/1.1 307 T\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            assert (exchange.status, await exchange.read()) == (307, b"")
        assert (server.accepted, pool.idle) == (1, 1)
        await pool.aclose()


@pytest.mark.parametrize("host", [HOST, "a..b"])
async def test_connecting_to_nobody_names_no_address(host: str) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        pool = Pool(Address(host, taken.getsockname()[1]))
        with pytest.raises(ConnectFailed, match=r"refused|resolved") as caught:
            await fetch(pool)
        assert host not in str(caught.value)
        assert not caught.value.processed
        assert pool.in_use == 0


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost, good for a day."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run([*command, *names, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the openssl command")
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


async def test_tls_with_verification_keep_alive_and_streams(certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with RawServer(always(STREAM, b"2\r\nhi\r\n", b"0\r\n\r\n"), tls=serving) as server:
        good = Address(HOST, server.port, trusting, "localhost", (ip_network("127.0.0.0/8"),))
        pool = Pool(good)
        body = b"x" * (1 << 20)
        assert [await fetch(pool, post(body), body) for _ in range(3)] == [b"hi"] * 3
        assert (pool.opened, pool.reused, pool.idle) == (1, 2, 1)
        await pool.aclose()
        await server.all_closed()
        for bad in (replace(good, server_hostname="elsewhere"), replace(good, tls=ssl.create_default_context())):
            pool = Pool(bad)
            with pytest.raises(ConnectFailed, match="CERTIFICATE_VERIFY_FAILED"):
                await fetch(pool)
            assert pool.in_use == 0
        await server.all_closed()


# How long


async def silent(peer: Peer) -> None:
    """Read everything, say nothing."""
    await peer.gone()


async def stalls(peer: Peer) -> None:
    await peer.request()
    await peer.send(STREAM + b"2\r\nhi\r\n")
    await peer.gone()


async def drips(peer: Peer) -> None:
    await peer.request()
    await peer.send(STREAM)
    while True:
        await peer.send(b"1\r\nx\r\n")
        await asyncio.sleep(SOON / 10)


async def deaf(peer: Peer) -> None:
    """Take no byte of the body."""
    await peer.head()
    await asyncio.sleep(60)


PHASES = [
    (silent, Timeouts(first_byte=SOON), 0, "first_byte"),
    (stalls, Timeouts(idle=SOON), 0, "idle"),
    (drips, Timeouts(idle=60.0, total=SOON * 2), 0, "total"),
    (silent, Timeouts(total=SOON), 0, "total"),
    (deaf, Timeouts(idle=SOON), LARGE, "idle"),
    (deaf, Timeouts(total=SOON), LARGE, "total"),
]


@pytest.mark.parametrize(("script", "timeouts", "size", "phase"), PHASES)
async def test_timeouts(script: Script, timeouts: Timeouts, size: int, phase: str) -> None:
    async with RawServer(script) as server:
        pool = Pool(server.address())
        body = b"x" * size
        started = time.monotonic()
        with pytest.raises(UpstreamTimeout) as caught:
            await fetch(pool, post(body), body, timeouts)
        assert SOON * 0.9 <= time.monotonic() - started < 1
        assert (caught.value.phase, caught.value.processed) == (phase, True)
        assert (pool.idle, pool.in_use) == (0, 0)
        if script is not deaf:
            await server.all_closed()


async def test_a_handshake_that_does_not_come_is_a_connect_timeout() -> None:
    async with RawServer(silent) as server:
        pool = Pool(replace(server.address(), tls=ssl.create_default_context(), server_hostname="localhost"))
        with pytest.raises(UpstreamTimeout) as caught:
            await fetch(pool, timeouts=Timeouts(connect=SOON))
        assert (caught.value.phase, caught.value.processed) == ("connect", False)
        await server.all_closed()
        assert (pool.opened, pool.in_use) == (0, 0)


async def test_a_connection_that_is_not_accepted_is_a_connect_timeout() -> None:
    with socket.create_server((HOST, 0), backlog=0) as listener, socket.socket() as one, socket.socket() as two:
        for filler in (one, two):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        pool = Pool(Address(*listener.getsockname()))
        with pytest.raises(UpstreamTimeout) as caught:
            await fetch(pool, timeouts=Timeouts(connect=SOON))
        assert (caught.value.phase, pool.in_use) == ("connect", 0)


async def test_a_slow_reader_is_no_timeout() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM + b"2\r\nhi\r\n")
        await read.wait()
        await peer.send(b"4\r\n you\r\n0\r\n\r\n")
        await peer.gone()

    read = asyncio.Event()
    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", Timeouts(first_byte=SOON, idle=SOON)) as exchange:
            await asyncio.sleep(SOON * 2)
            assert await exchange.read() == b"hi"
            await asyncio.sleep(SOON * 2)
            read.set()
            assert await read_all(exchange) == b" you"
        assert pool.idle == 1
        await pool.aclose()


async def test_a_stream_longer_than_idle_lives_as_long_as_pieces_come() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        for _ in range(6):
            await peer.send(b"1\r\nx\r\n")
            await asyncio.sleep(SOON / 2)
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        assert await fetch(pool, timeouts=Timeouts(idle=SOON * 2)) == b"x" * 6
        await pool.aclose()


async def test_the_total_ends_an_exchange_that_nobody_reads() -> None:
    async with RawServer(drips) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", Timeouts(total=SOON)) as exchange:
            await server.all_closed()
            with pytest.raises(UpstreamTimeout) as caught:
                await read_all(exchange)
            assert caught.value.phase == "total"


async def test_deadlines_of_one_exchange_do_not_reach_the_next() -> None:
    async with RawServer(always(HI)) as server:
        pool = Pool(server.address())
        await fetch(pool, timeouts=Timeouts(first_byte=SOON, idle=SOON, total=SOON))
        async with await pool.send(get(), b"", Timeouts()) as exchange:
            assert exchange.reused
            await asyncio.sleep(SOON * 2)
            assert await read_all(exchange) == b"hi"
        assert await fetch(pool) == b"hi"
        assert server.accepted == 1
        await pool.aclose()


# How much


async def standing_still(progress: list[int]) -> int:
    """The last value of `progress` once it has not changed for a while."""
    async with asyncio.timeout(5):
        while True:
            before = progress[-1]
            await asyncio.sleep(0.05)
            if progress[-1] == before > 0:
                return before


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_slow_reader_holds_the_upstream_back(chunked: bool) -> None:
    piece = b"x" * 16_384
    count = LARGE // len(piece)
    sent = [0]

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        await peer.send(STREAM if chunked else OK + b"Content-Length: %d\r\n\r\n" % LARGE)
        for _ in range(count):
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            sent[0] += len(piece)
        if chunked:
            await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            assert await standing_still(sent) < BUFFERS
            assert exchange._response.buffered < HIGH_WATER + (1 << 18)  # and one read of the event loop
            assert len(await read_all(exchange)) == LARGE
        assert (pool.idle, pool.in_use) == (1, 0)
        await pool.aclose()


async def test_an_exchange_left_while_paused_is_not_reused() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: %d\r\n\r\n" % LARGE + b"x" * LARGE)

    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            await exchange.read()
        await server.all_closed()
        assert (pool.idle, pool.in_use) == (0, 0)


async def test_a_slow_upstream_holds_the_upload_back() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await go.wait()
        body = await peer.reader.readexactly(LARGE)
        await peer.send(HI if body == whole else b"")
        await peer.gone()

    go = asyncio.Event()
    whole = bytes(range(256)) * (LARGE // 256)
    async with RawServer(script) as server:
        pool = Pool(server.address())
        task = asyncio.create_task(fetch(pool, post(whole), whole))
        await asyncio.sleep(SOON)
        assert not task.done()
        go.set()
        assert await task == b"hi"
        assert pool.idle == 1
        await pool.aclose()


REFUSAL = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"


@pytest.mark.parametrize("then", ["waits", "closes", "reads on"])
async def test_an_early_answer_stops_a_large_upload(then: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(REFUSAL)
        if then == "waits":
            await finished.wait()
        elif then == "reads on":
            while piece := await peer.reader.read(1 << 16):
                taken[0] += len(piece)

    finished, taken = asyncio.Event(), [0]
    body = b"x" * LARGE
    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(post(body), body, TIMEOUTS) as exchange:
            assert (exchange.status, await read_all(exchange)) == (413, b"no")
        finished.set()
        await server.all_closed()
        assert (pool.idle, pool.in_use) == (0, 0)
        assert taken[0] < LARGE


async def test_an_answer_before_the_last_bytes_of_the_request_have_left() -> None:
    loop = asyncio.get_running_loop()
    body = b"x" * SLICE
    with socket.create_server((HOST, 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel makes it its smallest
        listener.setblocking(False)
        pool = Pool(Address(*listener.getsockname()))
        first = asyncio.create_task(fetch(pool))
        upstream, _ = await loop.sock_accept(listener)
        with upstream:
            await loop.sock_recv(upstream, SLICE)
            await loop.sock_sendall(upstream, HI)
            await first
            pool._idle[0].transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            sending = asyncio.create_task(pool.send(post(body), body, TIMEOUTS))
            await loop.sock_recv(upstream, 1)
            await loop.sock_sendall(upstream, REFUSAL)
            async with await sending as exchange:
                assert exchange._connection.transport.get_write_buffer_size()
                assert await read_all(exchange) == b"no"
        assert (pool.idle, pool.in_use) == (0, 0)


async def test_an_upload_into_a_connection_that_breaks() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    body = b"x" * LARGE
    async with RawServer(script) as server:
        pool = Pool(server.address())
        with pytest.raises(Reset) as caught:
            await fetch(pool, post(body), body)
        assert caught.value.processed
        assert pool.in_use == 0
