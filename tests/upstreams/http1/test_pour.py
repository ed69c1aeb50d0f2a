"""A body that is pushed: each piece is handed over in the call that brings it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.errors import BadAnswer, Reset, UpstreamFault, UpstreamTimeout
from gateway.upstreams.http1 import Pool

from .rawserver import HI, OK, STREAM, TIMEOUTS, Peer, RawServer, always, get, then_end

SOON = 0.05


class Full(Exception):
    """What a sink may raise."""


async def test_all_of_it_in_order_and_the_connection_is_used_again() -> None:
    async with RawServer(always(STREAM + b"1\r\na\r\n", b"1\r\nb\r\n2\r\ncd\r\n", b"0\r\n\r\n")) as server:
        pool = Pool(server.address())
        for _ in range(2):
            got: list[bytes] = []
            async with await pool.send(get(), b"", TIMEOUTS) as exchange:
                await exchange.pour(got.append)
            assert b"".join(got) == b"abcd"
            assert all(got)
        assert (server.accepted, pool.idle) == (1, 1)
        await pool.aclose()


async def test_what_came_before_the_call_is_handed_over_at_once() -> None:
    async with RawServer(always(HI)) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            got: list[bytes] = []
            await exchange.pour(got.append)
        assert got == [b"hi"]
        await pool.aclose()


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (STREAM + b"2\r\nhi\r\n", Reset),
        (STREAM + b"2\r\nhi\r\nrubbish", BadAnswer),
        (OK + b"Content-Length: 3\r\n\r\nhi", Reset),
    ],
    ids=["chunked", "bad chunk", "sized"],
)
@pytest.mark.parametrize("size", [1, 1000], ids=["bytewise", "whole"])
async def test_the_bytes_before_a_fault_come_before_it(answer: bytes, fault: type[UpstreamFault], size: int) -> None:
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    async with RawServer(then_end(*pieces)) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            got: list[bytes] = []
            with pytest.raises(fault):
                await exchange.pour(got.append)
            assert b"".join(got) == b"hi"
        assert (pool.idle, pool.in_use) == (0, 0)


@pytest.mark.parametrize("last", [b"", b"0\r\n\r\n"], ids=["in the middle", "at the end"])
async def test_a_sink_that_raises_ends_the_exchange(last: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        await poured.wait()
        await peer.send(b"2\r\nhi\r\n" + last)
        await peer.gone()

    def full(_: bytes) -> None:
        raise Full

    poured = asyncio.Event()
    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            task = asyncio.create_task(exchange.pour(full))
            await asyncio.sleep(0)
            poured.set()
            with pytest.raises(Full):
                await task
        await server.all_closed()
        assert (pool.idle, pool.in_use) == (0, 0)


async def test_a_sink_that_raises_at_what_came_before_the_call_ends_it_too() -> None:
    def full(_: bytes) -> None:
        raise Full

    async with RawServer(then_end(STREAM + b"2\r\nhi\r\n0\r\n\r\n")) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            with pytest.raises(Full):
                await exchange.pour(full)
            with pytest.raises(Full):
                await exchange.pour(lambda _: None)
        assert (pool.idle, pool.in_use) == (0, 0)


async def test_nothing_comes_while_it_is_held_and_only_the_total_counts() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM, b"1\r\na\r\n")
        await held.wait()
        await peer.send(b"1\r\nb\r\n")
        await asyncio.sleep(SOON * 3)
        await peer.send(b"1\r\nc\r\n", b"0\r\n\r\n")
        await peer.gone()

    def sink(piece: bytes) -> None:
        got.append(piece)
        if len(got) == 1:
            exchange.hold()
            held.set()

    held, got = asyncio.Event(), list[bytes]()
    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", replace(TIMEOUTS, idle=SOON)) as exchange:
            task = asyncio.create_task(exchange.pour(sink))
            await held.wait()
            await asyncio.sleep(SOON * 4)
            assert got == [b"a"], "it is held, and longer than `idle`"
            exchange.go_on()
            await task
        assert b"".join(got) == b"abc"
        assert pool.idle == 1
        await pool.aclose()


@pytest.mark.parametrize("held", [False, True])
async def test_deadlines(held: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM, b"1\r\na\r\n")
        for _ in range(4):
            await asyncio.sleep(SOON / 2)
            await peer.send(b"1\r\nb\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        timeouts = replace(TIMEOUTS, idle=SOON * 2, total=SOON * 3 if held else 5.0)
        async with await pool.send(get(), b"", timeouts) as exchange:
            got: list[bytes] = []
            if held:
                exchange.hold()
            with pytest.raises(UpstreamTimeout) as caught:
                await exchange.pour(got.append)
        assert caught.value.phase == ("total" if held else "idle")
        assert held or b"".join(got) == b"abbbb", "pieces put the idle deadline back"
        assert (pool.idle, pool.in_use) == (0, 0)


async def test_to_cancel_it_closes_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM, b"1\r\na\r\n")
        await peer.gone()

    async with RawServer(script) as server:
        pool = Pool(server.address())
        async with await pool.send(get(), b"", TIMEOUTS) as exchange:
            came = asyncio.Event()
            task = asyncio.create_task(exchange.pour(lambda _: came.set()))
            await came.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.all_closed()
        assert (pool.idle, pool.in_use) == (0, 0)
