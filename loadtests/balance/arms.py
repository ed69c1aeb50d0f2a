"""Two ways to spread a burst: through the gateway's replicas in turn, and by scraped metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import httpx

from gateway.upstreams.dialects.engines import vllm
from loadtests.balance.site import KEY, MODEL, TOKENS, WEIGHTS, Site

SCRAPE_SECONDS = 0.5
SECONDS = 60.0
Send = Callable[[int], Awaitable[bool]]
"""Sends the request of this number; whether it was answered."""


def body(model: str) -> dict[str, object]:
    message = {"role": "user", "content": "Say something."}
    return {"model": model, "max_tokens": TOKENS, "ignore_eos": True, "messages": [message]}


class ThroughGateway:
    def __init__(self, site: Site, http: httpx.AsyncClient) -> None:
        self._urls, self._http = [gateway.url for gateway in site.gateways], http

    async def send(self, number: int) -> bool:
        url = f"{self._urls[number % len(self._urls)]}/v1/chat/completions"
        answer = await self._http.post(url, json=body(MODEL), headers={"Authorization": f"Bearer {KEY}"})
        return answer.status_code == httpx.codes.OK


class ByScrapes:
    """What a router does that knows of load only what `/metrics` says: the least running and waiting as scraped last.
    Of equals it takes any, and goes on with that one until the next scrape tells it something new."""

    def __init__(self, site: Site, http: httpx.AsyncClient) -> None:
        self._urls, self._http, self._rng = [worker.url for worker in site.fleet.workers], http, Random(1)
        self._least = self._urls[0]

    async def scrape_forever(self) -> None:
        while True:
            loads = {url: await self._load(url) for url in self._rng.sample(self._urls, len(self._urls))}
            self._least = min(loads, key=lambda url: loads[url])
            await asyncio.sleep(SCRAPE_SECONDS)

    async def _load(self, url: str) -> int:
        seen = vllm.read((await self._http.get(f"{url}/metrics")).content)
        return (seen.running or 0) + (seen.waiting or 0)

    async def send(self, number: int) -> bool:
        answer = await self._http.post(f"{self._least}/v1/chat/completions", json=body(WEIGHTS))
        return answer.status_code == httpx.codes.OK
