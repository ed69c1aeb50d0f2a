"""Any interleaving of acquire, renew, release, crash, sweep and flush keeps the sums true and loses no live lease."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.fleet import readings
from gateway.fleet.leases import BEAT_SECONDS, Leases, slot_name
from gateway.model import Reading, Scrape
from gateway.store.connection import Store

from .leasing import BACKEND, LIMIT, SEATS, Clock, books, candidate, replica

WORKERS, REPLICAS = 3, 3
BEAT_MS = int(BEAT_SECONDS * 1000)
SETTLED_MS = 11_000
"""Longer than expiry, recovery and the time between two write-backs together."""

WHO = st.integers(0, REPLICAS - 1)
STEP = st.one_of(
    st.tuples(st.just("acquire"), WHO, st.integers(1, 2 * LIMIT)),
    st.tuples(st.just("acquire"), WHO, st.integers(1, LIMIT // 4)),
    st.tuples(st.just("release"), WHO, st.integers(0, 9)),
    st.tuples(st.just("shrink"), WHO, st.integers(0, 9)),
    st.tuples(st.just("beat"), WHO, st.just(0)),
    st.tuples(st.just("pass"), st.just(0), st.integers(1, 6000)),
    st.tuples(st.just("crash"), WHO, st.just(0)),
    st.tuples(st.just("reborn"), st.integers(0, WORKERS - 1), st.just(0)),
    st.tuples(st.sampled_from(["flush", "forget scripts"]), st.just(0), st.just(0)),
)
Step = tuple[str, int, int]


@dataclass
class World:
    """Replicas that beat at least every BEAT_SECONDS unless they are dead, on a clock that the test moves."""

    store: Store
    clock: Clock = field(default_factory=Clock)
    restarts: list[int] = field(default_factory=lambda: [0] * WORKERS)
    known: dict[str, Reading] = field(default_factory=dict)
    """Readings as the replicas saw them last."""
    replicas: list[Leases] = field(default_factory=list)
    last_beat: dict[str, int] = field(default_factory=dict)
    flushed: int = 0

    async def join(self) -> Leases:
        new = replica(self.store, self.clock)
        await new.loads([BACKEND])
        await self.beat(new)
        return new

    async def beat(self, who: Leases) -> None:
        await who.tick()
        self.last_beat[who.owner] = self.clock.ms

    async def take(self, step: Step) -> None:
        name, number, amount = step
        who = self.replicas[number]
        if name == "acquire":
            ways = [candidate(name, work=amount, life=known.life) for name, known in self.known.items()]
            await who.acquire(BACKEND, who.new_id(), ways)
        elif name == "release" and (held := list(who.live[BACKEND])):
            who.release(BACKEND, held[amount % len(held)])
            await who.drain()
        elif name == "shrink" and (held := list(who.live[BACKEND].items())):
            lease, (_, work) = held[amount % len(held)]
            who.resize(BACKEND, lease, max(1, work // 2))
            await who.drain()
        elif name == "beat":
            await self.beat(who)
        elif name == "pass":
            await self.wait(amount)
        elif name == "crash":
            self.replicas[number] = await self.join()
        elif name == "reborn":
            self.restarts[number] += 1
            await self.look()
        elif name == "flush":
            await self.store.call("FLUSHALL")
            self.flushed = self.clock.ms
            await self.look()
        elif name == "forget scripts":
            await self.store.call("SCRIPT", "FLUSH")

    async def look(self) -> None:
        """Every worker's page is read and written, and the readings are seen."""
        now = {f"w{n}": Scrape(started=1000.0 + 10 * restarts) for n, restarts in enumerate(self.restarts)}
        await readings.write_all(self.store, now, self.known)
        self.known |= await readings.read(self.store)

    async def wait(self, amount: int) -> None:
        """Let time pass; whoever is due beats."""
        end = self.clock.ms + amount
        while (due := min(self.last_beat[one.owner] for one in self.replicas) + BEAT_MS) <= end:
            self.clock.ms = max(self.clock.ms, due)
            for one in self.replicas:
                if self.last_beat[one.owner] + BEAT_MS <= self.clock.ms:
                    await self.beat(one)
        self.clock.ms = end

    async def check(self) -> None:
        seen = await books(self.store)
        seen.check()
        assert [self.known[f"w{n}"].life for n in range(WORKERS)] == self.restarts
        assert all(0 < work <= LIMIT for work in seen.load.values())
        assert all(0 < count <= SEATS for count in seen.count.values())
        for one in self.replicas:
            if self.last_beat[one.owner] > self.flushed:  # strictly: a beat of the same ms may have come before
                assert seen.of(one.owner) == one.live[BACKEND]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=40))
@example(steps=[("acquire", 0, 80), ("flush", 0, 0), ("acquire", 1, 80), ("pass", 0, 2100), ("acquire", 1, 80)])
@example(steps=[("reborn", 0, 0), ("acquire", 0, 80), ("flush", 0, 0), ("pass", 0, 2100), ("acquire", 1, 80)])
@example(steps=[("acquire", 0, 80), ("crash", 0, 0), ("pass", 0, 3900), ("acquire", 1, 300), ("pass", 0, 200)])
async def test_any_interleaving(store: Store, steps: list[Step]) -> None:
    await store.call("FLUSHALL")
    world = World(store)
    await world.look()
    world.replicas = [await world.join() for _ in range(REPLICAS)]
    await world.wait(3000)
    for step in steps:
        await world.take(step)
        await world.check()
    await world.wait(SETTLED_MS)
    await world.check()
    seen = await books(store)
    assert set(seen.leases) == {lease for one in world.replicas for lease in one.live[BACKEND]}
    assert all(slot in {slot_name(f"w{n}", life) for n in range(WORKERS) for life in range(99)} for slot in seen.load)
