"""What is true now: the one owner of this replica's snapshot."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from gateway.errors import StoreFault
from gateway.fleet import readings
from gateway.fleet.book import slot_name
from gateway.fleet.circuits import Circuits
from gateway.fleet.headroom import Headroom
from gateway.fleet.leases import Leases
from gateway.fleet.lessons import Lessons
from gateway.fleet.outside import OutsideLoad
from gateway.fleet.probes import NOT_READY
from gateway.fleet.tries import Tries
from gateway.fleet.unloaded import Unloaded
from gateway.fleet.warmups import Warmups
from gateway.model import RATE_LIMITED, Damped, DampedKey, Policy, PoolKey, Reading, Snapshot, Upstream, UpstreamState
from gateway.store.connection import Store

REFRESH_SECONDS = 0.25
FORGOTTEN_SECONDS = 30.0
"""No replica has scraped it for so long: none knows it any more."""
MOST_FORGOTTEN = 500
"""At once."""
DEAD_SECONDS = 10.0
"""A reading this old says only that nobody can scrape the worker; its leases go on counting, its gauges do not."""

_log = logging.getLogger("gateway")


async def _nothing(_: Policy) -> None: ...


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the rooms above have to do with each snapshot."""

    exchange: Callable[[Policy], Awaitable[None]] = _nothing
    """Told and heard with every look at the store; it does not raise."""
    lines: Callable[[float], Mapping[str, float]] = lambda _: {}
    """`Snapshot.lines`, at a monotonic instant."""
    damp: Callable[[Policy, Snapshot, Mapping[DampedKey, Damped]], Mapping[DampedKey, Damped]] = lambda *_: {}
    """`Snapshot.damped`, from the snapshot without it and the states before."""
    out: Callable[[str], str | None] = lambda _: None
    """Why an upstream takes nothing new although it may be well, or None."""
    joined: Callable[[str], float | None] = lambda _: None
    """`UpstreamState.joined`, where that is known already."""
    news: Callable[[Snapshot], None] = lambda _: None
    """Hears of each new snapshot; it does not raise."""


class View:
    """Refreshes the snapshot from the store and marks upstreams out between refreshes.

    `current` is replaced whole, never changed. Times are seconds of the store's clock as last seen.
    """

    def __init__(
        self,
        store: Store,
        leases: Leases,
        lessons: Lessons,
        policy: Callable[[], Policy],
        circuits: Circuits,
        pools: Callable[[], frozenset[PoolKey]] | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        """`pools`: those whose limits are learned; those of the policy in force unless given."""
        self._store, self._leases, self._policy, self.circuits = store, leases, policy, circuits
        self._pools = pools or (lambda: pools_of(policy()))
        self._hooks = Hooks() if hooks is None else hooks
        self.lessons, self.headroom, self.tries = lessons, Headroom(), Tries()
        self.unloaded, self._warmups = Unloaded(), Warmups()
        self._outside: dict[str, OutsideLoad] = {}
        self._reader = readings.Reader()
        self._readings: Mapping[str, Reading] = {}
        self._loads: Mapping[str, tuple[int, int]] = {}
        self._clock_offset = 0.0
        self._replicas = 1
        self.current = Snapshot(time.time(), {})
        self.rebuild()

    def now(self) -> float:
        """The store's clock, as far as this replica knows it."""
        return time.time() + self._clock_offset

    def ago(self, monotonic: float) -> float:
        """A moment of the monotonic clock, by the store's clock."""
        return self.now() - (time.monotonic() - monotonic)

    def readings(self) -> Mapping[str, Reading]:
        """By upstream, as last seen: a store that was flushed does not take them along."""
        return self._readings

    async def refresh(self) -> None:
        """One look at the store; without it the last view stays and says that it is degraded."""
        backends = list(self._policy().backends)
        try:
            _, _, clock, found, loads, owners = await asyncio.gather(
                self.lessons.exchange(self._pools()),
                self._hooks.exchange(self._policy()),
                self._store.call("TIME"),
                self._reader.read(self._store),
                self._leases.loads(backends),
                self._leases.owners(backends[0]) if backends else _one(),
            )
        except StoreFault:
            self.rebuild()
            return
        await self._forget(found, loads)
        self._clock_offset = int(clock[0]) + int(clock[1]) / 1e6 - time.time()
        known = self._policy().upstreams
        held = {**{name: reading for name, reading in self._readings.items() if name in known}, **found}
        self._observe(held, loads)
        self._readings, self._loads, self._replicas = held, loads, max(1, owners)
        self.rebuild()
        self._warmups.begun()

    def _observe(self, found: Mapping[str, Reading], loads: Mapping[str, tuple[int, int]]) -> None:
        """Feeds what is new to the outside-load watchers."""
        now = self.now()
        known = self._policy().upstreams
        for name, reading in found.items():
            if name not in known:
                continue
            watcher = self._outside.setdefault(name, OutsideLoad())
            watcher.leases(now, loads.get(slot_name(name, reading.life), (0, 0))[1])
            before = self._readings.get(name)
            if reading.running is not None and (before is None or before.at != reading.at):
                # Of a worker that does not tell who waits, this is the least that there may be.
                watcher.scrape(reading.at, reading.running + (reading.waiting or 0))

    async def _forget(self, found: Mapping[str, Reading], loads: Mapping[str, tuple[int, int]]) -> None:
        """Readings of workers that are gone, from the store too: nobody scrapes them any more, and no lease is on them
        (with the reading goes the number of its life)."""
        known, now = self._policy().upstreams, self.now()
        leased = {slot.rpartition("@")[0] for slot in loads}
        gone = [
            name
            for name, reading in found.items()
            if name not in known and name not in leased and now - reading.at > FORGOTTEN_SECONDS
        ]
        with suppress(StoreFault):
            await readings.forget(self._store, gone[:MOST_FORGOTTEN])

    def rebuild(self) -> None:
        """The snapshot from what is known; also called when a circuit opens, so that the next request knows."""
        now, policy, lessons = self.now(), self._policy(), self.lessons
        states = {name: self._state(upstream, now) for name, upstream in policy.upstreams.items()}
        made = Snapshot(
            now,
            states,
            degraded=self._store.degraded,
            replicas=self._replicas,
            scales=dict(lessons.scales),
            rules=lessons.rules,
            learned=lessons.lengths,
            lines=self._hooks.lines(time.monotonic()),
        )
        _tell(self.current.states, states)
        self.current = replace(made, damped=self._hooks.damp(policy, made, self.current.damped))
        self._hooks.news(self.current)

    def _state(self, upstream: Upstream, now: float) -> UpstreamState:
        reading = self._readings.get(upstream.name)
        life = reading.life if reading is not None else 0
        leased, inflight = self._loads.get(slot_name(upstream.name, life), (0, 0))
        errors, warm = self.tries.errors(upstream.name, now), self.tries.warm(upstream.name, now)
        state = UpstreamState(
            upstream, leased=leased, inflight=inflight, life=life, reading=reading, errors=errors, warm=warm
        )
        if upstream.source is not None:
            joined = self._hooks.joined(upstream.name)
            state = replace(state, joined=now if joined is None else joined)
        watcher = self._outside.get(upstream.name)
        if watcher is not None and upstream.kind == "local" and (strangers := watcher.requests(now)):
            state = replace(state, outside=strangers * mean_work(state))
        if upstream.kind == "managed":
            state = self._account(state, now)
        state = self._judged(state, now)
        ramp, unloaded = self._warmups.ramp(state, now), self.unloaded.names(upstream.name, reading, now)
        return state if ramp == 1 and not unloaded else replace(state, ramp=ramp, unloaded=unloaded)

    def _account(self, state: UpstreamState, now: float) -> UpstreamState:
        """With what its rate limit has left: no more leases than there are, of all replicas, and that many more."""
        name = state.upstream.name
        room = self.headroom.room(name, now)
        if room is None:
            return state
        limit = min(state.upstream.limit, state.inflight + room)
        return replace(state, headroom=self.headroom.left(name, now), limit=limit)

    def _judged(self, state: UpstreamState, now: float) -> UpstreamState:
        """With why it takes no traffic, if it does not."""
        name, reading = state.upstream.name, state.reading
        if (wanted := self._hooks.out(name)) is not None:
            return replace(state, out=wanted)
        if reading is not None and reading.gpu_fault is not None:
            return replace(state, out=f"gpu fault: {reading.gpu_fault}")
        unfit = reading is not None and not reading.healthy and now - reading.at <= DEAD_SECONDS
        if unfit and reading is not None and reading.reason == NOT_READY:
            # It says so itself, and may still load its model: it did not fail, whatever requests to it did.
            return replace(state, out=NOT_READY)
        circuit = self.circuits.why_open(name, now)
        if circuit is not None:
            return replace(state, out=circuit, back=self.circuits.open_until(name))
        if state.headroom is not None and (back := self.headroom.back(name, now)) > now:
            return replace(state, out=RATE_LIMITED, back=back)
        if unfit and reading is not None:
            return replace(state, out=reading.reason or "unhealthy")
        # Without the store each replica has its own part of the seats: one for each of them to try it with.
        seats = self.circuits.seats(name, state.inflight, self._replicas if self._store.degraded else 1, now)
        return state if seats is None else replace(state, seats=min(seats, state.upstream.seats))

    def keep(self, policy: Policy) -> None:
        """Forgets what this replica saw of upstreams that the policy no longer has."""
        names = frozenset(policy.upstreams)
        self.tries.keep(names)
        self.circuits.keep(names)
        self.headroom.keep(names)
        self.unloaded.keep(names)
        self._warmups.keep(names)
        for name in self._outside.keys() - names:
            del self._outside[name]

    async def run(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)


def _tell(before: Mapping[str, UpstreamState], after: Mapping[str, UpstreamState]) -> None:
    """A line for each upstream that went out or came back; another reason for the same is none."""
    for name, state in after.items():
        was = before[name].out if name in before else None
        if state.out is not None and was is None:
            _log.warning("upstream out", extra={"fields": {"upstream": name, "why": state.out}})
        elif state.out is None and was is not None:
            _log.info("upstream back", extra={"fields": {"upstream": name, "was": was}})


def pools_of(policy: Policy) -> frozenset[PoolKey]:
    """Those whose limits can be learned."""
    return frozenset(
        (served.backend, model.name)
        for model in policy.models.values()
        for served in model.served_by
        if policy.kind(served.backend) == "local"
    )


async def _one() -> int:
    return 1


def mean_work(state: UpstreamState) -> int:
    """Work of a request of unknown size on this worker: the mean of those we hold there,
    else a seat's share of the limit."""
    return state.leased // state.inflight if state.inflight else state.upstream.limit // state.upstream.seats
