"""What each account at a bought API has left of its rate limits, as its answers tell, and as we use it up since."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.model import Allowance

REQUESTS = "requests"
"""The unit that counts requests; all others count tokens."""
USUAL_TOKENS = 1_000.0
"""Of a request, before the first was sent."""
_STEP = 0.1
"""Weight of the newest request in the mean of their tokens."""
MOST_TOKENS = 100_000.0
"""Of one request, in that mean: more is a `max_tokens` that nobody means."""
_MINUTE, _DAY = 60.0, 86_400.0
"""How long a limit takes to be whole where nothing else is known, and at most."""


class Sent(NamedTuple):
    """A request that left for an account: its number there, and the tokens it may take."""

    number: int
    tokens: int


@dataclass(slots=True)
class Meter:
    """`level` units were left at `at`, and `rate` come back each second, or, where it is a window of `lasts` seconds,
    all at `ends`. A window of which no answer ever tells refills as slowly as it was to last."""

    limit: float
    level: float
    at: float
    rate: float
    ends: float
    lasts: float = _MINUTE

    @classmethod
    def of(cls, told: Allowance, now: float) -> Meter:
        """A limit that refills and is not full will be so at its reset; of a full one the rate is that of a minute."""
        missing, resets = told.limit - told.remaining, min(told.resets, _DAY)
        filling = missing / resets if missing > 0 and resets > 0 else told.limit / _MINUTE
        rate = max(filling, told.limit / _DAY) if told.refills else 0.0
        ends = math.inf if told.refills else now + resets
        return cls(told.limit, told.remaining, now, rate, ends, max(resets, _MINUTE))

    def left(self, now: float) -> float:
        self._follow(now)
        if now >= self.ends:
            return self.limit
        return min(self.limit, self.level + (now - self.at) * self.rate)

    def back(self, amount: float, now: float) -> float:
        """When `amount` is there, at most two days from now; of more than there ever is, when all is."""
        amount = min(amount, self.limit)
        missing = amount - self.left(now)
        if missing <= 0:
            return now
        return min(self.ends, now + missing / self.rate if self.rate else math.inf)

    def take(self, amount: float, now: float) -> None:
        """Never more than there ever is, nor deeper than that into debt: the API itself counts no further. A negative
        amount gives back."""
        left = self.left(now) - min(amount, self.limit)
        self.level, self.at = max(-self.limit, min(self.limit, left)), now
        if now >= self.ends:
            self.rate, self.ends = self.limit / self.lasts, math.inf  # until an answer tells of the new window

    def _follow(self, now: float) -> None:
        """A clock that went back (another store took over) takes the meter along."""
        if now < self.at:
            self.ends -= self.at - now
            self.at = now


@dataclass(slots=True)
class Account:
    meters: dict[str, Meter] = field(default_factory=dict)
    sent: int = 0
    told: int = 0
    """The number of the latest request whose answer told the meters."""
    tokens: float = USUAL_TOKENS

    def each(self, unit: str) -> float:
        """What a request of ours takes of a meter."""
        return 1.0 if unit == REQUESTS else min(self.tokens, self.meters[unit].limit)

    def take(self, unit: str, requests: int, tokens: float, now: float) -> None:
        self.meters[unit].take(requests if unit == REQUESTS else tokens, now)


@dataclass(slots=True)
class Headroom:
    """Accounts by the name of their upstream. Times are seconds of any one clock.

    Every replica hears of the whole account with each of its own answers; between two of them it counts what it sends.
    """

    _accounts: dict[str, Account] = field(default_factory=dict)

    def sent(self, name: str, tokens: int, now: float) -> Sent:
        """A request of so many tokens (its prompt and the longest answer it may have) leaves now."""
        account = self._accounts.setdefault(name, Account())
        account.sent += 1
        account.tokens += _STEP * (min(tokens, MOST_TOKENS) - account.tokens)
        for unit in account.meters:
            account.take(unit, 1, tokens, now)
        return Sent(account.sent, tokens)

    def told(self, name: str, sent: Sent, allowances: Iterable[Allowance], now: float) -> None:
        """The answer to a request; one older than what is known tells nothing new. The API has yet to count what was
        sent since; of a limit that the answer does not tell, what the request took is given back."""
        account = self._accounts.setdefault(name, Account())
        if sent.number < account.told:
            return
        account.sent = max(account.sent, sent.number)  # it was forgotten while this was under way
        since, silent = account.sent - sent.number, set(account.meters)
        for told in allowances:
            account.told = sent.number
            silent.discard(told.unit)
            meter = account.meters[told.unit] = Meter.of(told, now)
            meter.take(since * account.each(told.unit), now)
        for unit in silent:
            self._give_back(account, unit, sent, now)

    def untaken(self, name: str, sent: Sent, now: float) -> None:
        """It never left, or was refused before any work, and no answer told."""
        account = self._accounts.get(name)
        if account is not None and sent.number >= account.told:
            for unit in account.meters:
                self._give_back(account, unit, sent, now)

    @staticmethod
    def _give_back(account: Account, unit: str, sent: Sent, now: float) -> None:
        account.take(unit, -1, -min(sent.tokens, account.meters[unit].limit), now)

    def keep(self, upstreams: frozenset[str]) -> None:
        """Forgets those that the policy no longer has."""
        for name in self._accounts.keys() - upstreams:
            del self._accounts[name]

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
