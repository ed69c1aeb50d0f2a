"""What is fetched for callers is bounded for the process and for each tenant, and ends with who wanted it."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from gateway.edge.fetching import Fetches, Fetching
from gateway.errors import BadAnswer, DeadlineExceeded, GatewayError, RateLimited, UpstreamFault, UpstreamTimeout
from gateway.store.embedded import Embedded
from gateway.upstreams import fetch
from gateway.upstreams.client import TooLong
from gateway.upstreams.fetch import RESOLVING
from gateway.upstreams.webhooks import post_once
from loadtests.residency.memory import Loop, running_loop
from loadtests.residency.oracle import Rule
from loadtests.residency.rig import rig
from loadtests.residency.worlds import as_policy
from tests.residency.test_conditions import SENT, WORLD, Far
from tests.upstreams.http1.rawserver import OK, Peer, RawServer, always

MOST = 1 << 20
FILE = OK + b"Content-Type: video/mp4\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000


def of(fetches: Fetches, tenant: str = "acme", deadline: float | None = None) -> Fetching:
    return Fetching(fetches).known(tenant, deadline)


def get(fetching: Fetching, server: RawServer, most: int = MOST) -> Any:
    return fetching.get(f"http://127.0.0.1:{server.port}/", most=most, allow_private=True)


async def hangs(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def opened(server: RawServer, count: int) -> None:
    async with asyncio.timeout(5):
        while server.open < count:  # noqa: ASYNC110 - it tells of those that close only
            await asyncio.sleep(0.001)


async def stop(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_thousand_slow_addresses_of_one_tenant_leave_room_for_another() -> None:
    fetches = Fetches(5, 3, MOST)
    async with RawServer(hangs) as slow, RawServer(always(FILE)) as good:
        crowd = [asyncio.create_task(get(of(fetches), slow)) for _ in range(1000)]
        await opened(slow, 3)
        assert (await get(of(fetches, "other"), good)).data == b"x" * 1000
        others = [asyncio.create_task(get(of(fetches, f"t{n}"), slow)) for n in range(50)]
        await opened(slow, 5)
        await stop(crowd + others)
        assert (await get(of(fetches), good)).media_type == "video/mp4"
    assert slow.accepted == 5


async def test_who_gets_no_turn_in_time_is_told() -> None:
    fetches = Fetches(1, 1, MOST)
    async with RawServer(hangs) as slow:
        first = asyncio.create_task(get(of(fetches), slow))
        await opened(slow, 1)
        fetches.seconds = 0.1  # of those that come now
        with pytest.raises(RateLimited) as refused:
            await get(of(fetches), slow)
        assert refused.value.retry_after
        with pytest.raises(RateLimited):
            await get(of(fetches, deadline=time.monotonic()), slow)
        await stop([first])


async def test_its_callers_deadline_cuts_a_fetch_short() -> None:
    began = time.monotonic()
    async with RawServer(hangs) as slow:
        with pytest.raises(DeadlineExceeded):
            await get(of(Fetches(1, 1, MOST), deadline=time.monotonic() + 0.1), slow)
        await slow.all_closed()
    assert time.monotonic() - began < 5


async def trickles(peer: Peer) -> None:
    await peer.request()
    await peer.send(OK + b"Content-Length: 1000\r\n\r\n")
    with suppress(ConnectionError):
        for _ in range(1000):
            await peer.send(b"x")
            await asyncio.sleep(0.02)


async def test_a_byte_now_and_then_is_no_way_to_hold_a_turn() -> None:
    fetches = Fetches(1, 1, MOST, seconds=0.2)
    async with RawServer(trickles) as slow:
        with pytest.raises(UpstreamTimeout):
            await get(of(fetches), slow)
    assert (fetches.held, fetches.turns.locked()) == (0, False)


ENDLESS = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
ODD = {
    "a length that no file has": (OK + b"Content-Length: 1000000000000\r\n\r\n", TooLong),
    "no length, and no end": (ENDLESS + ENDLESS[-0x10009:] * 40, TooLong),
    "a bomb in gzip": (OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00", BadAnswer),
    "a redirect to itself": (b"HTTP/1.1 307 Again\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", BadAnswer),
}


@pytest.mark.parametrize("what", ODD)
async def test_answers_that_would_fill_memory_or_never_end(what: str) -> None:
    answer, fault = ODD[what]
    fetches = Fetches(1, 1, 4 * MOST)
    async with RawServer(always(answer)) as server:
        with pytest.raises(fault):
            await get(of(fetches), server)
        assert server.accepted == 1
    assert (fetches.held, fetches.turns.locked()) == (0, False)


async def test_bytes_are_held_until_their_request_is_over() -> None:
    fetches = Fetches(8, 8, 4500)
    async with RawServer(always(FILE)) as server:
        first, second = of(fetches), of(fetches)
        await get(first, server)
        await get(second, server)
        with pytest.raises(RateLimited):
            await get(second, server)
        assert fetches.held == 2000, "what did not come whole is held by nobody"
        await get(of(fetches, "b"), server)
        other = of(fetches, "c")
        await get(other, server)
        with pytest.raises(RateLimited):
            await get(of(fetches, "d"), server)
        first.close()
        first.close()
        await get(of(fetches, "d"), server)
    assert fetches.held == 4000


async def test_what_comes_without_a_length_is_counted_as_it_comes() -> None:
    fetches = Fetches(1, 1, 200_000)
    async with RawServer(always(ENDLESS, ENDLESS[-0x10009:] * 2, b"0\r\n\r\n")) as server:
        with pytest.raises(RateLimited):
            await get(of(fetches), server)
    assert fetches.held == 0


async def test_who_is_cancelled_closes_its_connection_at_once() -> None:
    fetches = Fetches(1, 1, MOST)
    async with RawServer(hangs) as slow:
        task = asyncio.create_task(get(of(fetches), slow))
        await opened(slow, 1)
        await stop([task])
        await slow.all_closed()
    assert not fetches.turns.locked()


async def test_a_turn_lasts_as_long_as_the_thread_that_looks_up_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever leaves and comes again would take all of them, one after the other."""
    over, asked = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> None:
        asked.set()
        over.wait(10.0)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    fetches = Fetches(1, 1, MOST)
    task = asyncio.create_task(of(fetches).get("http://name.slow/", most=1))
    try:
        assert await asyncio.to_thread(asked.wait, 5.0)
        await stop([task])
        assert fetches.turns.locked()
    finally:
        over.set()
    async with asyncio.timeout(5):
        await fetches.turns.acquire()


class Standing:
    """What looks up names: those that end in `.slow` wait until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.over, self.asked = threading.Event(), list[str]()
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._look)

    def _look(self, host: str, *given: Any, **more: Any) -> Any:
        if not host.endswith(".slow"):
            return self._real(host, *given, **more)
        self.asked.append(host)
        self.over.wait(10.0)
        raise socket.gaierror

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.asked) < count:  # noqa: ASYNC110 - threads tell
                await asyncio.sleep(0.001)


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standing]:
    made = Standing(monkeypatch)
    yield made
    made.over.set()


def look(fetches: Fetches, tenant: str) -> asyncio.Task[Any]:
    async def one() -> None:
        with suppress(asyncio.CancelledError):  # whose traceback would keep all that a request has
            await of(fetches, tenant).get(f"http://{tenant}.slow/", most=1)

    return asyncio.create_task(one())


async def test_a_tenant_that_leaves_and_comes_again_has_no_more_turns(standing: Standing) -> None:
    fetches = Fetches(4, 2, MOST)
    for _ in range(2):
        crowd = [look(fetches, "acme") for _ in range(4)]
        await standing.until(2)
        await asyncio.sleep(0)
        await stop(crowd)
        gc.collect()
    other = look(fetches, "other")
    await standing.until(3)
    await stop([other])
    assert standing.asked == ["acme.slow", "acme.slow", "other.slow"]


@pytest.mark.parametrize("who", ["callers", "webhooks"])
async def test_names_that_callers_chose_are_not_in_the_way_of_results(who: str, standing: Standing) -> None:
    fetches, waiting = Fetches(RESOLVING, RESOLVING, MOST), list[asyncio.Task[Any]]()
    for number in range(RESOLVING):
        address = f"http://{number}.slow/"
        waiting.append(
            look(fetches, str(number))
            if who == "callers"
            else asyncio.create_task(post_once(address, "1", b"", "secret", at=0, allow_private=False))
        )
    await standing.until(RESOLVING)
    async with RawServer(always(FILE)) as good, asyncio.timeout(5):
        url = f"http://localhost:{good.port}/"
        got = await fetch.fetch(url, hosts=None, most=MOST, seconds=5.0, allow_private=True)
    assert len(got.data) == 1000
    await stop(waiting)


async def test_whatever_happens_nothing_stays_held() -> None:
    """Any order of ends, faults and leavings: at the end all turns are free and no byte is held."""
    rng, fetches = Random(7), Fetches(4, 2, 3000, seconds=0.3)

    async def one(server: RawServer) -> None:
        fetching = of(fetches, rng.choice("abc"))
        try:
            for _ in range(rng.randint(1, 3)):
                async with asyncio.timeout(rng.choice((0.001, 0.01, 0.2))):
                    await get(fetching, server, rng.choice((10, MOST)))
        except (TimeoutError, GatewayError, UpstreamFault):
            pass
        finally:
            assert 0 <= fetches.held <= 3000
            fetching.close()

    async with RawServer(always(FILE)) as good, RawServer(hangs) as slow, RawServer(trickles) as worse:
        await asyncio.gather(*(one(rng.choice((good, good, slow, worse))) for _ in range(120)))
    assert fetches.held == 0
    async with asyncio.timeout(1):
        for _ in range(4):
            await fetches.turns.acquire()


PUBLIC = "8.8.8.8"
FREE = replace(WORLD, rules=(Rule("all", {}, ("gpu",), (), (), ()),))
NAMED = msgspec.json.encode(
    {
        "model": "qwen",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": [{"image_url": {"url": f"http://{PUBLIC}/a.png"}}]}],
    }
)
CHAT = SENT._replace(path="/v1/chat/completions", body=NAMED, ask=SENT.ask)


class Drawn(Random):
    """What a caller does, in the order in which it is asked: never late, leaves or not, after how long."""

    def __init__(self, *numbers: float) -> None:
        super().__init__(1)
        self._numbers: Iterator[float] = iter(numbers)

    def random(self) -> float:
        return next(self._numbers, 0.9)


@pytest.mark.parametrize(
    ("drawn", "headers", "status"),
    [((0.9, 0.9, 0.0, 5.0), [], 0), ((), [(b"x-gateway-deadline-ms", b"100")], 504)],
    ids=["its client leaves", "its deadline passes"],
)
def test_a_request_ends_while_its_address_says_nothing(
    drawn: tuple[float, ...], headers: list[tuple[bytes, bytes]], status: int, tmp_path: Path, own_server: Embedded
) -> None:
    far = Far("hang")

    async def play() -> tuple[list[int], Fetches, float]:
        running_loop().far = far
        async with rig(tmp_path, own_server, as_policy(FREE, Random(1), "w"), Drawn(*drawn)) as made:
            began = time.monotonic()
            await made.call(CHAT._replace(headers=[*CHAT.headers, *headers]), lambda _: None)
            return list(made.statuses), made.services.fetches, time.monotonic() - began

    with asyncio.Runner(loop_factory=Loop) as runner:
        statuses, fetches, seconds = runner.run(play())
    assert (far.reached, statuses) == ([PUBLIC], [status])
    assert seconds < 5
    assert (fetches.held, fetches.turns.locked()) == (0, False)
