"""The user's own thresholds on live signals: what each looks at now, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.model import Rule, Threshold
from gateway.rehearsal.words import comparison
from gateway.routing.board import Board, holds


@dataclass(frozen=True, slots=True)
class Seen:
    """`value` None: nobody published it lately, so it does not count."""

    threshold: Threshold
    value: float | None
    holds: bool

    def __str__(self) -> str:
        now = "unknown" if self.value is None else f"{self.value:.4g}"
        word = "holds" if self.holds else "does not hold"
        return f"{self.threshold.signal} {comparison(self.threshold)}: {now} now, {word}"

    def row(self) -> Mapping[str, Any]:
        return {
            "signal": self.threshold.signal,
            "comparison": comparison(self.threshold),
            "value": self.value,
            "holds": self.holds,
        }


def seen(board: Board, rule: Rule) -> tuple[Seen, ...]:
    """All of `spill.when`."""
    if rule.spill is None or not rule.spill.when:
        return ()
    signals = board.signals(rule.backends)
    return tuple(Seen(one, signals.get(one.signal), holds(one, signals)) for one in rule.spill.when)
