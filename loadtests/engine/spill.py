"""Check 4: what does not fit is bought, by the gateway's own admission, and comes back when it fits again."""

from __future__ import annotations

import asyncio
from functools import partial

from loadtests.engine import policy
from loadtests.engine.ledger import Ledger
from loadtests.engine.stand import LOCAL, Stand, until
from loadtests.engine.streams import leave
from loadtests.engine.waits import fate, idle, served

PLACED_SECONDS = 30.0
BACK_SECONDS = 10.0


async def spill(stand: Stand, ledger: Ledger) -> None:
    """More long streams than fit: the gateway's own admission buys the rest before the engine queues."""
    held: list[asyncio.Task[None]] = []
    fates = [("local", "")]
    while fates[-1][0] == "local" and len(held) <= policy.SEATS:
        head: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        held.append(asyncio.create_task(_hold(stand, head)))
        await until(partial(_placed, stand, head, len(held)), PLACED_SECONDS)
        fates.append(head.result() if head.done() else ("local", "no head yet"))
    local = len(held) - 1
    ledger.add(f"stream {len(held)}, after {local} that stayed", ("spilled", "slo_limit"), fates[-1])
    ledger.add("streams that stayed", f"1 to {policy.SEATS}", local, 1 <= local <= policy.SEATS)
    ledger.add("the engine's own queue meanwhile", 0, await stand.waiting())
    flagged = await stand.http.post("/v1/chat/completions", json=stand.body(max_tokens=4), headers=LOCAL)
    refused = (flagged.status_code, flagged.json()["error"]["code"], "retry-after" in flagged.headers)
    ledger.add("a flagged request meanwhile: status, code, Retry-After", (429, "fleet_saturated", True), refused)
    await leave(*held)
    back, took = await until(lambda: served(stand, "local"), BACK_SECONDS)
    ledger.add(
        "once they have left, the next request", "local", f"{back or 'not local'} after {took:.1f} s", bool(back)
    )
    await idle(stand)


async def _placed(stand: Stand, head: asyncio.Future[tuple[str, str]], count: int) -> bool:
    """A stream that waits in the engine's queue has a lease and no head."""
    return head.done() or await stand.leases() == count


async def _hold(stand: Stand, head: asyncio.Future[tuple[str, str]]) -> None:
    """One long stream; tells its fate as soon as its head is there."""
    async with stand.http.stream("POST", "/v1/chat/completions", json=stand.long(stream=True)) as answer:
        head.set_result(fate(answer.headers))
        async for _ in answer.aiter_raw():
            pass
