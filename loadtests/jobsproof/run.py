"""A run: processes in front of one store, clients that ask again until they are answered, and whoever kills them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtests.chaos.servers import Store
from loadtests.jobsproof.judge import COMPLETED, FAILED, Evidence, Seen
from loadtests.jobsproof.provider import Provider
from loadtests.stack import ROOT, StackFault, free_port

READY_SECONDS, POLL_SECONDS = 30.0, 0.05
LOOK_SECONDS, ASK_SECONDS = 0.7, 4.0
FROZEN_SECONDS = 6.0
"""Longer than any silence is borne (`gateway/jobs/jobs.lua`)."""
DOWN_SECONDS = 0.3
"""For how long a killed process is gone."""
END_SECONDS = 180.0
"""In which every job has ended after the last one was accepted."""


@dataclass(frozen=True, slots=True)
class Plan:
    count: int = 10_000
    clients: int = 200
    processes: int = 3
    kill_seconds: float = 2.0
    restart_after: int = 3
    """Kills, after which the store is killed once."""
    freezes: int = 10
    """Of a process, spread over the run."""
    longest: float = 60.0
    """Seconds that a job may take."""
    seed: int = 1


class Site:
    """The processes: `urls` stay the same over their lives."""

    def __init__(self, place: Path, plan: Plan, provider: str, store: Store) -> None:
        self._place, self._provider, self._longest, self.store = place, provider, plan.longest, store
        self.films = place / "films"
        self.films.mkdir()
        self._ports = [free_port() for _ in range(plan.processes)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    async def start(self) -> None:
        for port in self._ports:
            self._spawn(port)
        deadline = time.monotonic() + READY_SECONDS
        async with httpx.AsyncClient() as http:
            for url in self.urls:
                while not await _answers(http, url):
                    if time.monotonic() > deadline:
                        raise StackFault(f"the process at {url} did not start; see {self._place / 'log'}")
                    await asyncio.sleep(POLL_SECONDS)

    async def kill(self, draw: random.Random) -> None:
        port = draw.choice(self._ports)
        self._running[port].kill()
        self._running[port].wait()
        try:
            await asyncio.sleep(DOWN_SECONDS)
        finally:
            self._spawn(port)

    async def freeze(self, draw: random.Random) -> None:
        """It is believed dead, loses its jobs to others, and comes back with all that it believes."""
        process = self._running[draw.choice(self._ports)]
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(FROZEN_SECONDS)
        finally:
            process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def _spawn(self, port: int) -> None:
        command = [sys.executable, "-m", "loadtests.jobsproof.harness", str(port), self.store.url, self._provider]
        with (self._place / "log").open("ab") as log:
            self._running[port] = subprocess.Popen(
                [*command, str(self.films), str(self._longest)],
                cwd=ROOT,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    with suppress(httpx.HTTPError):
        return (await http.get(f"{url}/v1/videos/none")).status_code == 404
    return False


class Client:
    """One of many: a job after the other, each from its order to its end."""

    def __init__(self, site: Site, http: httpx.AsyncClient, draw: random.Random) -> None:
        self._site, self._http, self._draw = site, http, draw

    async def job(self, number: int) -> Seen:
        once = {"idempotency-key": f"proof {number}"}
        made = await self._ask("POST", "", headers=once, json={"prompt": f"film {number}"})
        seen = Seen(made.json()["id"])
        while True:
            told = (await self._ask("GET", f"/{seen.id}")).json()
            if told["status"] in (COMPLETED, FAILED):
                seen.first = _end(told)
                seen.moments.add(told["ended"])
                return seen
            await asyncio.sleep(LOOK_SECONDS)

    async def look_again(self, seen: Seen) -> None:
        told = (await self._ask("GET", f"/{seen.id}")).json()
        seen.last = _end(told)
        seen.moments.add(told["ended"])
        if told["status"] == COMPLETED:
            seen.film = (await self._ask("GET", f"/{seen.id}/content")).content

    async def _ask(self, method: str, path: str, **more: object) -> httpx.Response:
        """Any process answers for any job; one that is gone, or cannot now, is no answer."""
        while True:
            with suppress(httpx.HTTPError):
                url = f"{self._draw.choice(self._site.urls)}/v1/videos{path}"
                answer = await self._http.request(method, url, **more)  # type: ignore[arg-type]
                if answer.status_code == 200:
                    return answer
            await asyncio.sleep(POLL_SECONDS)


def _end(told: dict[str, object]) -> tuple[str, str]:
    error = told["error"]
    return str(told["status"]), str(error["code"]) if isinstance(error, dict) else ""


async def prove(place: Path, plan: Plan, tell: Callable[[str], None]) -> Evidence:
    """Raises StackFault where it cannot run, TimeoutError where jobs do not end."""
    run, provider, began = Evidence(plan.count), Provider(plan.seed), time.monotonic()
    async with provider.serving():
        with Store(place / "store") as store:
            site = Site(place, plan, provider.url, store)
            try:
                await site.start()
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=plan.clients)
                async with httpx.AsyncClient(timeout=ASK_SECONDS, limits=limits) as http:
                    trouble = asyncio.create_task(_trouble(site, plan, run))
                    try:
                        await _serve_clients(site, http, plan, run, tell)
                    finally:
                        trouble.cancel()
                        await asyncio.gather(trouble, return_exceptions=True)
                    await _look_again(site, http, plan, run)
            finally:
                site.close()
    run.taken, run.lost, run.seconds = provider.taken, provider.lost, time.monotonic() - began
    return run


async def _trouble(site: Site, plan: Plan, run: Evidence) -> None:
    """A process at random, again and again; now and then one is frozen instead; the store once."""
    draw = random.Random(plan.seed)
    while True:
        await asyncio.sleep(plan.kill_seconds)
        if run.freezes < len(run.seen) // (plan.count // (plan.freezes + 1)):
            run.freezes += 1
            await site.freeze(draw)
        if not run.restarts and run.kills >= plan.restart_after:
            site.store.kill()
            await asyncio.to_thread(site.store.start)
            run.restarts += 1
        await site.kill(draw)
        run.kills += 1


async def _serve_clients(
    site: Site, http: httpx.AsyncClient, plan: Plan, run: Evidence, tell: Callable[[str], None]
) -> None:
    numbers = iter(range(plan.count))
    await asyncio.gather(*(_client(site, http, plan, numbers, run, tell, each) for each in range(plan.clients)))


async def _look_again(site: Site, http: httpx.AsyncClient, plan: Plan, run: Evidence) -> None:
    """Whether every job is still as it was seen to have ended, and its film there; all processes are up by now."""
    again = Client(site, http, random.Random(plan.seed))
    for batch in _batched(run.seen, plan.clients):
        async with asyncio.timeout(END_SECONDS):
            await asyncio.gather(*(again.look_again(one) for one in batch))


def _batched(seen: list[Seen], size: int) -> Iterator[list[Seen]]:
    for at in range(0, len(seen), size):
        yield seen[at : at + size]


async def _client(
    site: Site,
    http: httpx.AsyncClient,
    plan: Plan,
    numbers: Iterator[int],
    run: Evidence,
    tell: Callable[[str], None],
    which: int,
) -> None:
    client = Client(site, http, random.Random(f"{plan.seed} {which}"))
    for number in numbers:
        async with asyncio.timeout(END_SECONDS):
            run.seen.append(await client.job(number))
        if len(run.seen) % 1000 == 0:
            tell(f"{len(run.seen):,} jobs over, {run.kills} processes killed")
