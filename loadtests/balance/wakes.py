"""From the end of an answer that one replica gave to the start, on the same single seat, of a request that waited at
the other replica: what an announced release takes, store and second process included."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from loadtests.balance.arms import SECONDS, ThroughGateway
from loadtests.balance.site import Site, running

POLL_SECONDS = 0.005
WAITING_SECONDS = 0.05
"""For a request to be in line, once it was sent: the answer before it takes three times as long."""
_MS = 1000.0


def measure(place: Path, times: int) -> list[float]:
    """Milliseconds, one figure for each place that came free. Raises SimFault, StackFault or httpx.HTTPError."""
    with running(place, workers=1, seats=1) as site:
        return asyncio.run(_measure(site, times))


async def _measure(site: Site, times: int) -> list[float]:
    async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as http:
        gateway, found = ThroughGateway(site, http), []
        for number in range(times):
            seen = await _received(site)
            first = asyncio.create_task(gateway.send(number))
            while await _received(site) == seen:  # noqa: ASYNC110 - the simulator signals no arrivals
                await asyncio.sleep(POLL_SECONDS)
            second = asyncio.create_task(gateway.send(number + 1))
            await asyncio.sleep(WAITING_SECONDS)
            await first
            ended = time.time()
            await second
            arrived = (await asyncio.to_thread(site.fleet.requests, "w1", seen + 1))[0]["time"]
            found.append(max(0.0, arrived - ended) * _MS)
    return found


async def _received(site: Site) -> int:
    return (await asyncio.to_thread(site.received))["w1"]
