"""What is cheap to buy goes first: above part of the limit workers keep their room for what would cost more. Pure.

A request's worth is what a second of our GPU's work on it would cost to buy. It is that of its model, not its own: how
long its answer will be nobody knows, and by guesses of it the rule costs more than it saves (docs/adr/0010).
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model import Rule
from gateway.routing.board import Board, Pool
from gateway.routing.estimate import price_of, work_of

LEFT_TO_CHEAP = 0.8
"""Share of what its class may fill that is left to a request that is cheap to buy."""
SPREAD = 1.5
"""It is where the rule's requests are worth so many times as much, on average: with less there is nothing to win."""
MEMORY = 1_000
"""Requests after which one has mostly faded from the average."""
_US = 1e6


def worth_of(rule: Rule, model: str, spill: Sequence[Pool], board: Board) -> float | None:
    """USD for a GPU-second of a mean request to `model`, at the cheapest backend of `spill` that could take it now;
    None where it could not leave, or has no worker or price to compare. Of media always: requests for one model differ
    by more than models do."""
    if board.policy.models[model].modality != "text":
        return None
    learned = board.known(model)
    prompt, output = round(learned.prompt), round(learned.output)
    prices = [price_of(pool.served.price, prompt, output) for pool in spill if pool.states and pool.served.price]
    workers = (one for name in rule.backends for one in board.policy.backends[name] if one.kind == "local")
    worker = next(workers, None)
    if not prices or worker is None:
        return None
    return min(prices) / (work_of(worker, prompt, output) / _US)


def is_cheap(worth: float | None, mean: float | None) -> bool:
    """Whether others of the rule are worth so much more that they should find the room; unknown is not."""
    return worth is not None and mean is not None and worth * SPREAD <= mean


def averaged(mean: float | None, worth: float) -> float:
    """The running average of a rule's requests, with one more."""
    return worth if mean is None else mean + (worth - mean) / MEMORY
