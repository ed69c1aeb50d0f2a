"""The proof over HTTP with pictures, speech, sound and films: two gateway processes that share a store and a folder of
results and are killed in turn, before servers that note every request (`witness.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import httpx

from loadtests.chaos.servers import Store
from loadtests.residency import media_site as site
from loadtests.residency.media_judge import Evidence
from loadtests.residency.media_site import HOSTS, LIES, SHARES, WORLDS, Medium
from loadtests.residency.run import Tally, count_tempted
from loadtests.residency.site import PEPPER
from loadtests.residency.traffic import Sent
from loadtests.residency.wires import result
from loadtests.residency.witness import HOST, Witness
from loadtests.stack import Gateway, free_port, start_gateway

AT_ONCE, PROCESSES = 24, 2
TROUBLE_EVERY, KILLS, LEAST_BETWEEN = 25, 8, 60
"""Requests between two changes of what is wrong; how often a process is killed in the whole run, and after how many
requests at the soonest."""
TROUBLES = (0.0, 0.0, 0.0, 0.2, 0.5, 1.0)
END_SECONDS, AGAIN_SECONDS, ASK_SECONDS = 60.0, 0.2, 30.0
"""In which a job has ended, whatever happens; between two calls where nobody answers."""
OVER = frozenset({"succeeded", "failed", "cancelled", "expired"})


def prove_media(place: Path, seed: int, count: int) -> Evidence:
    """Raises StackFault or OSError where it cannot begin, in groups where a process does not come back later. A job
    that never ends is a finding."""
    with ExitStack() as stack:
        store = stack.enter_context(Store(place / "store"))
        return asyncio.run(_Proof(place, store.url, Random(seed), count).run(stack))


class _Proof:
    def __init__(self, place: Path, store: str, rng: Random, count: int) -> None:
        self._place, self._store, self._rng, self._count = place, store, rng, count
        self._folder = place / "policies"
        self._seen = Evidence(place)
        self._tallies, self._sent = self._seen.tallies, self._seen.sent
        self._jobs = 0
        """Under way."""
        self._ports = [free_port() for _ in range(PROCESSES)]
        self._gateways: dict[int, Gateway] = {}

    async def run(self, stack: ExitStack) -> Evidence:
        async with Witness(HOSTS, self._rng) as witness:
            self._witness, self._seen.journal = witness, witness.journal
            site.write(self._folder, WORLDS[0], witness.urls)
            stack.callback(self._end)
            await asyncio.gather(*(asyncio.to_thread(self._start, port) for port in self._ports))
            limits = httpx.Limits(max_connections=2 * AT_ONCE)
            async with httpx.AsyncClient(trust_env=False, timeout=ASK_SECONDS, limits=limits) as http:
                await self._send_all(http)
        await asyncio.to_thread(self._end)
        return self._seen

    # Processes.

    def _start(self, port: int) -> None:
        env = {
            "GATEWAY_KEY_PEPPER": PEPPER,
            "GATEWAY_LOG_LEVEL": "error",
            "GATEWAY_REDIS_URL": self._store,
            "GATEWAY_LEDGER_URL": "none",
            "GATEWAY_ZONE": str(LIES.zone),
            "GATEWAY_ARTEFACTS": str(self._seen.kept),
            "GATEWAY_ARTEFACTS_FLOOR": "0",
        }
        log = self._place / f"gateway-{port}.log"
        self._gateways[port] = start_gateway(self._folder, self._place / f"data-{port}", port=port, env=env, log=log)

    def _kill(self, port: int) -> None:
        """SIGKILL, and another one in its place."""
        self._gateways[port].kill()
        self._start(port)

    def _end(self) -> None:
        for gateway in self._gateways.values():
            gateway.kill()

    # Callers.

    async def _send_all(self, http: httpx.AsyncClient) -> None:
        free, killing = asyncio.Semaphore(AT_ONCE), max(LEAST_BETWEEN, self._count // KILLS)
        deaths: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as together:
            for number in range(self._count):
                await free.acquire()
                if number % TROUBLE_EVERY == TROUBLE_EVERY - 1:
                    self._trouble()
                if number % killing == killing // 2 and all(one.done() for one in deaths):
                    port = self._ports[len(deaths) % PROCESSES]
                    self._tallies["films"].counts["jobs under way as a process died"] += self._jobs
                    deaths.append(together.create_task(asyncio.to_thread(self._kill, port)))
                medium = self._rng.choices(tuple(SHARES), tuple(SHARES.values()))[0]
                task = together.create_task(self._one(http, medium, f"m-{number}"))
                task.add_done_callback(lambda _: free.release())
        for tally in self._tallies.values():
            tally.counts["processes killed"] = len(deaths)

    def _trouble(self) -> None:
        if self._rng.random() < 0.3:
            site.write(self._folder, self._rng.choice(WORLDS), self._witness.urls)
            for tally in self._tallies.values():
                tally.counts["reloads"] += 1
        else:
            self._witness.trouble[self._rng.choice(HOSTS)] = self._rng.choice(TROUBLES)

    async def _one(self, http: httpx.AsyncClient, medium: Medium, nonce: str) -> None:
        sent, tally = site.make(self._rng, medium, nonce), self._tallies[medium]
        self._sent[nonce] = medium, sent
        tally.counts["requests"] += 1
        count_tempted(tally.counts, sent.ask, WORLDS[0])
        answer = await self._asked(http, sent)
        tally.statuses[answer.status_code if answer is not None else 0] += 1
        if sent.job and answer is not None and answer.is_success:
            tally.counts["jobs"] += 1
            self._jobs += 1
            await self._follow(http, answer.json()["id"], sent, nonce, tally)
            self._jobs -= 1

    async def _asked(self, http: httpx.AsyncClient, sent: Sent) -> httpx.Response | None:
        """By whichever process takes it; None: one was killed that had it."""
        while True:
            url = self._url(self._rng.choice(self._ports), sent.path)
            body = _pieces(sent) if sent.streamed else sent.body
            try:
                return await http.request(sent.method, url, content=body, headers=sent.headers)
            except httpx.ConnectError:
                await asyncio.sleep(AGAIN_SECONDS)
            except httpx.HTTPError:
                return None

    async def _follow(self, http: httpx.AsyncClient, id: str, sent: Sent, nonce: str, tally: Tally) -> None:
        """To the end of a job, at whichever process answers, and to what it made. One without an end is a finding."""
        key = {"authorization": dict(sent.headers)[b"authorization"].decode()}
        limit, state = asyncio.timeout(END_SECONDS), "queued"
        try:
            async with limit:
                while state not in OVER:
                    wait = f"/v1/gateway/jobs/{id}?wait={site.WAIT_SECONDS}"
                    job = (await self._had(http, wait, key)).json()
                    state = job["state"]
                for made in job["artefacts"]:
                    got = await self._had(http, f"/v1/gateway/jobs/{id}/artefacts/{made['name']}", key)
                    tally.counts["results given out"] += 1
                    if got.content != result(nonce):
                        tally.found(f"{id} was given what was not made for it")
        except TimeoutError:
            if not limit.expired():
                raise
            tally.found(f"{id} was {state} when it should have ended and given out what it made ({sent.ask})")

    async def _had(self, http: httpx.AsyncClient, path: str, headers: Mapping[str, str]) -> httpx.Response:
        """Until a process gives it out."""
        while True:
            with suppress(httpx.HTTPError):
                answer = await http.get(self._url(self._rng.choice(self._ports), path), headers=headers)
                if answer.is_success:
                    return answer
            await asyncio.sleep(AGAIN_SECONDS)

    def _url(self, port: int, path: str) -> str:
        return f"http://{HOST}:{port}{path}"


async def _pieces(sent: Sent) -> AsyncIterator[bytes]:
    for piece in sent.pieces:
        yield piece
        await asyncio.sleep(0)
