"""The load of a scenario: an open loop of chat requests, each with a nonce that the simulated servers' journals keep.

A client does what an SDK behind a load balancer does: where its connection ends before a byte of the answer came, it
asks the next gateway. Everything else is told as it was.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from secrets import token_hex

from loadtests.chaos.servers import Loop
from loadtests.soak.wire import Answer, Wire

MODEL, KEY = "chaos", "chaos-key"
ANSWER_SECONDS = 30.0
TRIES = 4
"""Gateways asked where connections end without a byte."""
STREAM_SHARE, FLAGGED_SHARE = 0.5, 0.25
TOKENS = 24
TOLD_LATER = frozenset({"fleet_saturated", "rate_limited", "no_capacity", "shutting_down"})
"""Codes of answers with Retry-After, after which the official SDKs ask again by themselves."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked. `leave`: share of the clients that hang up early."""

    rate: float = 40.0
    tokens: int = TOKENS
    stream: float = STREAM_SHARE
    flagged: float = FLAGGED_SHARE
    leave: float = 0.0
    prompt_bytes: int = 200


@dataclass(slots=True)
class Asked:
    """One request. Times are monotonic seconds. `what`: `right`, `refused CODE` (an answer in our own words, before the
    first byte), `told` (broke off with an error event), `cut` (without one), `lost` (no answer), `left`."""

    nonce: str
    sent: float
    stream: bool
    flagged: bool
    tries: int = 0
    first: float | None = None
    ended: float = 0.0
    what: str = "lost"


@dataclass(slots=True)
class Traffic:
    """Requests to `ports` in turn, from `start` to `stop`; `asked` grows meanwhile."""

    loop: Loop
    ports: Callable[[], Sequence[tuple[str, int]]]
    asked: list[Asked] = field(default_factory=list)
    rng: Random = field(default_factory=lambda: Random(7))
    _turn: int = 0

    @contextmanager
    def running(self, shape: Shape) -> Iterator[None]:
        """Leaves the block when every request has come to its end."""
        halt = asyncio.Event()
        running = self.loop.begin(self._run(shape, halt))
        try:
            yield
        finally:
            self.loop.do(_set(halt))
            running.result(ANSWER_SECONDS * (TRIES + 1))

    def burst(self, count: int, shape: Shape) -> None:
        """So many at once; returns when all have ended."""
        self.loop.do(self._burst(count, shape), ANSWER_SECONDS * (TRIES + 1))

    async def _burst(self, count: int, shape: Shape) -> None:
        async with asyncio.TaskGroup() as together:
            for _ in range(count):
                together.create_task(self._visit(shape))

    async def _run(self, shape: Shape, halt: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as visits:
            while not halt.is_set():
                visits.create_task(self._visit(shape))
                due += self.rng.expovariate(shape.rate)
                await asyncio.sleep(max(0.0, due - loop.time()))

    async def _visit(self, shape: Shape) -> None:
        rng = self.rng
        asked = Asked(token_hex(8), time.monotonic(), rng.random() < shape.stream, rng.random() < shape.flagged)
        leave = rng.uniform(0.0, 0.3) if rng.random() < shape.leave else None
        self.asked.append(asked)
        raw = request(asked, shape)
        while asked.tries < TRIES:
            asked.tries += 1
            answer = await self._ask(asked, raw, leave)
            asked.what = judged(asked, answer)
            if asked.what != "lost":
                break
        asked.ended = time.monotonic()

    async def _ask(self, asked: Asked, raw: bytes, leave: float | None) -> Answer | None:
        """What came; None where the client left."""
        targets = self.ports()
        self._turn += 1
        host, port = targets[self._turn % len(targets)]
        try:
            wire = await Wire.connect(port, host)
        except OSError as fault:
            return Answer(fault=type(fault).__name__)
        answer = wire.ask(raw)
        try:
            async with asyncio.timeout(ANSWER_SECONDS if leave is None else leave):
                await wire.until(lambda seen: seen.status > 0)
                if answer.status:
                    asked.first = asked.first or time.monotonic()
                await wire.until(lambda _: False)
        except TimeoutError:
            if leave is not None:
                return None
            answer.fault = f"no end within {ANSWER_SECONDS:g} s"
        finally:
            wire.leave()
        return answer


async def _set(event: asyncio.Event) -> None:
    event.set()


def request(asked: Asked, shape: Shape) -> bytes:
    """The nonce is in `user`, which the journals keep."""
    text = f"count slowly, {asked.nonce} " + "x" * shape.prompt_bytes
    body = json.dumps(
        {
            "model": MODEL,
            "user": asked.nonce,
            "stream": asked.stream,
            "max_tokens": shape.tokens,
            "ignore_eos": True,
            "messages": [{"role": "user", "content": text}],
        }
    ).encode()
    flag = "X-Data-Residency: local\r\n" if asked.flagged else ""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {KEY}\r\n{flag}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def judged(asked: Asked, answer: Answer | None) -> str:
    """`Asked.what` of one answer."""
    if answer is None:
        return "left"
    if answer.status == 0:
        return "lost"
    if answer.status != 200:
        return f"refused {code_of(answer.body) or answer.status}" if answer.whole else "lost"
    if not asked.stream:
        return "right" if answer.whole and b'"choices"' in answer.body else "cut"
    if b'data: {"error"' in answer.body:
        return "told"
    return "right" if answer.whole and answer.body.rstrip().endswith(b"data: [DONE]") else "cut"


def code_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""
