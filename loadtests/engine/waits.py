"""What the checks wait for: each gives something truthy once it holds."""

from __future__ import annotations

from typing import Any

import httpx

from loadtests.engine import policy
from loadtests.engine.stand import Stand, until

IDLE_SECONDS = 20.0


def fate(headers: httpx.Headers) -> tuple[str, str]:
    """Outcome and reason of an answer, as its headers say."""
    return headers.get("x-gateway-outcome", "none"), headers.get("x-gateway-reason", "none")


async def reached(stand: Stand, count: int) -> int | None:
    """So many running, by the engine's own page."""
    running = await stand.running()
    return running if running == count else None


async def holds(stand: Stand, count: int) -> bool:
    """So many running and so many leases. A lease that was taken while the store was late is known a little later."""
    return await reached(stand, count) == count == await stand.leases()


async def is_idle(stand: Stand) -> bool:
    """Neither the engine nor a lease knows of any request."""
    gauges, kind = await stand.gauges(), stand.about.kind
    return gauges[kind.running] == gauges[kind.waiting] == 0 and await stand.leases() == 0


async def idle(stand: Stand) -> None:
    """Between two checks: nobody's load is left, and the gateway has seen that."""
    await until(lambda: is_idle(stand), IDLE_SECONDS)
    await until(lambda: reading_says(stand, running=0, waiting=0), IDLE_SECONDS)


async def reading_says(stand: Stand, **wanted: Any) -> bool:
    """The reading in the store holds these values, and our page shows no older one."""
    reading, shown = await stand.reading(), await stand.shown()
    return all(getattr(reading, name) == value for name, value in wanted.items()) and (
        shown.get("running") == reading.running and shown.get("queue_depth") == reading.waiting
    )


async def queueing(stand: Stand) -> tuple[int, int] | None:
    """Running and waiting in the store, once the seats are taken and somebody waits."""
    reading = await stand.reading()
    return (reading.running, reading.waiting) if reading.running == policy.SEATS and reading.waiting else None


async def outside_share(stand: Stand) -> float:
    return (await stand.shown()).get("outside_share", 0.0)


async def all_taken(stand: Stand) -> bool:
    """What is not ours fills the worker: the first scrapes of the window may still have seen less of it."""
    return await outside_share(stand) >= 1


async def no_outside(stand: Stand) -> bool:
    return await outside_share(stand) == 0


async def served(stand: Stand, outcome: str) -> str | None:
    """A short request that may be bought ends up so."""
    answer = await stand.http.post("/v1/chat/completions", json=stand.body(max_tokens=4))
    return outcome if answer.is_success and fate(answer.headers)[0] == outcome else None


async def is_up(stand: Stand, up: bool) -> bool:
    """What our page says of the worker."""
    return (await stand.page()).upstreams[policy.BACKEND, policy.WORKER].get("up") == float(up)
