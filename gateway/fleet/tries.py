"""How the attempts of this replica went lately: what share of them failed, and which models answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp

MEMORY_SECONDS = 30.0
"""After so long an attempt counts 1/e as much: a worker that was repaired is forgiven within two minutes."""
MOST_REMEMBERED = 50.0
"""Attempts; a busy worker forgets no more slowly than an idle one."""
FEWEST = 2.5
"""Attempts, faded ones in part: the share of one or two says nothing. Three failures in a row open the circuit."""
WARM_SECONDS = 300.0
"""How long after its last answer a worker is taken to have the model's weights and caches ready."""


@dataclass(slots=True)
class _Tried:
    at: float
    good: float = 0.0
    bad: float = 0.0
    answered: dict[str, float] = field(default_factory=dict)
    """Model -> when it last answered for it."""

    def fade(self, now: float) -> None:
        kept = exp(min(0.0, self.at - now) / MEMORY_SECONDS)
        kept *= min(1.0, MOST_REMEMBERED / max(1.0, kept * (self.good + self.bad)))
        self.at, self.good, self.bad = now, self.good * kept, self.bad * kept


@dataclass(slots=True)
class Tries:
    """Only what tells of the upstream is booked: neither a caller's own 4xx nor a client that left. Times are seconds
    of one clock."""

    _tried: dict[str, _Tried] = field(default_factory=dict)

    def answered(self, upstream: str, model: str, now: float) -> None:
        one = self._faded(upstream, now)
        one.good += 1
        one.answered[model] = now

    def failed(self, upstream: str, now: float) -> None:
        self._faded(upstream, now).bad += 1

    def errors(self, upstream: str, now: float) -> float | None:
        """Share of its attempts that failed lately; None where there were too few to say."""
        if upstream not in self._tried:
            return None
        one = self._faded(upstream, now)
        return one.bad / (one.good + one.bad) if one.good + one.bad >= FEWEST else None

    def warm(self, upstream: str, now: float) -> frozenset[str]:
        one = self._tried.get(upstream)
        if one is None:
            return frozenset()
        return frozenset(model for model, at in one.answered.items() if now - at <= WARM_SECONDS)

    def keep(self, upstreams: frozenset[str]) -> None:
        """Forgets those that the policy no longer has."""
        for name in self._tried.keys() - upstreams:
            del self._tried[name]

    def _faded(self, upstream: str, now: float) -> _Tried:
        one = self._tried.setdefault(upstream, _Tried(now))
        one.fade(now)
        return one
