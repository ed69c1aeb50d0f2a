"""What each account at a bought API has left of its rate limits, as its answers tell, and as we use it up since."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.model import Allowance

REQUESTS = "requests"
"""The unit that counts requests; all others count tokens."""
USUAL_TOKENS = 1_000.0
"""Of a request, before the first was sent."""
_STEP = 0.1
"""Weight of the newest request in the mean of their tokens."""
_MINUTE = 60.0


@dataclass(slots=True)
class Meter:
    """`level` units were left at `at`, and `rate` come back each second, or, where it is a window, all at `ends`."""

    limit: float
    level: float
    at: float
    rate: float
    ends: float

    @classmethod
    def of(cls, told: Allowance, now: float) -> Meter:
        """A limit that refills and is not full will be so at its reset; of a full one the rate is that of a minute."""
        missing = told.limit - told.remaining
        rate = (
            (missing / told.resets if missing > 0 and told.resets > 0 else told.limit / _MINUTE)
            if told.refills
            else 0.0
        )
        return cls(told.limit, told.remaining, now, rate, math.inf if told.refills else now + told.resets)

    def left(self, now: float) -> float:
        if now >= self.ends:
            return self.limit
        return min(self.limit, self.level + max(0.0, now - self.at) * self.rate)

    def back(self, amount: float, now: float) -> float:
        """When `amount` is there; of more than there ever is, when all is."""
        amount = min(amount, self.limit)
        missing = amount - self.left(now)
        if missing <= 0:
            return now
        return min(self.ends, now + missing / self.rate if self.rate else math.inf)

    def take(self, amount: float, now: float) -> None:
        self.level, self.at = self.left(now) - amount, now
        if now >= self.ends:
            self.ends = math.inf  # the next window's end is told by its first answer


@dataclass(slots=True)
class Account:
    meters: dict[str, Meter] = field(default_factory=dict)
    sent: int = 0
    told: int = 0
    """The number of the latest request whose answer told the meters."""
    tokens: float = USUAL_TOKENS

    def each(self, unit: str) -> float:
        """What a request of ours takes of a meter."""
        return 1.0 if unit == REQUESTS else self.tokens


@dataclass(slots=True)
class Headroom:
    """Accounts by the name of their upstream. Times are seconds of any one clock.

    Every replica hears of the whole account with each of its own answers; between two of them it counts what it sends.
    """

    _accounts: dict[str, Account] = field(default_factory=dict)

    def sent(self, name: str, tokens: int, now: float) -> int:
        """A request of so many tokens (its prompt and the longest answer it may have) leaves now: its number."""
        account = self._accounts.setdefault(name, Account())
        account.sent += 1
        account.tokens += _STEP * (tokens - account.tokens)
        for unit, meter in account.meters.items():
            meter.take(1.0 if unit == REQUESTS else tokens, now)
        return account.sent

    def told(self, name: str, number: int, allowances: Iterable[Allowance], now: float) -> None:
        """The answer to the request of that number; one older than what is known tells nothing new. The API has yet to
        count what was sent since."""
        account = self._accounts.setdefault(name, Account())
        if number < account.told:
            return
        since = account.sent - number
        for told in allowances:
            account.told = number
            meter = account.meters[told.unit] = Meter.of(told, now)
            meter.level -= since * account.each(told.unit)

    def left(self, name: str, now: float) -> float | None:
        """Share of its limits, 0 to 1, of the scarcest; None where it tells none."""
        meters = self._meters(name)
        return min((max(0.0, one.left(now)) / one.limit for one in meters.values()), default=None)

    def room(self, name: str, now: float) -> int | None:
        """How many more requests of the usual size it takes now; None where it tells no limits."""
        meters = self._meters(name)
        each = self._accounts[name].each if meters else None
        return min(
            (max(0, math.floor(meter.left(now) / each(unit))) for unit, meter in meters.items() if each), default=None
        )

    def back(self, name: str, now: float) -> float:
        """When it takes another request: `now`, or later."""
        account = self._accounts.get(name)
        waits = [] if account is None else [one.back(account.each(unit), now) for unit, one in account.meters.items()]
        return max(waits, default=now)

    def _meters(self, name: str) -> dict[str, Meter]:
        account = self._accounts.get(name)
        return {} if account is None else account.meters
