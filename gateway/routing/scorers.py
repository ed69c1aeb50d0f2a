"""Scorers: each gives 0..1, more is better; the weighted sum is a candidate's static score.

Live load is not here: the pick adds it in the same step that takes the lease (`pickers.py`, `fleet/acquire.lua`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.model import UpstreamState
from gateway.routing.estimate import Estimate

_PRICE_SCALE_USD = 0.001
"""The price at which an upstream scores one half: about a 1,000-token chat at $1 per million."""


def cheapness(ask: Estimate, _: UpstreamState) -> float:
    """1 for free, 0.5 at a tenth of a cent, towards 0. Local upstreams are all alike here."""
    if ask.price is None:
        return 1.0
    return _PRICE_SCALE_USD / (_PRICE_SCALE_USD + ask.price)


SCORERS: tuple[tuple[str, float, Callable[[Estimate, UpstreamState], float]], ...] = (("cheapness", 1.0, cheapness),)
"""A new scorer is a function, a row here (name, weight, function), and a row in its table test. It sees the request
through its estimate, which is made once for all candidates of a backend."""


AFFINE = frozenset({"prefix", "session"})
"""Scorers that need a hash of the prompt's beginning."""
OBJECTIVES: Mapping[str, Mapping[str, float]] = {
    "cost": {"price": 1.0, "load": 0.5},
    "latency": {"ttft": 1.0, "wait": 0.5, "load": 0.5},
}
"""What each objective weighs; several add up by their own weights."""


def weights(objective: Mapping[str, float], written: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Scorer -> weight above 0: the objective's, replaced by what is written; `load` alone where there is neither."""
    made: dict[str, float] = {} if objective or "load" in written else {"load": 1.0}
    for aim, share in objective.items():
        for name, weight in OBJECTIVES[aim].items():
            made[name] = made.get(name, 0.0) + share * weight
    return tuple((name, weight) for name, weight in {**made, **written}.items() if weight > 0)


def score(ask: Estimate, state: UpstreamState) -> float:
    total = 0.0
    for _, weight, scorer in SCORERS:
        total += weight * scorer(ask, state)
    return total
