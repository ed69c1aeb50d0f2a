"""Callers of the proof: each brings one job after the other, waits for its end, and asks whichever process answers."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from loadtests.jobsproof.judge import Seen
from loadtests.jobsproof.provider import Bare, Listed, film
from loadtests.jobsproof.site import BARE, KEY, LISTED, OURS
from loadtests.simfleet.files import mp4

POLL_SECONDS, ASK_SECONDS, WAIT_SECONDS = 0.1, 8.0, 5
END_SECONDS = 240.0
"""In which every job has ended after it was accepted, whatever happens."""
MODELS = (OURS, LISTED, BARE)
API_OF = {LISTED: Listed.name, BARE: Bare.name}
BOUGHT_SECONDS, SIZES, OUR_SECONDS = 5, 32, 8
"""Films of ours have so many sizes and lengths: one that is given out for another is seen."""
AGAIN = 20
"""Every so manieth job is brought twice, with one Idempotency-Key."""
OVER = ("completed", "failed")


@dataclass(slots=True)
class Clients:
    """`seen` grows as jobs end. `count` jobs are brought by `run`."""

    urls: Sequence[str]
    seed: int
    count: int
    seen: list[Seen] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Answers that no caller should get."""

    async def run(self, at_once: int) -> None:
        """Raises TimeoutError where a job does not end."""
        numbers = iter(range(self.count))
        async with _http(at_once) as http, asyncio.TaskGroup() as group:
            for each in range(at_once):
                client = _Client(self.urls, http, random.Random(f"{self.seed} {each}"), self.wrong)
                group.create_task(self._bring(client, numbers))

    async def look_again(self, at_once: int) -> None:
        """At every job, through every process: what it says, and what it gives out."""
        left = iter(self.seen)
        async with _http(at_once) as http, asyncio.TaskGroup() as group:
            for each in range(at_once):
                client = _Client(self.urls, http, random.Random(f"again {self.seed} {each}"), self.wrong)
                group.create_task(_looked(client, left))

    async def _bring(self, client: _Client, numbers: Iterator[int]) -> None:
        for number in numbers:
            async with asyncio.timeout(END_SECONDS):
                self.seen.append(await client.job(number))


async def _looked(client: _Client, left: Iterator[Seen]) -> None:
    for seen in left:
        async with asyncio.timeout(END_SECONDS):
            await client.look_again(seen)


class _Client:
    def __init__(self, urls: Sequence[str], http: httpx.AsyncClient, draw: random.Random, wrong: list[str]) -> None:
        self._urls, self._http, self._draw, self._wrong = urls, http, draw, wrong

    async def job(self, number: int) -> Seen:
        body = asked(number)
        headers = {"Idempotency-Key": f"proof {number}"}
        made = await self._ask(lambda url: self._http.post(f"{url}/v1/videos", json=body, headers=headers))
        seen = Seen(made.json()["id"], body["model"], body["prompt"])
        if number % AGAIN == 0:
            again = await self._ask(lambda url: self._http.post(f"{url}/v1/videos", json=body, headers=headers))
            seen.ids.add(again.json()["id"])
        while True:
            told = (await self._get(f"/v1/videos/{seen.id}?wait={WAIT_SECONDS}")).json()
            if told["status"] in OVER:
                seen.first = told["status"], (told["error"] or {}).get("code", "")
                return seen

    async def look_again(self, seen: Seen) -> None:
        for url in self._urls:
            told = (await self._get(f"/v1/gateway/jobs/{seen.id}", url)).json()
            seen.last.add((told["status"], (told["error"] or {}).get("code", ""), told["ended_at"]))
            seen.tries = {one["id"]: one["upstream"] for one in told["tries"]}
            if told["status"] == "completed":
                film = await self._get(f"/v1/videos/{seen.id}/content", url)
                seen.digests.add(hashlib.sha256(film.content).hexdigest())

    async def _get(self, path: str, at: str | None = None) -> httpx.Response:
        return await self._ask(lambda url: self._http.get(url + path), at)

    async def _ask(self, ask: Callable[[str], Any], at: str | None = None) -> httpx.Response:
        """Until it is answered with 200: a process that is gone, that begins or has no store now is no answer."""
        while True:
            with suppress(httpx.HTTPError):
                answer: httpx.Response = await ask(at or self._draw.choice(self._urls))
                if answer.status_code == httpx.codes.OK:
                    return answer
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    self._wrong.append(f"{answer.request.method} answered {answer.status_code}: {answer.text[:200]}")
            await asyncio.sleep(POLL_SECONDS)


def _http(at_once: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=at_once)
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.AsyncClient(headers=headers, timeout=ASK_SECONDS, limits=limits, trust_env=False)


def asked(number: int) -> dict[str, Any]:
    """The body of a job; its prompt is the mark of all that is ordered for it."""
    model = MODELS[number % len(MODELS)]
    body: dict[str, Any] = {"model": model, "prompt": f"film {number}"}
    if model != OURS:
        return {**body, "seconds": str(BOUGHT_SECONDS)}
    shape = number // len(MODELS)
    width, seconds = 64 + 16 * (shape % SIZES), 1 + shape // SIZES % OUR_SECONDS
    return {**body, "size": f"{width}x64", "seconds": str(seconds)}


def expected(number: int) -> str:
    """SHA-256 of the film that this job is to have."""
    body = asked(number)
    if body["model"] == OURS:
        width, _, height = str(body["size"]).partition("x")
        made = mp4(float(body["seconds"]), int(width), int(height))
    else:
        made = film(API_OF[body["model"]], body["prompt"])
    return hashlib.sha256(made).hexdigest()
