"""Scorers: each gives 0..1, more is better; the weighted sum is a candidate's static score.

Live load is not here: the pick adds it in the same step that takes the lease (`pickers.py`, `fleet/acquire.lua`).
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.model import GenRequest, Served, UpstreamState
from gateway.routing.estimate import expected_price

_PRICE_SCALE_USD = 0.001
"""The price at which an upstream scores one half: about a 1,000-token chat at $1 per million."""


def cheapness(request: GenRequest, state: UpstreamState, served: Served) -> float:
    """1 for free, 0.5 at a tenth of a cent, towards 0. Local upstreams are all alike here."""
    if served.price is None:
        return 1.0
    return _PRICE_SCALE_USD / (_PRICE_SCALE_USD + expected_price(served.price, request))


SCORERS: tuple[tuple[str, float, Callable[[GenRequest, UpstreamState, Served], float]], ...] = (
    ("cheapness", 1.0, cheapness),
)


def score(request: GenRequest, state: UpstreamState, served: Served) -> float:
    return sum(weight * scorer(request, state, served) for _, weight, scorer in SCORERS)
