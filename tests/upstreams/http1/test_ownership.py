"""Whatever clients and upstreams do to each other, every byte of an answer belongs to the request that reads it.

Each request carries a number. The server repeats it in a header and all through the body, and checks that the body it
was sent consists of that number too; whatever it sends beyond an answer's end carries `POISON`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import Reset
from gateway.upstreams.http1 import Exchange, Pool, request_head

from .rawserver import TIMEOUTS, Peer, RawServer

POISON = b"HTTP/1.1 200 OK\r\nx-number: 99999999\r\ncontent-length: 8\r\n\r\n99999999"
EXAMPLES = 150


@dataclass(frozen=True)
class Plan:
    """One request. Counts of `repeats` are of the eight-digit number; `cuts` are lengths of the server's writes."""

    framing: str
    repeats: int
    upload: int
    ending: str
    early: bool
    cuts: list[int]
    pause: int
    """Turns of the loop between two reads of the client."""
    cancel_after: int | None
    """Turns of the loop after which the client's task is cancelled."""
    leave_after: int | None
    """Bytes of body after which the client closes the exchange."""
    pushed: bool
    """The client has the body handed over instead of reading it."""


plans = st.builds(
    Plan,
    framing=st.sampled_from(["length", "chunked", "until close"]),
    repeats=st.sampled_from([0, 1, 2, 7, 30_000]),
    upload=st.sampled_from([0, 0, 1, 100_000]),
    ending=st.sampled_from(["keep", "keep", "keep", "announced close", "silent close", "fin", "reset", "poison"]),
    early=st.booleans(),
    cuts=st.lists(st.integers(1, 60), max_size=6),
    pause=st.sampled_from([0, 0, 1, 5]),
    cancel_after=st.none() | st.integers(0, 25),
    leave_after=st.none() | st.integers(0, 300_000),
    pushed=st.booleans(),
)
schedules = st.lists(st.lists(plans, min_size=1, max_size=5), min_size=1, max_size=4)


class Left(Exception):
    """The client wants no more."""


class Upstream:
    """Answers as the plan of the request's number says."""

    def __init__(self) -> None:
        self.plans: dict[int, Plan] = {}

    async def serve(self, peer: Peer) -> None:
        while head := await peer.head():
            line, headers = head
            number = int(line.split(b" ")[1].lstrip(b"/"))
            plan = self.plans[number]
            length = int(headers[b"content-length"])
            if not plan.early and not await self.take_body(peer, number, length):
                return
            await self.answer(peer, number, plan)
            if plan.ending != "keep" or plan.framing == "until close":
                return
            if plan.early and not await self.take_body(peer, number, length):
                return

    async def take_body(self, peer: Peer, number: int, length: int) -> bool:
        try:
            body = await peer.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        assert body == b"%08d" % number * (length // 8)
        return True

    async def answer(self, peer: Peer, number: int, plan: Plan) -> None:
        body = b"%08d" % number * plan.repeats
        raw = b"HTTP/1.1 200 OK\r\nx-number: %08d\r\n" % number
        raw += b"connection: close\r\n" if plan.ending == "announced close" else b""
        if plan.framing == "chunked":
            half = len(body) // 2
            chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]) if piece]
            raw += b"transfer-encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"
        elif plan.framing == "length":
            raw += b"content-length: %d\r\n\r\n" % len(body) + body
        else:
            raw += b"\r\n" + body
        if plan.ending in ("fin", "reset"):
            raw = raw[:-3]
        poisoned = plan.ending == "poison" and plan.framing != "until close"
        raw += POISON if poisoned else b""
        at = 0
        for cut in plan.cuts:
            await peer.send(raw[at : at + cut])
            at += cut
        await peer.send(raw[at:])
        if poisoned:
            await peer.gone()
        elif plan.ending == "reset":
            peer.reset()


class Clients:
    """Run plans against one pool and judge each answer."""

    def __init__(self, pool: Pool, upstream: Upstream) -> None:
        self.pool = pool
        self.upstream = upstream
        self.numbers = count(1)
        self.unreliable = False
        """An upstream that closes without a word may break the request after."""

    async def work(self, mine: list[Plan]) -> None:
        for plan in mine:
            task = asyncio.create_task(self.one(next(self.numbers), plan))
            if plan.cancel_after is not None:
                for _ in range(plan.cancel_after):
                    await asyncio.sleep(0)
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                assert plan.cancel_after is not None

    async def one(self, number: int, plan: Plan) -> None:
        self.upstream.plans[number] = plan
        body = b"%08d" % number * plan.upload
        head = request_head("POST", f"/{number}", "test", [], len(body))
        whole = b"%08d" % number * plan.repeats
        try:
            async with await self.pool.send(head, body, TIMEOUTS) as exchange:
                assert dict(exchange.headers)[b"x-number"] == b"%08d" % number
                got = await (self.pour if plan.pushed else self.read)(exchange, plan, whole)
        except Reset:
            # A server that closes with bytes unread resets, and its kernel forgets what it had not yet sent.
            unread = plan.early and plan.upload > 0 and (plan.ending != "keep" or plan.framing == "until close")
            assert plan.ending in ("fin", "reset") or self.unreliable or unread
            return
        cut_unseen = plan.framing == "until close" and plan.ending == "fin"
        assert got is None or got == len(whole) or cut_unseen

    async def read(self, exchange: Exchange, plan: Plan, whole: bytes) -> int | None:
        """How long the body was; None if the client left before its end."""
        got = 0
        while piece := await exchange.read():
            assert whole[got : got + len(piece)] == piece
            got += len(piece)
            if plan.leave_after is not None and got >= plan.leave_after:
                return None
            for _ in range(plan.pause):
                await asyncio.sleep(0)
        return got

    async def pour(self, exchange: Exchange, plan: Plan, whole: bytes) -> int | None:
        """As `read`; between two pieces the upstream is held back."""
        got = 0

        def sink(piece: bytes) -> None:
            nonlocal got
            assert whole[got : got + len(piece)] == piece
            got += len(piece)
            if plan.leave_after is not None and got >= plan.leave_after:
                raise Left
            if plan.pause:
                exchange.hold()
                asyncio.get_running_loop().call_soon(exchange.go_on)

        try:
            await exchange.pour(sink)
        except Left:
            return None
        return got


async def play(schedule: list[list[Plan]]) -> None:
    upstream = Upstream()
    async with RawServer(upstream.serve) as server:
        pool = Pool(server.address(), max_idle=2)
        clients = Clients(pool, upstream)
        clients.unreliable = any(plan.ending == "silent close" for mine in schedule for plan in mine)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for mine in schedule:
                group.create_task(clients.work(mine))
        assert pool.in_use == 0
        assert pool.idle <= 2
        await pool.aclose()
        await server.all_closed()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_every_answer_belongs_to_its_request(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(schedules)
    def property_holds(schedule: list[list[Plan]]) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(play(schedule))

    property_holds()
