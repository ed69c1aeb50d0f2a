"""Exchanges over real sockets: framing, reuse, what each failure is called, and whom the client talks to."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time

import pytest

from gateway.errors import BadAnswer, ConnectFailed, Reset
from gateway.upstreams.http1 import Address, Exchange, Pool
from gateway.upstreams.http1.connection import Connection
from gateway.upstreams.http1.wire import MAX_HEAD_BYTES

from .rawserver import (
    HI,
    HOST,
    LARGE,
    OK,
    STREAM,
    TIMEOUTS,
    Peer,
    RawServer,
    always,
    fetch,
    get,
    post,
    read_all,
    then_end,
)


def counters(pool: Pool) -> tuple[int, int, int, int]:
    return pool.opened, pool.reused, pool.idle, pool.in_use


async def test_an_answer_and_the_next_one_on_the_same_connection() -> None:
    async with RawServer(always(OK + b"X-Two: b\r\nContent-Length: 2\r\n\r\nhi")) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as first:
            assert (first.status, first.peer, first.reused) == (200, HOST, False)
            assert first.headers == [(b"x-two", b"b"), (b"content-length", b"2")]
            assert first.connect_seconds > 0
            assert counters(pool) == (1, 0, 0, 1)
            assert [await first.read(), await first.read(), first.read_nowait()] == [b"hi", b"", b""]
        async with await pool.send(get(), b"", TIMEOUTS) as second:
            assert (second.reused, second.connect_seconds) == (True, 0.0)
        assert counters(pool) == (1, 1, 1, 0)
        await pool.aclose()
        await server.all_closed()
        assert counters(pool) == (1, 1, 0, 0)
        with pytest.raises(ConnectFailed, match="closed"):
            await pool.send(get(), b"", TIMEOUTS)


async def test_what_may_not_leave_any_more_does_not_and_its_connection_stays() -> None:
    def late() -> None:
        raise TimeoutError("another process has it")

    async with RawServer(always(HI)) as server:
        pool = Pool(server.address())
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await pool.send(get(), b"", TIMEOUTS, late)
        assert counters(pool) == (1, 1, 1, 0)
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            assert await read_all(exchange) == b"hi"
        assert counters(pool) == (1, 2, 1, 0)
        await pool.aclose()


REUSE = [  # answer, body, connections for two requests
    (HI, b"hi", 1),
    (STREAM + b"2\r\nhi\r\n0\r\n\r\n", b"hi", 1),
    (STREAM + b"2\r\nhi\r\n0\r\nTrailer: 1\r\n\r\n", b"hi", 1),
    (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\n\r\n" + HI, b"hi", 1),
    (b"HTTP/1.1 204 No\r\n\r\n", b"", 1),
    (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi", 2),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", 2),
    (HI + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanother", b"hi", 2),
    (STREAM + b"2\r\nhi\r\n0\r\n\r\n\r\n", b"hi", 2),
]


@pytest.mark.parametrize(("answer", "body", "connections"), REUSE)
async def test_reuse_only_after_a_clean_end(answer: bytes, body: bytes, connections: int) -> None:
    async with RawServer(always(answer)) as server:
        pool = Pool(server.address())
        for _ in range(2):
            assert await fetch(pool) == body
        assert server.accepted == pool.opened == connections
        await pool.aclose()
        await server.all_closed()


async def test_an_answer_byte_by_byte() -> None:
    raw = b"HTTP/1.1 103 E\r\n\r\n" + STREAM + b"2\r\nhi\r\n4\r\n you\r\n0\r\n\r\n"
    async with RawServer(always(*(raw[i : i + 1] for i in range(len(raw))))) as server:
        pool = Pool(server.address())
        assert await fetch(pool) == b"hi you"
        await pool.aclose()


async def test_a_body_that_lasts_until_the_end_of_the_connection() -> None:
    async with RawServer(then_end(OK + b"\r\n", b"hel", b"lo")) as server:
        pool = Pool(server.address())
        assert await fetch(pool) == b"hello"
        assert counters(pool) == (1, 0, 0, 0)


async def test_such_a_body_is_not_complete_when_the_connection_breaks() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"\r\nhello")
        read.set()
        await broken.wait()
        peer.reset()

    read, broken = asyncio.Event(), asyncio.Event()
    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            assert await exchange.read() == b"hello"
            broken.set()
            with pytest.raises(Reset):
                await exchange.read()


async def test_head_requests() -> None:
    async with RawServer(always(OK + b"Content-Length: 9\r\n\r\n")) as server:
        pool = Pool(server.address())
        for _ in range(2):
            assert await fetch(pool, get(method="HEAD")) == b""
        assert server.accepted == 1
        await pool.aclose()


TOO_SHORT = [
    (OK + b"Content-Length: 5\r\n\r\nhi", b"hi"),
    (STREAM + b"2\r\nhi\r\n", b"hi"),
    (STREAM + b"5\r\nhi", b"hi"),
]


@pytest.mark.parametrize(("answer", "delivered"), TOO_SHORT)
async def test_a_lying_length_is_a_reset_after_what_came(answer: bytes, delivered: bytes) -> None:
    async with RawServer(then_end(answer)) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            assert await exchange.read() == delivered
            for _ in range(2):
                with pytest.raises(Reset) as caught:
                    await exchange.read()
            assert caught.value.processed
        assert counters(pool) == (1, 0, 0, 0)


BAD = [
    OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    OK + b"Transfer-Encoding: gzip\r\n\r\nhi",
    b"HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 100 C\r\n\r\n" * 20,
    OK + b"a: b\r\n" * 300 + b"\r\n",
    OK + b"a: " + b"b" * MAX_HEAD_BYTES,
    b"220 smtp.example ESMTP\r\n",
]


@pytest.mark.parametrize("answer", BAD, ids=lambda raw: repr(raw[:40]))
async def test_a_bad_head_fails_the_send_and_closes(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        with pytest.raises(BadAnswer):
            await pool.send(get(), b"", TIMEOUTS)
        await server.all_closed()
        assert counters(pool) == (1, 0, 0, 0)


async def test_a_head_that_never_ends() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        while True:
            await peer.send(b"x: 1\r\n" * 20)

    async with RawServer(script) as server:
        pool = Pool(server.address())
        with pytest.raises(BadAnswer):
            await pool.send(get(), b"", TIMEOUTS)
        await server.all_closed()


async def test_a_fault_in_the_body_comes_after_what_was_good() -> None:
    async with RawServer(then_end(STREAM + b"2\r\nhi\r\nzz\r\n")) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            assert await exchange.read() == b"hi"
            with pytest.raises(BadAnswer):
                await exchange.read()


@pytest.mark.parametrize("answer", [OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", HI + b"x"])
async def test_a_connection_of_no_further_use_is_closed_before_the_body_is_read(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            await server.all_closed()
            assert await read_all(exchange) == b"hi"


# Connections found dead


async def test_a_connection_that_ends_before_it_is_written_to() -> None:
    async def script(peer: Peer) -> None:
        await peer.gone()

    loop = asyncio.get_running_loop()
    async with RawServer(script) as server:
        connection = Connection(loop, lambda _: None)
        await connection.open(server.address(), 1.0)
        connection.close()
        await server.all_closed()
        released: list[bool] = []
        exchange = Exchange(
            connection,
            TIMEOUTS,
            loop.time(),
            lambda _, clean: released.append(clean),
            connect_seconds=None,
            bodyless=False,
        )
        with pytest.raises(Reset) as caught:
            await exchange.start(get(), b"")
        assert not caught.value.processed
        assert released == [False]


async def idle_becomes(pool: Pool, number: int) -> None:
    for _ in range(2000):
        if pool.idle == number:
            return
        await asyncio.sleep(0.001)
    pytest.fail(f"{pool.idle} idle connections")


@pytest.mark.parametrize("farewell", [b"", b"x", b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_an_idle_connection_that_ends_or_speaks_is_dropped(farewell: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HI)
        await speak.wait()
        if farewell:
            await peer.send(farewell)
            await peer.gone()

    speak = asyncio.Event()
    async with RawServer(script) as server:
        pool = Pool(server.address())
        await fetch(pool)
        assert pool.idle == 1
        speak.set()
        await idle_becomes(pool, 0)
        await server.all_closed()
        assert await fetch(pool) == b"hi"
        assert (pool.opened, pool.reused) == (2, 0)
        await pool.aclose()


def serve_one_by_one(listener: socket.socket, farewells: list[bytes], idle: threading.Barrier) -> None:
    """In a thread: each connection gets one answer; then, while the client's loop stands still, its farewell."""
    for farewell in farewells:
        sock, _ = listener.accept()
        with sock:
            sock.recv(65536)
            sock.sendall(HI)
            idle.wait()
            if farewell:
                sock.sendall(farewell)
        idle.wait()


@pytest.mark.parametrize("farewell", [b"", b"x", HI])
async def test_a_connection_that_died_unheard_is_not_written_to(farewell: bytes) -> None:
    """The event loop is kept from seeing the end: only looking at the socket before writing can tell."""
    idle = threading.Barrier(2, timeout=5)
    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve_one_by_one, args=(listener, [farewell, b""], idle), daemon=True)
        thread.start()
        pool = Pool(Address(HOST, listener.getsockname()[1]))
        assert await fetch(pool) == b"hi"
        assert pool.idle == 1
        idle.wait()
        idle.wait()
        assert await fetch(pool) == b"hi"
        assert (pool.opened, pool.reused) == (2, 0)
        idle.wait()
        idle.wait()
        thread.join()
        await pool.aclose()


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_reused_connection_that_breaks_is_not_tried_again(how: str) -> None:
    async def script(peer: Peer) -> None:
        if await peer.request():
            await peer.send(HI)
        await peer.request()
        if how == "reset":
            peer.reset()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        await fetch(pool)
        with pytest.raises(Reset) as caught:
            await fetch(pool)
        assert caught.value.processed
        assert (server.accepted, pool.reused, pool.in_use) == (1, 1, 0)


async def test_a_server_that_hangs_up_on_everybody() -> None:
    async def script(peer: Peer) -> None:
        peer.reset()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        for _ in range(5):
            with pytest.raises((Reset, ConnectFailed)):
                await fetch(pool)
        assert (pool.idle, pool.in_use) == (0, 0)


async def test_idle_connections_are_taken_last_in_first_out_and_bounded() -> None:
    async def script(peer: Peer) -> None:
        while request := await peer.request():
            if request.line.startswith(b"GET /wait"):
                arrived.release()
                await go.wait()
            name = b"%d" % peer.number
            await peer.send(OK + b"Content-Length: %d\r\n\r\n" % len(name) + name)

    go, arrived = asyncio.Event(), asyncio.Semaphore(0)
    async with RawServer(script) as server:
        pool = Pool(server.address(), max_idle=2)
        tasks = [asyncio.create_task(pool.send(get("/wait"), b"", TIMEOUTS)) for _ in range(3)]
        for _ in tasks:
            await arrived.acquire()
        go.set()
        exchanges = [await task for task in tasks]
        names = [await read_all(exchange) for exchange in exchanges]
        for exchange in exchanges:
            exchange.close()
        assert pool.idle == 2
        assert [await fetch(pool) for _ in range(2)] == [names[1]] * 2
        await pool.aclose()
        await server.all_closed()


async def test_idle_connections_expire() -> None:
    async with RawServer(always(HI)) as server:
        pool = Pool(server.address(), idle_seconds=0.03)
        await fetch(pool)
        assert pool.idle == 1
        await idle_becomes(pool, 0)
        await server.all_closed()
        assert server.accepted == 1


BOUND, KEPT_BY_PEER = 0.15, 0.2
"""Seconds: how long the pool keeps an idle connection, and how long its peer does."""


@pytest.mark.parametrize("stalled", [0.0, BOUND * 1.01, KEPT_BY_PEER * 0.9, KEPT_BY_PEER, KEPT_BY_PEER * 1.5])
async def test_no_request_is_sent_on_a_connection_past_its_time_though_the_loop_was_busy(stalled: float) -> None:
    """Neither timer nor the loop's own clock has moved when the next request is sent; the peer's close is on its way,
    which its answer to a late request shows as a reset."""

    async def script(peer: Peer) -> None:
        answered = math.inf
        while await peer.request():
            if time.perf_counter() - answered >= KEPT_BY_PEER:
                peer.reset()
                break
            await peer.send(HI)
            answered = time.perf_counter()

    async with RawServer(script) as server:
        pool = Pool(server.address(), idle_seconds=BOUND)
        await fetch(pool)
        time.sleep(stalled)  # noqa: ASYNC251 - a callback that runs long
        assert await fetch(pool) == b"hi"
        assert server.accepted == (1 if stalled < BOUND else 2)


async def test_closing_the_pool_lets_an_exchange_finish() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM + b"2\r\nhi\r\n")
        await closed.wait()
        await peer.send(b"4\r\n you\r\n0\r\n\r\n")
        await peer.gone()

    closed = asyncio.Event()
    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            await pool.aclose()
            closed.set()
            assert await read_all(exchange) == b"hi you"
        await server.all_closed()
        assert (pool.idle, pool.in_use) == (0, 0)


# Closing and cancelling


async def test_a_stream_that_is_left_is_closed_at_the_upstream() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM + b"2\r\nhi\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        exchange = await pool.send(get(), b"", TIMEOUTS)
        await exchange.aclose()
        exchange.close()
        await server.all_closed()
        assert counters(pool) == (1, 0, 0, 0)
        with pytest.raises(Reset):
            await exchange.read()


@pytest.mark.parametrize("phase", ["connect", "upload", "head", "body"])
async def test_cancelling_closes_in_every_phase(phase: str) -> None:
    async def script(peer: Peer) -> None:
        if phase == "upload":
            await peer.head()
            reached.set()
        elif await peer.request():
            if phase == "body":
                await peer.send(STREAM)
            reached.set()
        await peer.gone()

    async def run(pool: Pool) -> None:
        body = b"x" * LARGE if phase == "upload" else b""
        await fetch(pool, post(body), body)

    reached = asyncio.Event()
    async with RawServer(script) as server:
        pool = Pool(server.address())
        task = asyncio.create_task(run(pool))
        if phase == "connect":
            await asyncio.sleep(0)
        else:
            await reached.wait()
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.all_closed()
        assert (pool.idle, pool.in_use) == (0, 0)


async def test_a_read_cancelled_after_its_data_came_still_closes() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 2\r\n\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        exchange = await pool.send(get(), b"", TIMEOUTS)
        reading = asyncio.create_task(exchange.read())
        await asyncio.sleep(0)
        exchange.received(b"hi")  # as the connection would, in the very turn of the loop that cancels
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await server.all_closed()
        assert (pool.idle, pool.in_use) == (0, 0)


async def test_closing_wakes_the_reader() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        exchange = await pool.send(get(), b"", TIMEOUTS)
        reading = asyncio.create_task(exchange.read())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await exchange.read()
        exchange.close()
        with pytest.raises(Reset):
            await reading
        await server.all_closed()
