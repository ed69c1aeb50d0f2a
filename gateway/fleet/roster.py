"""The roster in the store: workers that registered themselves, who is drained, and since when the found ones are there.

Every replica looks four times a second and keeps what it saw while the store is away. What a worker *is* never comes
from here: zone, kind, price and networks are the policy's word alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex
from typing import Literal

import msgspec

from gateway.errors import StoreFault
from gateway.model import Member
from gateway.store.connection import Store
from gateway.store.scripts import load

INTERVAL_SECONDS = 0.25
TELL_SECONDS = 1.0
"""Between two times at which a replica tells whom it has found."""
GONE_MS = 5_000
"""Found by no replica for so long: it has left, and joins anew if it comes back."""
FORGET_MS = 60_000
"""And for so long: that it was drained is forgotten too. The next worker at that address is another one."""
AWAY_SECONDS = 2.0
"""A store that gave no look for so long was away, not late."""
FORGIVE_SECONDS = 10.0
"""After the store was away or lost its data: workers that could not say that they are still there may do so now."""
MOST_REGISTERED = 10_000
SHORTEST_TTL_SECONDS, USUAL_TTL_SECONDS, LONGEST_TTL_SECONDS = 3.0, 15.0, 300.0
NO_TICKET, ANY_TICKET = "-", "*"
KEYS = REGISTERED_KEY, PLACES_KEY, JOINED_KEY, SEEN_KEY, DRAINED_KEY, EPOCH_KEY, LOOKED_KEY = tuple(
    f"gw:{{roster}}:{name}" for name in ("registered", "places", "joined", "seen", "drained", "epoch", "looked")
)
_LOOK, _REGISTER, _LEAVE = (load("gateway.fleet", name) for name in ("roster", "register", "leave"))
_TICKET_BYTES = 16

Refusal = Literal["name", "place", "full"]


class Registration(msgspec.Struct, frozen=True):
    """What is kept of a worker that registered itself. `addresses` as in `Member`."""

    backend: str
    url: str
    addresses: tuple[str, ...]
    port: int

    def member(self, name: str) -> Member:
        return Member(self.backend, "registration", self.url, self.addresses, self.port, name)


@dataclass(frozen=True, slots=True)
class Registered:
    """`ticket` is told once, to whoever registered it: without it nobody but an operator can make it leave, or lead its
    name to another address."""

    renewed: bool
    ticket: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """`holder` is the worker that is there already, where it is the place that is taken."""

    why: Refusal
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Drained:
    """Since when (seconds of the store's clock), and why, in the words of whoever said so."""

    at: float
    reason: str


class Roster:
    """One per process. `found` names the found workers in force here, `written` the upstreams that the policy writes
    down; `changed` is called when the registrations or the drains are others than before."""

    def __init__(
        self,
        store: Store,
        found: Callable[[], Iterable[str]],
        written: Callable[[], Container[str]],
        changed: Callable[[], None],
    ) -> None:
        self._store, self._found, self._written, self._changed = store, found, written, changed
        self.members: tuple[Member, ...] = ()
        """Those that registered themselves."""
        self.drained: Mapping[str, Drained] = {}
        self._rows: Mapping[bytes, bytes] = {}
        """Name -> JSON: the registrations as the store had them. Most looks find them unchanged."""
        self._known: Mapping[bytes, Member] = {}
        self._registered: tuple[Member, ...] = ()
        """What they are, and in the order of their names."""
        self._joined: Mapping[str, float] = {}
        self._epoch: bytes | None = None
        self._seen_at = time.monotonic()
        self._forgiven: tuple[Member, ...] = ()
        self._forgiving_until = 0.0
        self._told_at = float("-inf")

    def joined(self, name: str) -> float | None:
        """When a found worker joined (seconds of the store's clock); None where that is not known yet."""
        return self._joined.get(name)

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def look(self) -> None:
        """One look at the store; without it what was seen last stays."""
        now = time.monotonic()
        names = sorted(self._found())
        tells = now - self._told_at >= TELL_SECONDS or any(name not in self._joined for name in names)
        rows = [value for name in names for value in (name, round(self._joined.get(name, 0.0) * 1000)) if tells]
        written = self._written()
        kept = [name for name in self.drained if name in written]
        told = [GONE_MS, FORGET_MS, len(kept), *kept, *rows]
        try:
            _, epoch, registered, drained, joined = await self._store.eval(_LOOK, KEYS, told)
        except StoreFault:
            return
        if tells:
            self._told_at = now
            self._joined = {name: int(ms) / 1000 for name, ms in zip(names, joined, strict=True)}
        await self._take(epoch, self._read(registered), _drains(drained), now)

    def _read(self, registered: list[bytes]) -> tuple[Member, ...]:
        rows = {name: row.split(b" ", 3)[-1] for name, row in zip(registered[::2], registered[1::2], strict=True)}
        if rows != self._rows:
            same = {name: one for name, one in self._known.items() if rows.get(name) == self._rows[name]}
            read = ((name, same.get(name) or _member(name, row)) for name, row in rows.items())
            self._rows, self._known = rows, {name: one for name, one in read if one is not None}
            self._registered = tuple(one for _, one in sorted(self._known.items()))
        return self._registered

    async def _take(
        self, epoch: bytes, members: tuple[Member, ...], drained: Mapping[str, Drained], now: float
    ) -> None:
        lost = self._epoch is not None and self._epoch != epoch
        if lost or now - self._seen_at > AWAY_SECONDS:
            self._forgiven, self._forgiving_until = self.members, now + FORGIVE_SECONDS
        if lost:
            drained = {**self.drained, **drained}
            with suppress(StoreFault):
                await self._write_back(self.drained)
        self._epoch, self._seen_at = epoch, now
        if self._forgiven and now < self._forgiving_until:
            there = {one.name for one in members}
            members = (*members, *(one for one in self._forgiven if one.name not in there))
        else:
            self._forgiven = ()
        if (members, drained) != (self.members, self.drained):
            self.members, self.drained = members, drained
            self._changed()

    async def register(self, name: str, one: Registration, ttl: float, ticket: str | None) -> Registered | Refused:
        """For `ttl` seconds from now. Raises StoreFault."""
        new = token_hex(_TICKET_BYTES)
        given = NO_TICKET if ticket is None else _digest(ticket)
        places = [f"{address}:{one.port}" for address in one.addresses]
        told = await self._store.eval(
            _REGISTER,
            [REGISTERED_KEY, PLACES_KEY],
            [name, round(ttl * 1000), given, _digest(new), msgspec.json.encode(one), MOST_REGISTERED, *places],
        )
        word = told[0].decode()
        if word in ("name", "place", "full"):
            return Refused(word, told[1].decode() if len(told) > 1 else None)
        if word != "again" or name.encode() not in self._rows:
            await self.look()
        if ticket is not None:
            return Registered(word != "new", ticket)
        return Registered(word != "new", new if word == "new" else None)

    async def leave(self, name: str, ticket: str | None) -> bool | None:
        """Whether a registered worker of that name has left; None where the ticket is not its own. Without one an
        operator asks. Raises StoreFault."""
        given = ANY_TICKET if ticket is None else _digest(ticket)
        left = await self._store.eval(_LEAVE, [REGISTERED_KEY, PLACES_KEY], [name, given])
        self._forgiven = tuple(one for one in self._forgiven if one.name != name)
        await self.look()
        return None if left < 0 else bool(left)

    async def drain(self, name: str, reason: str) -> None:
        """It takes nothing new: here at once, on the other replicas with their next look. Raises StoreFault."""
        seconds, _ = await self._store.call("TIME")
        await self._write_back({name: self.drained.get(name) or Drained(float(seconds), reason)})
        await self.look()

    async def undrain(self, name: str) -> bool:
        """Whether it was drained. Raises StoreFault."""
        was = await self._store.call("HDEL", DRAINED_KEY, name)
        await self.look()
        return bool(was)

    async def _write_back(self, drained: Mapping[str, Drained]) -> None:
        for name, one in drained.items():
            await self._store.call("HSETNX", DRAINED_KEY, name, f"{round(one.at * 1000)} {one.reason}")


def _digest(ticket: str) -> str:
    return sha256(ticket.encode()).hexdigest()


def _member(name: bytes, row: bytes) -> Member | None:
    """What another version wrote is passed over."""
    try:
        return msgspec.json.decode(row, type=Registration).member(name.decode())
    except (ValueError, msgspec.MsgspecError):
        return None


def _drains(rows: list[bytes]) -> dict[str, Drained]:
    made = {}
    for name, row in zip(rows[::2], rows[1::2], strict=True):
        with suppress(ValueError):
            ms, _, reason = row.decode().partition(" ")
            made[name.decode()] = Drained(int(ms) / 1000, reason)
    return made
