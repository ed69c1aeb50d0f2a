"""What the store counts of every quota: each call here is one script beside this file (till.lua describes the keys)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from gateway.model import Quota, Share
from gateway.money.periods import period_of
from gateway.money.purse import Drawn, Part, Settlement, Wanted, account_of, spent_of, summed
from gateway.store.connection import Store
from gateway.store.scripts import Script, load
from gateway.store.target import Value

STREAM = "gw:{money}:ledger"
KEPT_KEY = "gw:{money}:kept"
_KEPT_KEYS = (KEPT_KEY, "gw:{money}:slices:kept")
_QUOTA = "gw:{money}:quota:"
_JOIN, _BEAT, _DRAW, _OPENED, _SETTLE, _LEAVE, _KEEP, _CLOSE = (
    load("gateway.money", "till", name)
    for name in ("join", "beat", "draw", "opened", "settle", "leave", "keep", "close")
)
_FIELDS = len(Drawn._fields)
_HEAD = 5


class Standing(IntEnum):
    """As in till.lua."""

    OK = 1
    REPEATED = 2
    SHORT = 0
    REAPED = -1
    FLUSHED = -2


class Answer(NamedTuple):
    """To a draw. `at` is ms of the store's clock; `short` the index of the quota without room; `others` whether the
    other replicas hold as much as is missing; `running` whether what is missing is set aside, not used."""

    standing: Standing
    at: int
    short: int
    others: bool
    running: bool
    drawn: tuple[Drawn, ...]


class Spent(NamedTuple):
    """One quota in the period of now. `held` is set aside, idle slices too; `lost` of `used` was booked for replicas
    that died; `resets` seconds since the epoch, None: never."""

    quota: Quota
    period: str
    used: int
    held: int
    lost: int
    resets: float | None

    @property
    def left(self) -> int:
        return self.quota.cap - self.used - self.held


class Counters:
    """Of one replica, which has a new name each time it begins anew (`begin`). Calls raise StoreFault.

    `store_ms` replaces the store's clock in tests (0: its own).
    """

    def __init__(self, store: Store, replica: str, store_ms: Callable[[], int] = lambda: 0) -> None:
        self._store, self._replica, self._store_ms = store, replica, store_ms
        self._began = 0
        self.owner, self._epoch = "", ""
        self._keys: list[str] = []
        self.begin()

    def begin(self) -> None:
        """From now on under a name that the store has never heard."""
        self._began += 1
        self.owner, self._epoch = f"{self._replica}.{self._began}", ""
        slices, opened = f"gw:{{money}}:slices:{self.owner}", f"gw:{{money}}:open:{self.owner}"
        self._keys = ["gw:{money}:owners", "gw:{money}:epoch", slices, opened, STREAM]

    @property
    def joined(self) -> bool:
        return self._epoch != ""

    @property
    def epoch(self) -> str:
        """The set of keys that this replica knows; empty before it has joined."""
        return self._epoch

    async def join(self) -> None:
        owner = self.owner
        epoch: bytes = await self._run(_JOIN)
        if owner == self.owner:
            self._epoch = epoch.decode()

    async def beat(self, last_draw: int | None, held: Mapping[str, int]) -> Standing:
        """`held` is all that this replica has, and goes with the number of its last draw; None: no question of that."""
        known: list[Value] = [""] if last_draw is None else [last_draw, *(v for pair in held.items() for v in pair)]
        standing, _ = await self._run(_BEAT, known)
        return Standing(standing)

    async def draw(
        self, number: int, batch: int, wanted: Wanted, parts: Sequence[Part], opens: tuple[str, bytes], ask: bool
    ) -> Answer:
        """`batch`: the number of the last one made; `opens`: the attempt that this is for, if any, and its row."""
        args: list[Value] = [number, batch, *opens, int(ask)]
        for (quota, amount), (account, mine) in zip(wanted, parts, strict=True):
            period, free = ("", 0) if account is None else (account.period, account.free)
            args += (quota.unit, quota.per, quota.cap, int(quota.hard), amount, period, mine, free)
        reply = await self._run(_DRAW, args, [_QUOTA + quota.name for quota, _ in wanted])
        drawn = tuple(
            Drawn(reply[at].decode(), *reply[at + 1 : at + _FIELDS]) for at in range(_HEAD, len(reply), _FIELDS)
        )
        return Answer(Standing(reply[0]), reply[1], reply[2] - 1, bool(reply[3]), bool(reply[4]), drawn)

    def opened(self, entries: Mapping[str, bytes], batch: int, failed: Callable[[], None]) -> asyncio.Future[None]:
        """With this turn's pipeline; nobody waits for the answer."""
        args: list[Value] = [*self._head(), batch, *(value for pair in entries.items() for value in pair)]
        return self._store.post(_OPENED, self._keys, args, failed)

    async def settle(self, number: int, batch: Sequence[Settlement]) -> Standing:
        sums = summed(batch)
        closed = [one.closed for one in batch if one.closed is not None]
        args: list[Value] = [number, len(sums)]
        for account, (used, less) in sums.items():
            args += (account, used, less)
        args += (len(closed), *closed, *(one.row for one in batch if one.row is not None))
        return Standing(await self._run(_SETTLE, args))

    async def keep(self, number: int, attempt: str, entry: bytes, shares: Sequence[Share]) -> Standing:
        """What this attempt holds is nobody's own from now on. `number` grows with every call."""
        args: list[Value] = [number, attempt, entry]
        for share in shares:
            args += (account_of(share.quota, share.period), share.amount)
        return Standing(await self._run(_KEEP, args, _KEPT_KEYS))

    async def close(
        self,
        epoch: str,
        attempt: str,
        shares: Sequence[Share],
        used: Callable[[Quota], int],
        row: bytes | None,
        *,
        lost: bool,
    ) -> Standing:
        """A kept attempt is over; `lost`: nobody could tell how."""
        args: list[Value] = [epoch, attempt, row or b"", int(lost)]
        for share in shares:
            spent = spent_of(share.quota, used)
            args += (account_of(share.quota, share.period), spent, share.amount)
        return Standing(await self._run(_CLOSE, args, _KEPT_KEYS))

    async def leave(self) -> bool:
        return bool(await self._run(_LEAVE))

    async def usages(self, quotas: Sequence[Quota]) -> list[Spent]:
        """All in one pipeline."""
        given = self._store_ms()
        now = given / 1000 if given else float((await self._store.call("TIME"))[0])
        periods = [period_of(quota.per, now) for quota in quotas]
        answers = await asyncio.gather(
            *(
                self._store.call(
                    "HMGET", _QUOTA + quota.name, *(f"{period}:{word}" for word in ("used", "held", "lost"))
                )
                for quota, (period, _) in zip(quotas, periods, strict=True)
            )
        )
        return [
            Spent(quota, period, int(used or 0), int(held or 0), int(lost or 0), resets)
            for quota, (period, resets), (used, held, lost) in zip(quotas, periods, answers, strict=True)
        ]

    def _head(self) -> list[Value]:
        return [self._store_ms(), self.owner, self._epoch]

    async def _run(self, script: Script, args: Sequence[Value] = (), more: Sequence[str] = ()) -> Any:
        return await self._store.eval(script, [*self._keys, *more], [*self._head(), *args])


def entry(shares: Sequence[Share], row: bytes) -> bytes:
    """An open attempt as draw.lua writes it: account and amount of each quota, then what the ledger gets."""
    lines = "\n".join(f"{account_of(share.quota, share.period)}\t{share.amount}" for share in shares)
    return b"\n\n".join((lines.encode(), row))
