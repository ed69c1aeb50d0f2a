"""Three processes whose store is stopped, flushed and killed: what their worker really runs stays within its limit and
one request for each process, what is flagged stays at home, and in the end the store is right."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import redis

from tests.gateways import KEY, LOCAL, Lane, Site, chat_body, eventually, serve

PROCESSES, SEATS, HELD, BURST = 3, 9, 3, 24
LANE = Lane("chat", seats=SEATS, flagged={"max_wait": 0}, worker={"limit_work_s": 1e6}, sim={"max_num_seqs": 4 * SEATS})
LONG = {"max_tokens": 4000, "ignore_eos": True, "stream": True}
"""Longer than the test."""


class Crowd:
    """Flagged streams that stay open until the crowd leaves; each came over a connection of its own."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._streams: list[asyncio.Task[None]] = []
        self.statuses: list[int] = []

    async def come(self, number: int) -> None:
        """That many more ask; returns when each has got its answer's head."""
        expected = len(self.statuses) + number
        self._streams += [asyncio.create_task(self._stay()) for _ in range(number)]
        async with asyncio.timeout(20):
            while len(self.statuses) < expected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def leave(self) -> None:
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    async def _stay(self) -> None:
        body = chat_body("chat", **LONG)
        async with self._client.stream("POST", "/v1/chat/completions", json=body, headers=LOCAL) as answer:
            self.statuses.append(answer.status_code)
            if answer.status_code == httpx.codes.OK:
                await asyncio.Event().wait()


@asynccontextmanager
async def crowd_at(site: Site) -> AsyncIterator[Crowd]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        base_url=site.gateway.url, headers=headers, trust_env=False, timeout=20, limits=limits
    ) as client:
        crowd = Crowd(client)
        try:
            yield crowd
        finally:
            await crowd.leave()


def in_flight(site: Site) -> int:
    state = site.fleet.state("chat-1")
    return int(state["running"]) + int(state["waiting"])


async def burst_and_check(site: Site, crowd: Crowd) -> None:
    await crowd.come(BURST)
    assert SEATS - PROCESSES <= in_flight(site) <= SEATS + PROCESSES
    assert set(crowd.statuses) == {200, 429}


async def until_degraded(site: Site, is_degraded: bool) -> None:
    await asyncio.to_thread(eventually, lambda: site.metric("gateway_degraded") == is_degraded, "degraded mode", 10)


def store_pid(site: Site) -> int:
    return int((site.data / "store.lock").read_text().partition("\n")[0])


async def outages(site: Site) -> None:
    async with crowd_at(site) as crowd:
        await crowd.come(HELD)
        eventually(lambda: site.metric("gateway_upstream_leases", upstream="chat-1") == HELD, "all see what is held")
        os.kill(store_pid(site), signal.SIGSTOP)
        try:
            await burst_and_check(site, crowd)
            await until_degraded(site, True)
        finally:
            os.kill(store_pid(site), signal.SIGCONT)
        await burst_and_check(site, crowd)
        await until_degraded(site, False)
        with redis.Redis(unix_socket_path=str(site.data / "store.sock")) as store:
            store.flushall()
        await burst_and_check(site, crowd)
        os.kill(store_pid(site), signal.SIGKILL)
        await burst_and_check(site, crowd)
        await until_degraded(site, True)
        await until_degraded(site, False)
        await burst_and_check(site, crowd)
        leases = in_flight(site)
        await asyncio.to_thread(eventually, lambda: site.leases("chat") == leases, "the store is right", 10)


def test_over_admission_stays_within_its_bound(tmp_path: Path) -> None:
    with serve(tmp_path, [LANE], {"GATEWAY_WORKERS": str(PROCESSES)}) as site:
        eventually(lambda: site.metric("gateway_processes") == PROCESSES, "all processes are there")
        asyncio.run(outages(site))
        site.quiet("chat")
        assert site.fleet.requests("chat-api") == [], "what is flagged never leaves"
