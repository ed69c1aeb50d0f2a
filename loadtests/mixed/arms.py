"""Two ways to spread pictures: by leased work, through the gateway, and by how many requests a worker has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import httpx

from loadtests.mixed.site import KEY, MODEL, WEIGHTS, Site
from loadtests.mixed.trace import Arrival, Kind

PATH = "/v1/images/generations"
Send = Callable[[int, Kind], Awaitable[bool]]
"""Sends the request of this number; whether it was answered."""


def body(model: str, kind: Kind) -> dict[str, object]:
    size = f"{kind.side}x{kind.side}"
    return {"model": model, "prompt": "a lighthouse", "size": size, "num_inference_steps": kind.steps}


class ByWork:
    """Through the gateway's replicas in turn."""

    def __init__(self, site: Site, http: httpx.AsyncClient) -> None:
        self._urls, self._http = [gateway.url for gateway in site.gateways], http

    async def send(self, number: int, kind: Kind) -> bool:
        url = f"{self._urls[number % len(self._urls)]}{PATH}"
        answer = await self._http.post(url, json=body(MODEL, kind), headers={"Authorization": f"Bearer {KEY}"})
        return answer.status_code == httpx.codes.OK


class ByCount:
    """A router that gives each request to the worker with the fewest of them: exact counts, its own, without any lag.
    Of equals it takes any."""

    def __init__(self, site: Site, http: httpx.AsyncClient) -> None:
        self._counts = {worker.url: 0 for worker in site.fleet.workers}
        self._http, self._rng = http, Random(1)

    async def send(self, _: int, kind: Kind) -> bool:
        least = min(self._counts.values())
        url = self._rng.choice([url for url, count in self._counts.items() if count == least])
        self._counts[url] += 1
        try:
            answer = await self._http.post(f"{url}{PATH}", json=body(WEIGHTS, kind))
        finally:
            self._counts[url] -= 1
        return answer.status_code == httpx.codes.OK


@dataclass(slots=True)
class Arm:
    """`took`: seconds of each request from the moment at which it was due, with its kind."""

    name: str
    took: list[tuple[float, Kind]] = field(default_factory=list)
    failed: int = 0


async def play(arm: Arm, send: Send, arrivals: Sequence[Arrival]) -> None:
    """Open loop: who is late does not hold the others up."""
    begin = time.monotonic()

    async def one(number: int, arrival: Arrival) -> None:
        answered = await send(number, arrival.kind)
        arm.took.append((time.monotonic() - begin - arrival.at, arrival.kind))
        arm.failed += not answered

    async with asyncio.TaskGroup() as group:
        for number, arrival in enumerate(arrivals):
            await asyncio.sleep(max(0.0, begin + arrival.at - time.monotonic()))
            group.create_task(one(number, arrival))
