"""One process's share of the proof: world after world, each with requests, faults and reloads."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from gateway.audit.verify import verify
from gateway.store.embedded import Embedded
from loadtests.residency import oracle
from loadtests.residency.memory import Loop, Mood, running_loop
from loadtests.residency.record import Record
from loadtests.residency.rig import AUDIT_KEY, Rig, rig
from loadtests.residency.traffic import Sent, make_request
from loadtests.residency.worlds import HOSTS, OUTSIDE, as_policy, host_name, make_world

PER_WORLD, AT_ONCE = 1_000, 64
VERSIONS, RELOAD_EVERY = 4, 60
"""Policies of one world, and after about how many requests another takes effect."""
STORE_EVERY = 25
"""Worlds of which one has a store that stands still for a while."""
CROWDED_EVERY, LATE_SHARE, SELDOM_LATE = 5, 0.5, 0.1
"""Worlds of which one has workers for one request each; the share of them for which they take their time, there and
elsewhere."""
MARK = b'"user":"'
_FAULTS: tuple[Mood, ...] = ("reset", "hang", "cut", 401, 429, 500, 503)
_WEIGHTS = (4, 1, 8, 1, 4, 4, 4)


@dataclass(slots=True)
class Tally:
    """What was seen. `forbidden` holds the first of them in words; `counts` has them all."""

    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    forbidden: list[str] = field(default_factory=list)

    def found(self, what: str) -> None:
        self.counts["forbidden"] += 1
        if len(self.forbidden) < 5:
            self.forbidden.append(what)

    def add(self, other: Tally) -> None:
        self.counts += other.counts
        self.statuses += other.statuses
        self.forbidden += other.forbidden


class Judge:
    """The far side of every connection of one world: answers by its mood, and has the oracle look at each delivery."""

    def __init__(self, tally: Tally, rng: Random, record: Record, *, crowded: bool = False) -> None:
        self._tally, self._rng, self._record, self.crowded = tally, rng, record, crowded
        self._asks: dict[bytes, tuple[Sent, oracle.World]] = {}
        self.ids: dict[bytes, str] = {}
        """What the gateway calls each request."""
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
        lines = self._record.of(self.ids[nonce])
        counts["audited"] += bool(lines)
        why = oracle.forbidden(world, sent.ask, host, peer) or oracle.unaudited(world, sent.ask, host, lines)
        if why is not None:
            self._tally.found(f"{world.version}: {sent.ask} reached {world.by_host.get(host)}: {why}")
        words = oracle.demanded(world, sent.ask)
        if words:
            backend = world.by_host.get(host)
            counts["flagged to our own workers" if backend and backend.local else "flagged to private endpoints"] += 1
        if self._rng.random() < self._troubled[host]:
            return self._rng.choices(_FAULTS, _WEIGHTS)[0]
        return "late" if self._rng.random() < (LATE_SHARE if self.crowded else SELDOM_LATE) else "answer"

    def _tempted(self, sent: Sent, world: oracle.World) -> None:
        """Counts what makes the run worth something: requests whose rule names a backend where they must not go."""
        words, counts = oracle.demanded(world, sent.ask), self._tally.counts
        if words is None:
            counts["demands not understood"] += 1
            return
        rules = oracle.possible(world, sent.ask, words)
        counts["flagged"] += bool(words) or any(under for _, under in rules)
        counts["under rules that change"] += len(rules) > 1
        counts["tempted"] += any(
            not oracle.holds(world, one, word)
            for rule, under in rules
            for one in world.backends
            if one.name in rule.named
            for word in under
        )


def prove(seed: int, count: int) -> Tally:
    """Sends `count` requests (whole worlds). To be run on the main thread."""
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # workers go out and come back all the time here
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
    first, record = as_policy(make_world(rng, "before"), rng, "before"), Record(place)
    async with rig(place, embedded, first, rng) as made:
        for number in range(max(1, round(count / PER_WORLD))):
            without_store = number % STORE_EVERY == STORE_EVERY // 5
            judge = Judge(tally, rng, record, crowded=number % CROWDED_EVERY == 1)
            await _one_world(made, judge, tally, rng, f"{seed}-{number}", min(count, PER_WORLD), without_store)
        tally.statuses = made.statuses
        tally.counts["hedges"] = _counted(made, "gateway_hedges_total", "won", "lost", "failed")
        tally.counts["rescues"] = _counted(made, "gateway_rescues_total", "rescued")
        if mistakes := _mistakes(made):
            tally.found(f"{mistakes} requests were about to leave with a permit that was not theirs")
    for finding in verify(place, AUDIT_KEY).findings:
        tally.found(f"the audit is not whole: {finding}")
    return tally


def _mistakes(made: Rig) -> int:
    """Attempts that only their permit held back: a decision and what was done under it were not of one piece."""
    samples = [one for family in made.services.telemetry.collect() for one in family.samples]
    return round(sum(one.value for one in samples if one.labels.get("result") == "PermitMismatch"))


def _counted(made: Rig, name: str, *outcomes: str) -> int:
    samples = [one for family in made.services.telemetry.collect() for one in family.samples if one.name == name]
    return round(sum(one.value for one in samples if one.labels["outcome"] in outcomes))


async def _one_world(
    made: Rig, judge: Judge, tally: Tally, rng: Random, name: str, count: int, without_store: bool
) -> None:
    running_loop().far = judge
    worlds = [make_world(rng, f"{name}.{version}") for version in range(VERSIONS)]
    policies = {world.version: as_policy(world, rng, name, crowded=judge.crowded) for world in worlds}
    by_version = {world.version: world for world in worlds}
    free = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> None:
        tally.counts["requests"] += 1
        nonce = f"{name}-{index}".encode()
        sent = make_request(rng, nonce.decode())
        try:
            await made.call(
                sent,
                lambda: judge.came(nonce, sent, by_version[made.live.current.version]),
                lambda request: judge.ids.__setitem__(nonce, request),
            )
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
