"""One upstream's breaker: closed, open until a time, half open until a probe tells. Pure: `now` and chance are given.

Two kinds of opening. A *pause* is the upstream's own word (asked to wait): it lasts as long as was said. A *break* is
our judgement from what its attempts came to: it ends half open, where one attempt at a time decides. Times are seconds
of one clock; one that went back takes the circuit along.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from gateway.model import Breaker

FAILING, ERRORS, SLOW, UNREACHABLE = "failing", "errors", "slow", "unreachable"
"""Why it broke: failures in a row, the share of them, slowness, nobody there."""
JITTER = 0.1
"""A pause is up to this share shorter than it might be: what broke in one moment is not probed in one."""
PARTS = 10
"""Of the window of `error_rate`: what is older than it leaves in steps of a tenth."""
PROBE_SECONDS = 5.0
"""How long a probe keeps all others away: an answer may take minutes, and its worker should not wait for its end."""
BUSY_SECONDS = 0.5
"""How long a worker whose queue is full is left alone: by then its page has been read again (probes.INTERVAL_SECONDS).
Twice as long with each refusal that follows without an answer in between, up to `longest`: behind a broken proxy nobody
ever has room."""

MOST_DOUBLINGS = 16

Phase = Literal["closed", "open", "half"]


@dataclass(slots=True)
class Window:
    """Attempts of the last `span` seconds, counted in PARTS of it: [part number, good, bad]."""

    span: float
    _parts: deque[list[int]] = field(default_factory=deque)

    def add(self, now: float, *, good: bool) -> None:
        part = self._trim(now)
        if not self._parts or self._parts[-1][0] != part:
            self._parts.append([part, 0, 0])
        self._parts[-1][1 if good else 2] += 1

    def counts(self, now: float) -> tuple[int, int]:
        """(good, bad)."""
        self._trim(now)
        return sum(part[1] for part in self._parts), sum(part[2] for part in self._parts)

    def clear(self) -> None:
        self._parts.clear()

    def _trim(self, now: float) -> int:
        part = int(now * PARTS / self.span)
        while self._parts and not part - PARTS < self._parts[0][0] <= part:
            self._parts.popleft()
        return part


@dataclass(slots=True)
class Circuit:
    """`failures` in a row while closed; `opened` None: it is closed; `pause` is how long the last break lasted."""

    breaker: Breaker
    window: Window
    failures: int = 0
    opened: float | None = None
    until: float = 0.0
    why: str = ""
    judged: bool = False
    """It is a break, which ends half open; a pause ends closed."""
    pause: float = 0.0
    closed: float = 0.0
    """When it closed after its last break."""
    probing: float | None = None
    """When the probe on its way left."""
    refusals: int = 0
    """Times that it was busy since its last answer."""
    full_until: float = 0.0

    @classmethod
    def new(cls, breaker: Breaker) -> Circuit:
        return cls(breaker, Window(breaker.window))

    def phase(self, now: float) -> Phase:
        if self.opened is None:
            return "closed"
        self._follow(now)
        if now < self.until:
            return "open"
        if self.judged:
            return "half"
        self.opened = None
        return "closed"

    def answered(self, began: float, now: float) -> bool:
        """A success of an attempt begun at `began`; True where it closes. Of before the opening it proves nothing."""
        phase = self.phase(now)
        if self.opened is not None and (phase == "open" or began < self.opened):
            return False
        self.failures = self.refusals = 0
        self.window.add(now, good=True)
        if self.opened is None:
            return False
        self.opened, self.probing, self.closed = None, None, now
        return phase == "half"

    def failed(self, began: float, now: float, *, at_once: bool = False) -> str | None:
        """A failure of an attempt begun at `began`, and why the circuit should break by it; None where it should not.
        Of attempts that were on their way as it opened, nothing new is learned."""
        phase = self.phase(now)
        if phase == "open" or (phase == "half" and began < (self.opened or 0.0)):
            return None
        if phase == "half":
            return UNREACHABLE if at_once else self.why
        self.failures += 1
        self.window.add(now, good=False)
        if at_once:
            return UNREACHABLE
        if self.failures >= self.breaker.consecutive:
            return FAILING
        good, bad = self.window.counts(now)
        enough = good + bad >= self.breaker.least
        return ERRORS if enough and bad >= self.breaker.error_rate * (good + bad) else None

    def open(self, now: float, why: str, chance: float) -> None:
        """Breaks: twice as long as last time, unless it has been closed for `longest` since. `chance`: 0 to 1."""
        rested = self.phase(now) == "closed" and now - self.closed >= self.breaker.longest
        first = self.pause == 0.0 or rested
        self.pause = self.breaker.pause if first else min(2 * self.pause, self.breaker.longest)
        self._begin(now, now + self.pause * (1 - JITTER * chance), why, judged=True)

    def left_alone(self, now: float, seconds: float, why: str, *, judged: bool) -> None:
        """Pauses for so long; never for less than it is out already. A pause that was asked for leaves the rest since
        the last break as it is; where it ends a break, the rest begins with its end."""
        phase = self.phase(now)
        if phase == "open" and self.until > now + seconds:
            return
        if phase != "closed" and self.judged and not judged:
            self.closed = now + seconds
        self._begin(now, now + seconds, why, judged=judged)

    def probe(self, now: float) -> bool:
        """An attempt leaves; True where it is the probe."""
        if self.opened is None or self.phase(now) != "half":
            return False
        self.probing = now
        return True

    def taken(self, now: float) -> bool:
        """Half open, and a probe is on its way."""
        return self.probing is not None and 0 <= now - self.probing < PROBE_SECONDS and self.phase(now) == "half"

    def busy(self, now: float, asked: float | None = None) -> None:
        """It refused because its queue is full, and `asked` for so many seconds. Those that it refused in the same
        moment say no more than the first."""
        if not self.full(now):
            usual = BUSY_SECONDS * 2.0 ** min(self.refusals, MOST_DOUBLINGS)
            self.refusals += 1
            self.full_until = now + min(asked or usual, self.breaker.longest)

    def full(self, now: float) -> bool:
        return 0 < self.full_until - now <= self.breaker.longest

    def _begin(self, now: float, until: float, why: str, *, judged: bool) -> None:
        self.opened, self.until, self.why, self.judged, self.probing = now, until, why, judged, None
        self.failures = 0
        self.window.clear()

    def _follow(self, now: float) -> None:
        if self.opened is not None and now < self.opened:
            self.until -= self.opened - now
            self.opened = now
