"""Three replicas and a store that is slowed, stopped, killed, flushed, failed over, or has its clock set: how far above
the limit they go.

Promised (docs/store.md): at most what was granted since the last view, and one request for each replica. Here nothing
is granted for so long before the outage that every replica has seen all; that leaves one for each replica, until the
end, under a load that at every moment wants more than there is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from gateway.admission import Admission
from gateway.errors import FleetSaturated
from gateway.fleet.circuits import Circuits
from gateway.fleet.leases import Leases, new_owner
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.fleet.view import View
from gateway.model import Lease
from gateway.money.budgets import Budgets
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from loadtests.stack import free_port
from tests.polling import until
from tests.worlds import policy, request, rule, upstream

from .gates import Gate
from .leasing import books

Server = tuple[Embedded, Embedded | None, Path]
REPLICAS, SEATS, HELD = 3, 30, 12
POLICY = policy((upstream("w1", "gpu", seats=SEATS, limit=10**9),), (rule(spill=None),))
TIMEOUT = 0.2
"""Of the store, instead of 50 ms: on a busy machine no replica may be degraded but for what the test does."""
TRY_SECONDS = 0.03
SKEW_SECONDS = 0.4
"""Between one replica's way back to the store and the next one's: pauses of the probe grow up to a second."""
AWAY_SECONDS, LONG_SECONDS = 0.8, 4.2
"""LONG: every beat has run out, and whoever comes back first sweeps all others."""
BACK_SECONDS = 10.0
"""For three replicas on a busy machine to see or to reach what they wait for."""
AFTER_SECONDS = 2.5
"""Of load once all are back: longer than the two seconds in which nothing is granted."""


@dataclass
class Replica:
    gate: Gate
    store: Store
    leases: Leases
    view: View
    admission: Admission
    rng: Random
    held: list[Lease] = field(default_factory=list)

    async def admit(self) -> bool:
        decision = decide(request(), Board(POLICY, self.view.current), self.rng)
        try:
            self.held.append(await self.admission.admit(request(), decision))
        except FleetSaturated:
            return False
        return True

    def release(self) -> None:
        if self.held:
            self.admission.release(self.held.pop(self.rng.randrange(len(self.held))))


@dataclass
class World:
    """Three replicas on one store, each behind a gate of its own, and what they hold at most."""

    folder: Path
    server: Embedded
    second: Embedded | None
    """Where it fails over to."""
    replicas: list[Replica]
    ahead_ms: int = 0
    """How far the store's clock was set forward (or back, where negative)."""
    most: int = 0
    degraded: set[int] = field(default_factory=set)
    """Replicas that were degraded at some time."""

    def store_ms(self) -> int:
        """The time to tell the scripts; 0 is the store's own."""
        return int(time.time() * 1000) + self.ahead_ms if self.ahead_ms else 0

    @property
    def in_flight(self) -> int:
        return sum(len(one.held) for one in self.replicas)

    async def want_more(self, one: Replica) -> None:
        """Takes whatever is given, and gives one in twenty back."""
        while True:
            if await one.admit():
                self.most = max(self.most, self.in_flight)
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(TRY_SECONDS)
            if one.store.degraded:
                self.degraded.add(self.replicas.index(one))
            if one.rng.random() < 0.05:
                one.release()

    async def shut(self) -> None:
        await asyncio.gather(*(one.gate.shut() for one in self.replicas))

    async def open(self, target: Embedded | None = None) -> None:
        """One after the other."""
        for one in self.replicas:
            one.gate.open(None if target is None else socket_of(target))
            await asyncio.sleep(SKEW_SECONDS)


def socket_of(server: Embedded) -> Path:
    return Path(server.url.removeprefix("unix://"))


@asynccontextmanager
async def world_on(server: Embedded, second: Embedded | None, folder: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        made = World(folder, server, second, [])
        for number in range(REPLICAS):
            gate = await stack.enter_async_context(Gate(folder / f"gate{number}", socket_of(server)))
            store = Store(gate.url, timeout=TIMEOUT)
            await store.check()
            stack.push_async_callback(store.aclose)
            leases = Leases(store, new_owner(), fresh=server.fresh, store_ms=made.store_ms)
            lessons = Lessons(store, Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY))
            view = View(store, leases, lessons, lambda: POLICY, Circuits())
            admission = Admission(leases, Budgets(store), lambda view=view: view.current)  # type: ignore[misc]
            made.replicas.append(Replica(gate, store, leases, view, admission, Random(number)))
            for run in (leases.beat_forever, view.run):
                stack.callback(asyncio.create_task(run()).cancel)
        yield made


async def slowed(world: World) -> None:
    for one in world.replicas:
        one.gate.delay = 2 * TIMEOUT
    await asyncio.sleep(2 * AWAY_SECONDS)
    for one in world.replicas:
        one.gate.delay = 0.0
        await asyncio.sleep(SKEW_SECONDS)


async def stopped(world: World) -> None:
    os.kill(world.server.pid, signal.SIGSTOP)
    await asyncio.sleep(AWAY_SECONDS)
    os.kill(world.server.pid, signal.SIGCONT)


async def stopped_for_long(world: World) -> None:
    os.kill(world.server.pid, signal.SIGSTOP)
    await asyncio.sleep(LONG_SECONDS)
    await world.shut()
    os.kill(world.server.pid, signal.SIGCONT)
    await world.open()


async def killed(world: World) -> None:
    os.kill(world.server.pid, signal.SIGKILL)
    await world.shut()
    await until(lambda: world.server.ended, BACK_SECONDS)
    await world.server.revive(world.folder / "store")
    await world.open()


async def flushed(world: World) -> None:
    await world.replicas[0].store.call("FLUSHALL")


async def clock_set_forward(world: World) -> None:
    """Under load, when there is no room left."""
    await until(lambda: world.in_flight >= SEATS - 1)
    world.ahead_ms = 5_000


async def clock_set_back(world: World) -> None:
    await until(lambda: world.in_flight >= SEATS - 1)
    world.ahead_ms = -3_600_000


async def failed_over_to_an_empty_one(world: World) -> None:
    await world.shut()
    await asyncio.sleep(AWAY_SECONDS)
    await world.open(world.second)


async def failed_over_to_a_replica(world: World) -> None:
    """At first it takes no writes; then it is the primary, with what it knew."""
    await world.shut()
    await world.open(world.second)
    await asyncio.sleep(AWAY_SECONDS)
    assert all(one.store.degraded for one in world.replicas), "READONLY is refused"
    assert world.second is not None
    await tell(world.second, "REPLICAOF", "NO", "ONE")


WITH_THE_STORE = {flushed.__name__, clock_set_forward.__name__, clock_set_back.__name__}
"""What goes wrong without it being away for anybody."""
OUTAGES: dict[str, Callable[[World], Awaitable[None]]] = {
    outage.__name__: outage
    for outage in (
        slowed,
        stopped,
        stopped_for_long,
        killed,
        flushed,
        clock_set_forward,
        clock_set_back,
        failed_over_to_an_empty_one,
        failed_over_to_a_replica,
    )
}


async def tell(server: Embedded, *command: str) -> str:
    """The first line of the answer."""
    reader, writer = await asyncio.open_unix_connection(socket_of(server))
    writer.write((" ".join(command) + "\r\n").encode())
    answer = await reader.readline()
    writer.close()
    assert not answer.startswith(b"-"), answer
    return answer.decode().strip()


async def story(name: str, server: Embedded, second: Embedded | None, folder: Path) -> int:
    """Requests above the limit at the worst moment of one outage."""
    async with world_on(server, second, folder) as world:
        if second is not None and "replica" in name:
            await follow(server, second)
        await until(lambda: all(one.view.current.replicas == REPLICAS for one in world.replicas), BACK_SECONDS)
        for number in range(HELD):
            assert await world.replicas[number % 2].admit()
        await until(lambda: all(one.view.current.states["w1"].inflight == HELD for one in world.replicas), BACK_SECONDS)
        outage = asyncio.create_task(OUTAGES[name](world))
        await asyncio.sleep(0)
        load = [asyncio.create_task(world.want_more(one)) for one in world.replicas for _ in range(2)]
        await outage
        await until(lambda: not any(one.store.degraded for one in world.replicas), BACK_SECONDS)
        await asyncio.sleep(AFTER_SECONDS)
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
        assert world.most >= SEATS - REPLICAS, "the load was there"
        assert name in WITH_THE_STORE or len(world.degraded) == REPLICAS, "all of them lost the store"
        await settled(world)
        return world.most - SEATS


async def follow(primary: Embedded, second: Embedded) -> None:
    """Makes the second server a replica of the first, which needs a port for that."""
    port = free_port()
    await tell(primary, "CONFIG", "SET", "port", str(port))
    await tell(second, "REPLICAOF", "127.0.0.1", str(port))


async def settled(world: World) -> None:
    """The store knows exactly what is held; and nothing in the end."""
    store = world.replicas[0].store

    async def agree() -> None:
        while True:
            seen = await books(store, "gpu")
            if seen.leases.keys() == {name for one in world.replicas for name in one.leases.live["gpu"]}:
                return
            await asyncio.sleep(0.05)

    await asyncio.wait_for(agree(), 7)
    for one in world.replicas:
        while one.held:
            one.release()
        await one.leases.drain()
    await asyncio.wait_for(agree(), 7)
    emptied = await books(store, "gpu")
    emptied.check()
    assert emptied.leases == {}


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """For each outage a store, and where it fails over to. Starting one blocks, so it is done before the stories."""
    with ExitStack() as stack:

        def start(folder: Path) -> Embedded:
            server = Embedded.start(folder)
            stack.callback(server.stop)
            return server

        yield [
            (start(folder / "store"), start(folder / "second") if "failed_over" in name else None, folder)
            for name, folder in ((name, tmp_path / str(number)) for number, name in enumerate(OUTAGES))
        ]


async def test_at_most_one_request_for_each_replica_above_the_limit(servers: list[Server]) -> None:
    stories = (story(name, *each) for name, each in zip(OUTAGES, servers, strict=True))
    over = dict(zip(OUTAGES, await asyncio.gather(*stories), strict=True))
    assert {name: excess for name, excess in over.items() if excess > REPLICAS} == {}
