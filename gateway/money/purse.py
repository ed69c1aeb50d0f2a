"""What one replica has drawn of its quotas and not handed out yet: arithmetic alone, no clock and no I/O.

Moments are seconds of the replica's monotonic clock, amounts are in the quota's unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model import Quota, Row, Share

SLICE_SECONDS = 10.0
CONCURRENT_SECONDS = 4.0
"""Seats of the dead are free after SILENT_MS of till.lua, so a slice of them ends before that; money is booked."""
CORRECTED = ("usd", "tokens")
"""Of what is set aside of these, some comes back when it is over; of requests nothing that was sent."""
IDLE_TICKS = 2
"""A slice that nobody took from for so many ticks goes back."""
FORGET_TICKS = 60
Wanted = Sequence[tuple[Quota, int]]
"""How much of each quota, in its unit."""


class Delta(NamedTuple):
    """One account's part of a settlement: what was used, and by how much less is held."""

    account: str
    used: int
    less: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """One thing that is to reach the store as a whole: an attempt's row, its accounts, its open entry's end."""

    row: bytes | None = None
    deltas: tuple[Delta, ...] = ()
    closed: str | None = None

    def loose(self) -> Settlement:
        """The same for a store that knows nothing of what was held."""
        return Settlement(self.row, tuple(Delta(account, used, 0) for account, used, _ in self.deltas), self.closed)

    @property
    def free(self) -> bool:
        """Whether it concerns nothing that was held."""
        return not self.deltas and self.closed is None


class Drawn(NamedTuple):
    """What the store said of one quota: `most` may lie idle in a slice; `resets` is ms since the epoch, 0 never."""

    period: str
    resets: int
    granted: int
    left: int
    most: int


class Left(NamedTuple):
    """Of a quota in its period: `ends` and `resets` as in `Short`."""

    left: int
    ends: float | None
    resets: float | None


def name_of(account: str) -> str:
    """The quota's name."""
    return account.split(" ", 2)[2]


def account_of(quota: Quota, period: str) -> str:
    """The name of a quota's period in the store."""
    return f"{period} {quota.unit} {quota.name}"


@dataclass(slots=True)
class Account:
    """What this replica has of one quota in one period: `free` for whoever takes it until `expires`."""

    quota: Quota
    period: str
    key: str = ""
    free: int = 0
    expires: float = float("-inf")
    ends: float = float("inf")
    resets: float | None = None
    left: int = 0
    most: int = 0
    touched: bool = False
    idle: int = 0

    def __post_init__(self) -> None:
        self.key = account_of(self.quota, self.period)

    @property
    def ending(self) -> float | None:
        """When its period ends; None: never."""
        return None if self.resets is None else self.ends

    def drawn(self, answer: Drawn, store_ms: int, sent: float) -> None:
        """What the store said at some moment after `sent`: everything ends a little early, never late."""
        if answer.resets:
            self.resets = answer.resets / 1000
            self.ends = sent + (answer.resets - store_ms) / 1000
        lasts = CONCURRENT_SECONDS if self.quota.unit == "concurrent" else SLICE_SECONDS
        self.expires = min(sent + lasts, self.ends)
        self.left, self.most = answer.left, answer.most

    def keep(self, amount: int, now: float) -> int:
        """How much of what a request did not use may stay in the slice; it does."""
        if now >= self.expires:
            return 0
        kept = min(amount, max(0, self.most - self.free))
        self.free += kept
        return kept

    def empty(self) -> int:
        free, self.free = self.free, 0
        return free


Part = tuple[Account | None, int]
"""What is at hand for a request that needs more, and where it lay."""


@dataclass(slots=True)
class Purse:
    """All accounts of one replica, under the name (`owner`) by which the store knows what it holds."""

    owner: str
    current: dict[str, Account] = field(default_factory=dict)
    """Quota's name -> its account of the period that the store last named."""
    held: dict[str, int] = field(default_factory=dict)
    """Account -> all that the store holds for this replica, once it knows of every settlement: slices and requests."""

    def take(self, wanted: Wanted, now: float) -> tuple[Share, ...] | None:
        """All of it, or nothing."""
        current = self.current
        found = []
        for quota, amount in wanted:
            account = current.get(quota.name)
            if account is None or account.free < amount or account.expires <= now:
                return None
            account.quota = quota  # its cap may be another one since: by this the next tick fills the slice
            found.append(account)
        shares = []
        for account, (quota, amount) in zip(found, wanted, strict=True):
            account.free -= amount
            account.touched = True
            shares.append(Share(quota, amount, account.period, self.owner))
        return tuple(shares)

    def part(self, wanted: Wanted, now: float) -> list[Part]:
        """What is at hand for a request that needs more: taken out for it, so that nobody else counts on it."""
        parts: list[Part] = []
        for quota, amount in wanted:
            account = self.current.get(quota.name)
            mine = 0 if account is None or account.expires <= now else min(account.free, amount)
            if account is not None:
                account.free -= mine
                account.touched = account.touched or amount > 0
            parts.append((account, mine))
        return parts

    def granted(
        self, wanted: Wanted, parts: Sequence[Part], answer: Sequence[Drawn], ms: int, sent: float
    ) -> tuple[tuple[Share, ...], list[Delta]]:
        """A draw has been granted: what the request holds by it, and what goes back of periods that are over."""
        shares: list[Share] = []
        back: list[Delta] = []
        for (quota, amount), part, drawn in zip(wanted, parts, answer, strict=True):
            account, mine = self._told(quota, part, drawn, ms, sent, back)
            account.free += mine + drawn.granted - amount
            if drawn.granted:
                self.held[account.key] = self.held.get(account.key, 0) + drawn.granted
            shares.append(Share(quota, amount, account.period, self.owner))
        return tuple(shares), back

    def refused(
        self, wanted: Wanted, parts: Sequence[Part], answer: Sequence[Drawn], ms: int, sent: float
    ) -> list[Delta]:
        """A draw has been refused: what was at hand is so again; what goes back of periods that are over."""
        back: list[Delta] = []
        for (quota, _), part, drawn in zip(wanted, parts, answer, strict=True):
            account, mine = self._told(quota, part, drawn, ms, sent, back)
            account.free += mine
        return back

    def _told(
        self, quota: Quota, part: Part, drawn: Drawn, ms: int, sent: float, back: list[Delta]
    ) -> tuple[Account, int]:
        """The account of the period that the store named, and what of `part` is in it."""
        of, mine = part
        if of is not None and of.period != drawn.period:
            back += self.less(of.key, mine)
            mine = 0
        account = self.current.get(quota.name)
        if account is None or account.period != drawn.period:
            if account is not None:
                back += self.less(account.key, account.empty())
            account = self.current[quota.name] = Account(quota, drawn.period, touched=True)
        account.quota = quota
        account.drawn(drawn, ms, sent)
        return account, mine

    def undrawn(self, parts: Iterable[Part]) -> list[Delta]:
        """A draw without an answer: what was at hand for it goes back. Should its attempt stand in the store, that
        counts on it until it is closed."""
        return [delta for account, mine in parts if account is not None for delta in self.less(account.key, mine)]

    def settle(
        self, shares: Iterable[Share], used: Callable[[Quota], int], now: float, *, opened: bool = False
    ) -> tuple[Delta, ...]:
        """What is over: what was not used stays in the slice, as far as it may, and else goes back. Of an attempt that
        the store knows (`opened`) all goes back: if this replica dies before the store has its settlement, all that the
        attempt held is booked, and none of it may be another one's by then.
        """
        deltas = []
        for share in shares:
            quota, amount = share.quota, share.amount
            spent = spent_of(quota, used)
            account = self.current.get(quota.name)
            if account is not None and account.period == share.period:
                over = 0 if opened else max(0, amount - spent)
                key, less = account.key, amount - account.keep(over, now)
            else:
                key, less = account_of(quota, share.period), amount
            if spent or less:
                self._release(key, less)
                deltas.append(Delta(key, spent, less))
        return tuple(deltas)

    def idle(self, now: float) -> list[Delta]:
        """One tick: what nobody takes from, or is over, goes back; after FORGET_TICKS the account is forgotten."""
        back: list[Delta] = []
        for name, account in list(self.current.items()):
            account.idle = 0 if account.touched else account.idle + 1
            if account.idle >= IDLE_TICKS or account.expires <= now:
                back += self.less(account.key, account.empty())
            if account.idle >= FORGET_TICKS:
                del self.current[name]
        return back

    def wanting(self) -> list[Quota]:
        """Quotas that were taken from since the last tick, whose slices are to be filled and made to last again."""
        busy = [account for account in self.current.values() if account.touched]
        for account in busy:
            account.touched = False
        return [account.quota for account in busy if account.most > 0]

    def asked(self, key: str) -> list[Delta]:
        """Another replica is short of what may lie idle here."""
        account = self.current.get(name_of(key))
        if account is None or account.key != key:
            return []
        account.most = 0
        return self.less(key, account.empty())

    def emptied(self) -> list[Delta]:
        """Everything that is idle goes back."""
        return [delta for account in self.current.values() for delta in self.less(account.key, account.empty())]

    def less(self, key: str, amount: int) -> list[Delta]:
        """So much of an account goes back."""
        if not amount:
            return []
        self._release(key, amount)
        return [Delta(key, 0, amount)]

    def _release(self, key: str, amount: int) -> None:
        left = self.held.get(key, 0) - amount
        if left > 0:
            self.held[key] = left
        else:
            self.held.pop(key, None)


def spent_of(quota: Quota, used: Callable[[Quota], int]) -> int:
    """What is used up of it; seats never are."""
    return 0 if quota.unit == "concurrent" else max(0, used(quota))


def charged(row: Row, quota: Quota) -> int:
    """How much of a quota of USD an attempt has used up: micro-dollars."""
    if row.payer == "operator" and quota.of != "gateway":
        return 0
    if row.kind == "local" and not quota.local:
        return 0
    return row.reserved if row.cost is None else row.cost


def loose(shares: Iterable[Share], used: Callable[[Quota], int]) -> tuple[Delta, ...]:
    """What was used, for a store that knows nothing of what was held."""
    return tuple(Delta(account_of(share.quota, share.period), spent_of(share.quota, used), 0) for share in shares)


def summed(batch: Iterable[Settlement]) -> dict[str, tuple[int, int]]:
    """Account -> (used, less) of all of them together."""
    sums: dict[str, tuple[int, int]] = {}
    for one in batch:
        for account, used, less in one.deltas:
            before = sums.get(account, (0, 0))
            sums[account] = before[0] + used, before[1] + less
    return sums
