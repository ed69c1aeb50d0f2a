"""One process's share of the proof: world after world, each with requests, faults and reloads."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from gateway.store.embedded import Embedded
from loadtests.residency import oracle
from loadtests.residency.memory import Loop, Mood, running_loop
from loadtests.residency.rig import Rig, rig
from loadtests.residency.traffic import Sent, make_request
from loadtests.residency.worlds import HOSTS, OUTSIDE, as_policy, host_name, make_world

PER_WORLD, AT_ONCE = 1_000, 64
VERSIONS, RELOAD_EVERY = 4, 60
"""Policies of one world, and after about how many requests another takes effect."""
STORE_EVERY = 25
"""Worlds of which one has a store that stands still for a while."""
MARK = b'"user":"'
_FAULTS: tuple[Mood, ...] = ("reset", "hang", "cut", 401, 429, 500, 503)
_WEIGHTS = (4, 1, 2, 1, 4, 4, 4)


@dataclass(slots=True)
class Tally:
    """What was seen. `forbidden` holds the first of them in words; `counts` has them all."""

    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    forbidden: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.counts += other.counts
        self.statuses += other.statuses
        self.forbidden += other.forbidden


class Judge:
    """The far side of every connection of one world: answers by its mood, and has the oracle look at each delivery."""

    def __init__(self, tally: Tally, rng: Random) -> None:
        self._tally, self._rng = tally, rng
        self._asks: dict[bytes, tuple[Sent, oracle.World]] = {}
        self._troubled = {host_name(number): rng.choice((0.0, 0.0, 0.05, 0.5)) for number in range(HOSTS)}
        self._astray = {host for host in self._troubled if rng.random() < 0.08}

    def came(self, nonce: bytes, sent: Sent, world: oracle.World) -> None:
        self._asks[nonce] = (sent, world)
        self._tempted(sent, world)

    def connect(self, host: str) -> str | None:
        if self._rng.random() < self._troubled[host] * 0.1:
            return None
        return OUTSIDE if host in self._astray and self._rng.random() < 0.5 else host

    def received(self, host: str, peer: str, data: bytes) -> Mood:
        counts = self._tally.counts
        counts["deliveries"] += 1
        nonce = data[data.index(MARK) + len(MARK) :].partition(b'"')[0]
        sent, world = self._asks[nonce]
        why = oracle.forbidden(world, sent.ask, host, peer)
        if why is not None:
            counts["forbidden"] += 1
            if len(self._tally.forbidden) < 5:
                self._tally.forbidden.append(f"{world.version}: {sent.ask} reached {world.by_host.get(host)}: {why}")
        words = oracle.demanded(world, sent.ask)
        if words:
            backend = world.by_host.get(host)
            counts["flagged to our own workers" if backend and backend.local else "flagged to private endpoints"] += 1
        if self._rng.random() < self._troubled[host]:
            return self._rng.choices(_FAULTS, _WEIGHTS)[0]
        return "answer"

    def _tempted(self, sent: Sent, world: oracle.World) -> None:
        """Counts what makes the run worth something: requests whose rule names a backend where they must not go."""
        words, counts = oracle.demanded(world, sent.ask), self._tally.counts
        if words is None:
            counts["demands not understood"] += 1
            return
        rule = next((rule for rule in world.rules if oracle.meets(world, rule.match, sent.ask, words)), None)
        words |= set(rule.words) if rule else set()
        counts["flagged"] += bool(words)
        if rule is not None and words:
            named = (one for one in world.backends if one.name in rule.named)
            counts["tempted"] += any(not oracle.holds(world, one, word) for one in named for word in words)


def prove(seed: int, count: int) -> Tally:
    """Sends `count` requests (whole worlds). To be run on the main thread."""
    with tempfile.TemporaryDirectory(prefix="gateway-proof-") as name:
        place = Path(name)
        embedded = Embedded.start(place / "store")
        try:
            with asyncio.Runner(loop_factory=Loop) as runner:
                return runner.run(_prove(place, embedded, seed, count))
        finally:
            embedded.stop()


async def _prove(place: Path, embedded: Embedded, seed: int, count: int) -> Tally:
    tally, rng = Tally(), Random(seed)
    first = as_policy(make_world(rng, "before"), rng, "before")
    async with rig(place, embedded, first, rng) as made:
        for number in range(max(1, round(count / PER_WORLD))):
            without_store = number % STORE_EVERY == STORE_EVERY // 5
            await _one_world(made, tally, rng, f"{seed}-{number}", min(count, PER_WORLD), without_store)
        tally.statuses = made.statuses
    return tally


async def _one_world(made: Rig, tally: Tally, rng: Random, name: str, count: int, without_store: bool) -> None:
    judge = Judge(tally, rng)
    running_loop().far = judge
    worlds = [make_world(rng, f"{name}.{version}") for version in range(VERSIONS)]
    policies = {world.version: as_policy(world, rng, name) for world in worlds}
    by_version = {world.version: world for world in worlds}
    free = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> None:
        tally.counts["requests"] += 1
        nonce = f"{name}-{index}".encode()
        sent = make_request(rng, nonce.decode())
        try:
            await made.call(sent, lambda: judge.came(nonce, sent, by_version[made.live.current.version]))
        finally:
            free.release()

    made.reload(policies[worlds[0].version])
    async with asyncio.TaskGroup() as together:
        if without_store:
            tally.counts["times without the store"] += 1
            together.create_task(made.without_store())
        for index in range(count):
            await free.acquire()
            if rng.random() < 1 / RELOAD_EVERY:
                made.reload(policies[rng.choice(worlds).version])
                tally.counts["reloads"] += 1
            together.create_task(one(index))
