"""The user's own thresholds on live signals: what each looks at now, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.model import GenRequest, Threshold
from gateway.routing.board import Board, Plan, holds
from gateway.routing.estimate import estimate
from gateway.routing.signals import EXACT, comparison, holding, signals_of


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
            "text": str(self),
        }


def seen(board: Board, plan: Plan, asked: GenRequest) -> tuple[Seen, ...]:
    """All of `spill.when`; damped ones in their state."""
    rule, model = plan.rule, plan.model.name
    if rule.spill is None or not rule.spill.when:
        return ()
    signals = signals_of(rule, model, board)
    made = []
    for one in rule.spill.when:
        if one.signal in EXACT:
            price = least_price(board, plan, asked)
            made.append(Seen(one, price, price is not None and holds(one, {one.signal: price})))
        else:
            made.append(Seen(one, signals.get(one.signal), holding(one, rule, model, board, signals)))
    return tuple(made)


def least_price(board: Board, plan: Plan, asked: GenRequest) -> float | None:
    """USD of this request at the cheapest backend that it could spill to."""
    prices = [estimate(asked, pool.served, board.known(plan.model.name)).price for pool in plan.spill if pool.states]
    return min((price for price in prices if price is not None), default=None)
