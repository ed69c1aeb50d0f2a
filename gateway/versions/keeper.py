"""Keeps the policies of all replicas the same: tells the others what changed here, and follows what they tell.

docs/adr/0013-policy-versions.md says who wins and why. In short: content that no replica has seen is news and holds
from then on; content that is known already is an old copy, unless it replaced the very policy that was in force.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from gateway.errors import PolicyConflict, PolicyFault, StoreFault
from gateway.policy.candidate import Candidate, Trial, unfit
from gateway.policy.live import LivePolicy
from gateway.store.connection import Store
from gateway.store.sealing import BadSeal
from gateway.versions.orders import Order, Seal, TooLarge
from gateway.versions.shelf import Contents, Shelf

INTERVAL_SECONDS = 0.5
"""Between looks at folder and store: a change is everywhere after two of them and the time to compile it twice."""
RETRY_SECONDS = 5.0
"""Before an announced version that did not compile here is tried again: a certificate may have come since."""
DISTRUST = "the announced policy cannot be trusted"
_TRIES = 5
_CROWDED = "others change the policy at the same time; try again"
_SHOWN_FAULTS, _FAULT_CHARS = 20, 300
_UNTOLD: Mapping[str, Any] = {
    "folder": None,
    "from": None,
    "announced": None,
    "faults": [],
    "store_faults": [],
    "trial": None,
    "tally": {},
    "busy": {},
    "host": None,
    "pid": None,
}
"""What a replica of an older release may not say of itself, as unknown."""
Tally = Callable[[Trial], Mapping[str, Any]]
Busy = Callable[[], Mapping[str, int]]
"""What this replica has to do now, by what it is; told with its state."""
_log = logging.getLogger("gateway")


class _Change(NamedTuple):
    """What is to hold for all, and the files that the store may not have yet."""

    version: str
    trial: Trial | None
    files: Contents


class Versions:
    """One per process. Without a `seal` nothing is announced or followed: each replica has its folder's policy.

    `order` is the last one that was given or followed here; `fault` says why it could not be followed, or None, and
    `on_fault` is called when that changes. `tally` gives what a trial showed on this replica.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        live: LivePolicy,
        seal: Seal | None,
        tally: Tally = lambda _: {},
        busy: Busy = dict,
    ) -> None:
        self.owner, self._live, self._tally, self._busy = owner, live, tally, busy
        self._shelf = Shelf(store, owner, seal)
        self.order: Order | None = None
        self.fault: tuple[str, ...] | None = None
        self.on_fault: list[Callable[[tuple[str, ...] | None], None]] = []
        self._begun = False
        self._tried: Mapping[str, bytes] = {}
        """The files of the candidate."""
        self._alone: str | None = None
        """The version that holds here although it could not be told to anybody."""
        self._retry_at = 0.0
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Watches folder and store until cancelled. While the store is away the folder is followed alone."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def look(self) -> None:
        """One look at folder and store."""
        async with self._lock:
            await self._live.poll()
            try:
                await self._sync()
            except StoreFault:
                await self._live.accept()

    async def sync(self) -> None:
        """One look at the store, and what follows from it. Raises StoreFault."""
        async with self._lock:
            await self._sync()

    async def reload(self) -> bool:
        """The folder takes effect now, here and everywhere; whether that changed anything. Raises PolicyFault.

        A store that is away is told later.
        """
        async with self._lock:
            changed = await self._live.reload()
            if self._live.fault is not None:
                raise PolicyFault(self._live.fault)
            try:
                await self._sync()
            except StoreFault:
                _log.warning("the store is away: the others are told of this policy later")
        return changed

    async def roll_out(self, mode: Trial, files: Mapping[str, bytes]) -> Candidate:
        """Puts `files` on trial on all replicas; the version in `mode` is worked out here.

        Raises PolicyFault, PolicyConflict or StoreFault.
        """
        self._shelf.need_seal()

        async def beside_what_holds() -> _Change:
            self._refuse_while_unable()
            if (why := unfit(self._live.current, policy)) is not None:
                raise PolicyConflict(why)
            trial = Trial(policy.version, mode.mode, mode.share, begun=self._next_number())
            return _Change(self._in_force, trial, {policy.version: files})

        async with self._lock:
            policy = await self._live.compiled(files)
            try:
                given = await self._change(beside_what_holds)
            except TooLarge as fault:
                raise PolicyConflict(str(fault)) from None
            assert given is not None and given.trial is not None  # noqa: S101,PT018 - as `beside_what_holds` says
            self._tried = files
            self._live.try_out(given.trial, policy)
        return Candidate(given.trial, policy)

    async def end_trial(self, version: str) -> None:
        """Drops the candidate `version` on all replicas; one that is gone already is no fault.

        Raises PolicyConflict, also where another one is the candidate now or it is in force; or StoreFault.
        """
        self._shelf.need_seal()

        async def without_a_trial() -> _Change | None:
            tried = self.order.trial if self.order is not None else None
            if tried is None and version != self._in_force:
                return None
            self._refuse_another(version, tried)
            return _Change(self._in_force, None, {})

        async with self._lock:
            if await self._change(without_a_trial) is not None:
                self._live.candidate = None

    async def promote(self, version: str) -> None:
        """The candidate `version` takes effect on all replicas. Raises PolicyConflict, also where that is not the
        candidate now; PolicyFault or StoreFault.
        """
        self._shelf.need_seal()

        async def with_the_candidate() -> _Change:
            self._refuse_while_unable()
            candidate = self._live.candidate
            self._refuse_another(version, candidate.trial if candidate is not None else None)
            policy = await self._live.compiled(self._tried)
            if (why := unfit(self._live.current, policy)) is not None:
                raise PolicyConflict(why)
            return _Change(policy.version, None, {policy.version: self._tried})

        async with self._lock:
            await self._change(with_the_candidate)
            await self._live.adopt(self._tried)

    def state(self) -> dict[str, Any]:
        """How this replica is, for the other replicas and for people."""
        live, order = self._live, self.order
        return {
            "version": live.current.version,
            "folder": live.folder.version,
            "from": "store" if live.behind else "folder",
            "announced": order.version if order is not None else None,
            "faults": _shown(live.fault),
            "store_faults": _shown(self.fault),
            "trial": asdict(live.candidate.trial) if live.candidate is not None else None,
            "tally": dict(self._tally(live.candidate.trial)) if live.candidate is not None else {},
            "busy": dict(self._busy()),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }

    async def replicas(self) -> dict[str, dict[str, Any]]:
        """Owner -> state, of all replicas that told within REPLICA_MS. Raises StoreFault."""
        await self.sync()
        told = await self._shelf.replicas()
        return {owner: {**_UNTOLD, **row} for owner, row in told.items() if isinstance(row.get("version"), str)}

    async def stored(self) -> list[str]:
        """The versions in the store, the one announced last first. Raises StoreFault."""
        return await self._shelf.versions()

    # What holds.

    @property
    def _in_force(self) -> str:
        """The version that holds for all, which may be one that could not be followed here."""
        return self.order.version if self.order is not None else self._live.current.version

    async def _sync(self) -> None:
        theirs, readable = await self._look()
        if self._shelf.seal is None:
            return
        live = self._live
        if not self._begun:
            await self._begin(theirs)
        if live.offered:
            if await self._shelf.knows(live.folder.version):
                live.decline()
            else:
                await live.accept()
        mine = self.order
        newer = theirs is not None and theirs != mine and (mine is None or theirs.number >= mine.number)
        live.news = live.news and (theirs is None or theirs.version != live.current.version)
        if live.news:
            await self._give_news(theirs)
        elif theirs is not None and (newer or self._due(theirs)):
            await self._follow(theirs)
        elif mine is not None and theirs != mine and readable and not self._is_alone:
            await self._put_back(mine)

    async def _begin(self, theirs: Order | None) -> None:
        """A folder that is news to the others holds; else they know better, and it is an old copy."""
        live = self._live
        live.news = theirs is None or (
            theirs.version != live.current.version and not await self._shelf.knows(live.current.version)
        )
        self._begun = True

    async def _look(self) -> tuple[Order | None, bool]:
        """Tells how we are and hears the order that holds, and whether what is there can be read."""
        await self._shelf.tell(self.state())
        try:
            order = self._shelf.order()
        except BadSeal as bad:
            if self._begun:  # at the start it is what an earlier life of the embedded store left behind
                self._note((f"{DISTRUST}: {bad}",))
            return None, False
        if order is not None and self.fault is not None and self.fault[0].startswith(DISTRUST):
            self._note(None)
        return order, True

    async def _give_news(self, theirs: Order | None) -> None:
        """What took effect here holds for all, beside the trial that the last order tells of."""
        live = self._live
        for _ in range(_TRIES):
            newest = max(filter(None, (theirs, self.order)), key=lambda order: order.number, default=None)
            trial = await self._going_on(newest)
            try:
                given = await self._announce(_Change(live.current.version, trial, self._contents()))
            except TooLarge as fault:
                self._alone, live.news = live.current.version, False
                self._note((f"{fault}: {live.current.version} holds on this replica alone",))
                return
            if given:
                self._note(None)
                live.news = False
                return
            theirs, _ = await self._look()
        raise StoreFault(_CROWDED)

    async def _going_on(self, order: Order | None) -> Trial | None:
        """The trial of the newest order, if it can stand beside what holds here now; without an order, our own."""
        live = self._live
        if order is None:
            return live.candidate.trial if live.candidate is not None else None
        try:
            await self._try(order.trial)
        except (PolicyFault, BadSeal) as fault:
            _log.warning("the trial of a policy ended", extra={"fields": {"why": str(fault)}})
            return None
        return order.trial

    def _contents(self) -> Contents:
        """Of the policies that are at work here."""
        live = self._live
        held = {name: raw for name, raw in live.held.files.items() if raw is not None}
        tried = {live.candidate.policy.version: self._tried} if live.candidate is not None else {}
        return {live.current.version: held, **tried}

    async def _change(self, decide: Callable[[], Awaitable[_Change | None]]) -> _Change | None:
        """Has what `decide` says hold for all, or nothing where it says None. It is asked after what others did was
        taken up, and again where one of them comes in between, so that nobody's change is taken back unseen.

        Raises what `decide` does, TooLarge, PolicyConflict or StoreFault.
        """
        for _ in range(_TRIES):
            await self._sync()
            change = await decide()
            if change is None or await self._announce(change):
                return change
        raise PolicyConflict(_CROWDED)

    def _refuse_another(self, version: str, tried: Trial | None) -> None:
        """What somebody decided of one version must not fall upon another, which came since."""
        if tried is None:
            raise PolicyConflict(f"{version} is not on trial: nothing is; {self._in_force} is in force")
        if tried.version != version:
            raise PolicyConflict(f"{version} is not on trial: the candidate is {tried.version} now; look at that first")

    def _refuse_while_unable(self) -> None:
        if self.fault is not None:
            raise PolicyConflict("this replica cannot follow the others now; GET /admin/v1/status says why")

    async def _announce(self, change: _Change) -> bool:
        """Whether it holds now; it does not where somebody changed the order since the last look.

        Raises TooLarge or StoreFault.
        """
        order = Order(self._next_number(), change.version, change.trial, round(time.time(), 3), self.owner)
        if not await self._shelf.put(order, change.files):
            return False
        self.order = order
        return True

    def _next_number(self) -> int:
        """Behind the order that holds here and the one that was there at the last look."""
        try:
            theirs = self._shelf.order()
        except BadSeal:
            theirs = None
        return 1 + max(order.number if order is not None else 0 for order in (self.order, theirs))

    async def _put_back(self, mine: Order) -> None:
        """The store lost it, or went back to an older one: what held goes on to hold."""
        await self._shelf.put(mine, self._contents())

    @property
    def _is_alone(self) -> bool:
        """Whether what holds here is more than can be shared; it does until the folder or somebody changes it."""
        return self._alone == self._live.current.version

    def _due(self, theirs: Order) -> bool:
        """Whether an order that could not be followed is to be tried once more."""
        waited = theirs == self.order and time.monotonic() >= self._retry_at
        return self.fault is not None and waited and not self._is_alone

    async def _follow(self, order: Order) -> None:
        """What it says takes effect, or nothing does and `fault` says why."""
        live, lines = self._live, None
        try:
            if order.version != live.current.version:
                await live.adopt(await self._shelf.files(order.version))
                fields = {"version": order.version, "by": order.by, "folder": live.folder.version}
                _log.info("policy of another replica", extra={"fields": fields})
            live.news = False
            await self._try(order.trial)
        except PolicyFault as fault:
            lines = tuple(f"announced version {order.version}: {line}" for line in fault.faults)
        except BadSeal as bad:
            lines = (f"announced version {order.version}: {bad}",)
        self.order, self._retry_at = order, time.monotonic() + RETRY_SECONDS
        self._note(lines)

    async def _try(self, trial: Trial | None) -> None:
        """Raises PolicyFault or BadSeal; then nothing is on trial here."""
        live = self._live
        before, live.candidate = live.candidate, None
        if trial is None:
            return
        if before is not None and before.policy.version == trial.version:
            live.try_out(trial, before.policy)
            return
        files = await self._shelf.files(trial.version)
        live.try_out(trial, await live.compiled(files))
        self._tried = files

    def _note(self, fault: tuple[str, ...] | None) -> None:
        if fault != self.fault:
            self.fault = fault
            for listener in self.on_fault:
                listener(fault)


def _shown(faults: tuple[str, ...] | None) -> list[str]:
    return [line[:_FAULT_CHARS] for line in (faults or ())[:_SHOWN_FAULTS]]
