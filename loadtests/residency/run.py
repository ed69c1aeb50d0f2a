"""One process's share of the proof: world after world, each with requests, faults and reloads."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from gateway.audit.verify import verify
from gateway.store.embedded import Embedded
from loadtests.residency import oracle
from loadtests.residency.memory import Loop, Mood, running_loop
from loadtests.residency.record import Record
from loadtests.residency.rig import AUDIT_KEY, Rig, looking_soon, rig
from loadtests.residency.traffic import Sent, make_request
from loadtests.residency.wires import nonce_of
from loadtests.residency.worlds import ENDPOINTS, HOSTS, OUTSIDE, ZONES, as_policy, host_name, make_world

PER_WORLD, AT_ONCE = 1_000, 64
VERSIONS, RELOAD_EVERY = 4, 60
"""Policies of one world, and after about how many requests another takes effect."""
STORE_EVERY = 25
"""Worlds of which one has a store that stands still for a while."""
CROWDED_EVERY, LATE_SHARE, SELDOM_LATE = 5, 0.5, 0.1
"""Worlds of which one has workers for one request each; the share of them for which they take their time, there and
elsewhere."""
ORDERS = frozenset({"fal", "gmi", "dashscope"})
"""Dialects that take orders, whatever is asked of them."""
MOST_TOLD = 5
_FAULTS: tuple[Mood, ...] = ("reset", "hang", "cut", 401, 429, 500, 503)
_WEIGHTS = (4, 1, 8, 1, 4, 4, 4)


@dataclass(slots=True)
class Tally:
    """What was seen. `forbidden` holds the first of each endpoint in words; `counts` has them all."""

    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    forbidden: list[str] = field(default_factory=list)

    told: Counter[str] = field(default_factory=Counter)

    def found(self, what: str, endpoint: str = "") -> None:
        self.counts["forbidden"] += 1
        self.told[endpoint] += 1
        if self.told[endpoint] <= MOST_TOLD:
            self.forbidden.append(what)

    def add(self, other: Tally) -> None:
        self.counts += other.counts
        self.statuses += other.statuses
        self.forbidden += other.forbidden


class Judge:
    """The far side of every connection of one world: answers by its mood, and has the oracle look at each delivery."""

    def __init__(self, tally: Tally, rng: Random, record: Record, *, crowded: bool = False) -> None:
        self._tally, self._rng, self._record, self.crowded = tally, rng, record, crowded
        self.before: Judge | None = None
        """Of the world before this one, of which an order may still be taken back."""
        self._asks: dict[bytes, tuple[Sent, oracle.World]] = {}
        self.ids: dict[bytes, str] = {}
        """What the gateway calls each request."""
        self.history: list[oracle.World] = []
        """The versions of the policy, in the order in which they took effect."""
        self._since: dict[bytes, int] = {}
        """Of a job: which of them took it in."""
        self._troubled = {host_name(number): rng.choice((0.0, 0.0, 0.05, 0.5)) for number in range(HOSTS)}
        self._astray = {host for host in self._troubled if rng.random() < 0.08}

    def came(self, nonce: bytes, sent: Sent, world: oracle.World, *, settled: bool = True) -> None:
        self._asks[nonce] = (sent, world)
        if sent.job:
            self._since[nonce] = len(self.history) - 1
            self._tally.counts["jobs"] += 1
        if settled:
            count_tempted(self._tally.counts, sent.ask, world)

    def connect(self, host: str) -> str | None:
        if self._rng.random() < self._troubled[host] * 0.1:
            return None
        return OUTSIDE if host in self._astray and self._rng.random() < 0.5 else host

    def received(self, host: str, peer: str, data: bytes) -> Mood:
        nonce = nonce_of(data)
        if nonce is not None and self.before is not None and nonce in self.before._asks:
            return self.before.received(host, peer, data)
        self._tally.counts["deliveries"] += 1
        if nonce is None and data.startswith(b"GET "):
            self._tally.counts["without a word of a caller"] += 1  # a list of orders, in which one is looked for
            return "answer"
        if nonce is None or nonce not in self._asks:
            self._tally.found(f"{host} was sent what nobody of this world said: {data[:300]!r}")
            return "answer"
        sent, world = self._asks[nonce]
        lines = self._record.of(self.ids[nonce])
        try:
            why = self._why(nonce, host, peer, lines)
        except Exception as fault:  # whoever sends this may not let it through
            self._tally.found(f"the judge failed: {fault!r}")
            raise
        if why is not None:
            self._tally.found(
                f"{world.version}: {sent.ask} reached {world.by_host.get(host)}: {why}", sent.ask.endpoint
            )
        self._count(sent, world, host, data, audited=bool(lines))
        if self._rng.random() < self._troubled[host]:
            return self._rng.choices(_FAULTS, _WEIGHTS)[0]
        return "late" if self._rng.random() < (LATE_SHARE if self.crowded else SELDOM_LATE) else "answer"

    def _why(self, nonce: bytes, host: str, peer: str, lines: Sequence[oracle.Audited]) -> str | None:
        sent, world = self._asks[nonce]
        if sent.job:
            since = {one.version: one for one in self.history[self._since[nonce] :]}
            return oracle.of_job_forbidden(world, [*since.values()], sent.ask, host, peer, lines)
        return oracle.forbidden(world, sent.ask, host, peer) or oracle.unaudited(world, sent.ask, host, lines)

    def _count(self, sent: Sent, world: oracle.World, host: str, data: bytes, *, audited: bool) -> None:
        counts, backend = self._tally.counts, world.by_host.get(host)
        counts["audited"] += audited
        if oracle.demanded(world, sent.ask):
            counts["flagged to our own workers" if backend and backend.local else "flagged to private endpoints"] += 1
            counts["flagged jobs"] += sent.job
        media = sent.ask.endpoint not in ENDPOINTS
        counts["media"] += media
        counts["orders"] += media and backend is not None and backend.dialect in ORDERS
        counts["translated"] += f"/{sent.ask.endpoint} ".encode() not in data[: data.index(b"\r")] and not media

    def kept(self, folder: Path, place: oracle.Place) -> None:
        """Looks at every result that lies there, and takes it away."""
        for path in folder.rglob("*"):
            nonce = nonce_of(path.read_bytes()) if path.is_file() else None
            if nonce is None or nonce not in self._asks:
                continue
            self._tally.counts["results kept"] += 1
            path.unlink()
            sent, taken = self._asks[nonce]
            lines = self._record.of(self.ids[nonce])
            newest = lines[-1] if lines else oracle.Audited("", frozenset(), "", taken.version)
            world = next((one for one in self.history if one.version == newest.policy), taken)
            words = (oracle.demanded(taken, sent.ask) or set()) | newest.demand
            why = oracle.misplaced(place, taken, oracle.demanded(taken, sent.ask) or set())
            why = why or oracle.misplaced(place, world, words)
            if why is not None:
                self._tally.found(f"{world.version}: what was made for {sent.ask} is {why}", "results")


def count_tempted(counts: Counter[str], ask: oracle.Ask, world: oracle.World) -> None:
    """Counts what makes a run worth something: requests whose rule names a backend where they must not go."""
    words = oracle.demanded(world, ask)
    if words is None:
        counts["demands not understood"] += 1
        return
    rules = oracle.possible(world, ask, words)
    counts["flagged"] += bool(words) or any(under for _, under in rules)
    counts["under rules that change"] += len(rules) > 1
    counts["tempted"] += any(
        not oracle.holds(world, one, word)
        for rule, under in rules
        for one in world.backends
        if one.name in rule.named
        for word in under
    )


def prove(seed: int, count: int, films: float = 1.0) -> Tally:
    """Sends `count` requests (whole worlds), `films` times as many jobs among them as usual. To be run on the main
    thread."""
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # workers go out and come back all the time here
    with tempfile.TemporaryDirectory(prefix="gateway-proof-") as name:
        place = Path(name)
        embedded = Embedded.start(place / "store")
        try:
            with looking_soon(), asyncio.Runner(loop_factory=Loop) as runner:
                return runner.run(_prove(place, embedded, seed, count, films))
        finally:
            embedded.stop()


async def _prove(place: Path, embedded: Embedded, seed: int, count: int, films: float) -> Tally:
    tally, rng = Tally(), Random(seed)
    first, record = as_policy(make_world(rng, "before"), rng, "before"), Record(place)
    async with rig(place, embedded, first, rng, rng.choice((None, *ZONES[:3]))) as made:
        before: Judge | None = None
        for number in range(max(1, round(count / PER_WORLD))):
            without_store = number % STORE_EVERY == STORE_EVERY // 5
            judge = Judge(tally, rng, record, crowded=number % CROWDED_EVERY == 1)
            if before is not None:
                judge.before, before.before = before, None
            before = judge
            await _one_world(made, judge, tally, rng, f"{seed}-{number}", min(count, PER_WORLD), films, without_store)
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
    made: Rig, judge: Judge, tally: Tally, rng: Random, name: str, count: int, films: float, without_store: bool
) -> None:
    running_loop().far = judge
    worlds = [make_world(rng, f"{name}.{version}") for version in range(VERSIONS)]
    policies = {world.version: as_policy(world, rng, name, crowded=judge.crowded) for world in worlds}
    by_version = {world.version: world for world in worlds}
    free = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> None:
        tally.counts["requests"] += 1
        nonce = f"{name}-{index}".encode()
        sent = make_request(rng, nonce.decode(), films)
        try:
            await made.call(
                sent,
                lambda settled: judge.came(nonce, sent, by_version[made.live.current.version], settled=settled),
                lambda request: judge.ids.__setitem__(nonce, request),
            )
        finally:
            free.release()

    def reload(world: oracle.World) -> None:
        judge.history.append(world)
        made.reload(policies[world.version])

    reload(worlds[0])
    async with asyncio.TaskGroup() as together:
        if without_store:
            tally.counts["times without the store"] += 1
            together.create_task(made.without_store())
        for index in range(count):
            await free.acquire()
            if rng.random() < 1 / RELOAD_EVERY:
                reload(rng.choice(worlds))
                tally.counts["reloads"] += 1
            together.create_task(one(index))
    await made.idle()
    judge.kept(made.kept, made.lies)
