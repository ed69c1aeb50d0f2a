"""What the lease tests share: candidates, replicas on a clock of their own, and the store's side read raw."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gateway.fleet.leases import Leases, new_owner
from gateway.model import Candidate, Served, Speed, Upstream
from gateway.store.connection import Store

BACKEND = "h100"
LIMIT, SEATS = 100, 6


def candidate(
    name: str = "a",
    *,
    score: float = 0.0,
    lift: float = 0.0,
    work: int = 10,
    limit: int = LIMIT,
    seats: int = SEATS,
    outside: int = 0,
    life: int = 0,
) -> Candidate:
    upstream = Upstream(name, BACKEND, "local", "http://10.0.0.1", "openai", "eu", (), Speed(8, 1, 1), limit, seats)
    return Candidate(upstream, Served(BACKEND, "m"), score, work, limit, seats, outside, life, lift=lift)


@dataclass
class Clock:
    """The store's time in the tests, in ms; a replica's own clock runs with it."""

    ms: int = 1_000_000_000_000

    def seconds(self) -> float:
        return self.ms / 1000

    def __call__(self) -> int:
        return self.ms


def replica(store: Store, clock: Clock, *, fresh: bool = False) -> Leases:
    return Leases(store, new_owner(), fresh=fresh, clock=clock.seconds, store_ms=clock)


@dataclass(frozen=True)
class Books:
    """The store's side of one backend."""

    leases: dict[str, tuple[str, int, str]]
    """Lease id -> (slot, work, owner)."""
    load: dict[str, int]
    count: dict[str, int]

    def check(self) -> None:
        """The sums are the sums."""
        load, count = Counter[str](), Counter[str]()
        for slot, work, _ in self.leases.values():
            load[slot] += work
            count[slot] += 1
        assert self.load == dict(load)
        assert self.count == dict(count)

    def of(self, owner: str) -> dict[str, tuple[str, int]]:
        return {name: (slot, work) for name, (slot, work, holder) in self.leases.items() if holder == owner}


async def books(store: Store, backend: str = BACKEND) -> Books:
    leases, load, count = [await _hash(store, f"gw:{{{backend}}}:{name}") for name in ("leases", "load", "count")]
    return Books(
        {name: _lease(value) for name, value in leases.items()},
        {slot: int(value) for slot, value in load.items()},
        {slot: int(value) for slot, value in count.items()},
    )


async def _hash(store: Store, key: str) -> dict[str, str]:
    flat = [value.decode() for value in await store.call("HGETALL", key)]
    return dict(zip(flat[0::2], flat[1::2], strict=True))


def _lease(value: str) -> tuple[str, int, str]:
    slot, work, owner = value.rsplit(" ", 2)
    return slot, int(work), owner
