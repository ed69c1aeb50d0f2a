"""Clients in a closed loop: each asks again as soon as it has its answer, whichever replica is there to be asked."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from loadtests.chaos.traffic import code_of
from loadtests.soak.wire import Wire

MODEL, KEY = "proof", "proof-key"
OUTPUT_TOKENS = 16
STREAMED, LEAVING = 0.3, 0.05
"""Shares: answers that are streamed, clients that leave before theirs has come to its end."""
PATIENCE_SECONDS = 20.0
PAUSE_SECONDS = 0.05


@dataclass(slots=True)
class Clients:
    """`left` requests are to be asked still; a try that finds no replica counts for none."""

    doors: Callable[[], Sequence[int]]
    left: int
    rng: Random
    ended: Counter[str] = field(default_factory=Counter)
    """How requests ended: `answered`, `refused CODE`, `left`, `cut`."""

    async def run(self, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._client())

    async def _client(self) -> None:
        wire: Wire | None = None
        while self.left > 0:
            self.left -= 1
            if wire is None or not wire.open:
                wire = await self._connected()
            what = await self._ask(wire)
            self.ended[what] += 1
            if what in ("left", "cut"):
                wire.leave(reset=True)
                wire = None
        if wire is not None:
            wire.leave()

    async def _connected(self) -> Wire:
        while True:
            for port in sorted(self.doors(), key=lambda _: self.rng.random()):
                try:
                    return await Wire.connect(port)
                except OSError:
                    continue
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, wire: Wire) -> str:
        leaves = self.rng.random() < LEAVING
        answer = wire.ask(self._request())
        try:
            async with asyncio.timeout(self.rng.uniform(0, 0.05) if leaves else PATIENCE_SECONDS):
                await wire.until(lambda _: False)
        except TimeoutError:
            return "left"
        if not answer.whole:
            return "cut"
        return "answered" if answer.status == 200 else f"refused {answer.status} {code_of(answer.body)}"

    def _request(self) -> bytes:
        text = "count " + "up " * self.rng.randrange(10, 60)
        body = json.dumps(
            {
                "model": MODEL,
                "stream": self.rng.random() < STREAMED,
                "max_tokens": OUTPUT_TOKENS,
                "messages": [{"role": "user", "content": text}],
            }
        ).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
            f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body
