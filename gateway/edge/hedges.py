"""When a second attempt may begin beside the first, and how many may: what is late is learned, what may be is saved."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.model import Rule
from gateway.routing.quantile import Spread

LATE = 0.95
"""The share of the answers that begin before a second attempt does."""
LEAST = 50
"""Samples without which nobody knows what is late: the slowest twentieth of them is two or three."""
SAVED = 10.0
"""Hedges that a quiet hour can save up."""
_ROUNDING = 1e-9

Kept = tuple[str, str, bool]
"""(rule, backend, streamed): the time to the first token of a stream, and that to the end of a whole answer."""


@dataclass(slots=True)
class Hedges:
    """One per process. Hedges of a rule never pass its share of the requests that came: they are saved up first."""

    _spreads: dict[Kept, Spread] = field(default_factory=dict)
    _saved: dict[str, float] = field(default_factory=dict)

    def came(self, rule: Rule) -> None:
        """A request was decided by it."""
        if rule.hedge is not None:
            self._saved[rule.name] = min(SAVED, self._saved.get(rule.name, 0.0) + rule.hedge.budget)

    def saw(self, rule: Rule, backend: str, streamed: bool, seconds: float) -> None:
        """How long an attempt took to its first token, or to its end; one that lost the race, at least so long: were
        those left out, what counts as late would come earlier and earlier."""
        if rule.hedge is not None:
            self._spreads.setdefault((rule.name, backend, streamed), Spread()).add(seconds)

    def patience(self, rule: Rule, backend: str, streamed: bool) -> float | None:
        """Seconds after which a second attempt may begin; None: never, as long as too little is known.

        `hedge.after` is about first tokens; a whole answer has none, and is late by what was learned of whole answers.
        """
        if rule.hedge is None:
            return None
        if rule.hedge.after is not None and streamed:
            return rule.hedge.after
        spread = self._spreads.get((rule.name, backend, streamed))
        return None if spread is None or spread.seen < LEAST else spread.quantile(LATE)

    def take(self, rule: Rule) -> bool:
        """The right to one hedge, if the rule has one left."""
        left = self._saved.get(rule.name, 0.0) - 1
        if rule.hedge is None or left < -_ROUNDING:
            return False
        self._saved[rule.name] = left
        return True

    def give_back(self, rule: Rule) -> None:
        """The hedge found no room."""
        self._saved[rule.name] = min(SAVED, self._saved.get(rule.name, 0.0) + 1)
