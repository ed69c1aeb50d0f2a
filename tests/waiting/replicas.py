"""Several replicas in one process, each with a connection, leases, lines and ears of its own, on one real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from gateway.admission import Admission
from gateway.fleet.leases import Leases, new_owner, room_channel
from gateway.model import Lease, Policy, Snapshot
from gateway.money.budgets import Budgets
from gateway.routing.decide import decide
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT
from tests.worlds import board, request


@dataclass
class Replica:
    store: Store
    leases: Leases
    admission: Admission
    policy: Policy
    snapshot: Snapshot
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def admit(self, **asked: Any) -> Lease:
        seen = replace(board(self.policy), snapshot=self.snapshot)
        return await self.admission.admit(request(**asked), decide(request(**asked), seen, Random(1)))

    async def look(self) -> None:
        """What a snapshot learns from the store about leases and about who waits."""
        await self.leases.loads(list(self.policy.backends))

    def waiting(self) -> int:
        return self.admission.lines.size("gpu")


@asynccontextmanager
async def replicas(
    server: Embedded,
    made: Policy,
    number: int,
    *,
    ears: bool = True,
    store_ms: Callable[[], int] = lambda: 0,
    login: str = "",
) -> AsyncIterator[list[Replica]]:
    """`ears`: whether they hear what the others announce; `login`: `user:password@` of the store's."""
    found = []
    for index in range(number):
        store = Store(server.url.replace("://", f"://{login}"), timeout=PATIENT)
        await store.check()
        if not index:
            await store.call("FLUSHALL")
        leases = Leases(store, new_owner(), fresh=True, store_ms=store_ms)
        seen = board(made).snapshot
        one = Replica(store, leases, None, made, seen)  # type: ignore[arg-type]
        one.admission = Admission(leases, Budgets(store), lambda one=one: one.snapshot, rng=Random(index))  # type: ignore[misc]
        if ears:
            lines, heard = one.admission.lines, asyncio.Event()
            rooms = store.subscription(room_channel(leases.owner), lines.wake, heard.set)
            one.tasks.append(asyncio.create_task(rooms.run()))
            async with asyncio.timeout(PATIENT):
                await heard.wait()
        await one.look()
        found.append(one)
    try:
        yield found
    finally:
        for one in found:
            for task in one.tasks:
                task.cancel()
            await asyncio.gather(*one.tasks, return_exceptions=True)
            await one.leases.drain()
            await one.store.aclose()
