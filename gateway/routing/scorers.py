"""Scorers: each gives 0..1, more is better; the weighted sum is a candidate's static score.

Live load is a scorer with a weight like the others, but not in the table: the pick adds it in the same step that takes
the lease (`pickers.py`, `fleet/acquire.lua`). A new scorer is a function, a row in SCORERS and in
`policy/route_schema.py:ScorersIn`, and a row in its table test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gateway.model import LOAD_WEIGHT, MICRO_PER_USD, UpstreamState
from gateway.routing.estimate import rent
from gateway.routing.scene import Scene, asked_of, first_token_there, wait_there

Scorer = Callable[[Scene, UpstreamState, int, int], float]
"""Of one upstream in a scene, given the request's work there, clamped to its class's limit, and that (GPU-us)."""
LOAD = "load"
HALF_USD = 0.001
"""The price that scores one half where the rule names no bought API to compare with: a 1,000-token chat at $1 per
million."""
HALF_WAIT_SECONDS = 0.5
HALF_FIRST_SECONDS = 1.0
"""The wait and, where the rule has no `slo.ttft_ms`, the time to the first token that score one half."""
ROOMY = 0.8
"""Share of its limit up to which a worker displaces nobody; from there requests compete for it (docs/policies.md, Which
worker)."""
UNKNOWN = 0.5
"""Of what is not known: neither for nor against. Nothing known against an upstream is no error."""


def wait(at: Scene, state: UpstreamState, work: int, limit: int) -> float:
    """1 where it begins at once, one half at HALF_WAIT_SECONDS. What a bought API lets wait is part of its `ttft`."""
    return HALF_WAIT_SECONDS / (HALF_WAIT_SECONDS + (wait_there(at, state, work, limit) or 0.0))


def ttft(at: Scene, state: UpstreamState, work: int, limit: int) -> float:
    """One half where the first token comes just within the SLO."""
    half = at.ttft or HALF_FIRST_SECONDS
    return half / (half + first_token_there(at, state, work, limit))


def price(at: Scene, state: UpstreamState, work: int, limit: int) -> float:
    """Of what is spent because of it: the list price, or at home the price of what it displaces. Nothing is dearer than
    what nobody knows."""
    if at.ask.price is None and state.upstream.kind == "managed":
        return 0.0
    return _cheapness(at, displaces(at, state, work, limit) if at.ask.price is None else at.ask.price)


def displaces(at: Scene, state: UpstreamState, work: int, limit: int) -> float:
    """USD: nothing while the worker has room, rising from ROOMY to what the displaced traffic costs when it is full."""
    full = (state.leased + state.outside + work) / limit
    return 0.0 if full <= ROOMY else at.bought * min(1.0, (full - ROOMY) / (1 - ROOMY))


def list_price(at: Scene, state: UpstreamState, work: int, _limit: int) -> float:
    """Of the list price, at home of the worker's rent for the time that it takes."""
    if at.ask.price is not None:
        return _cheapness(at, at.ask.price)
    hourly = state.upstream.usd_per_hour
    return UNKNOWN if hourly is None else _cheapness(at, rent(work, hourly) / MICRO_PER_USD)


def _cheapness(at: Scene, usd: float) -> float:
    """1 for free, one half for what the cheapest bought API takes: a cheap request is not all the same to a rule."""
    half = at.bought or HALF_USD
    return half / (half + usd)


def session(at: Scene, state: UpstreamState, _work: int, _limit: int) -> float:
    return _place(at.session, state)


def prefix(at: Scene, state: UpstreamState, _work: int, _limit: int) -> float:
    return _place(at.prefix, state)


def _place(owners: Sequence[str], state: UpstreamState) -> float:
    """1 for the owner, one half for the next, 0 for the rest."""
    name = state.upstream.name
    return 1 / (1 + owners.index(name)) if name in owners else 0.0


def warm(at: Scene, state: UpstreamState, _work: int, _limit: int) -> float:
    """Whether it answered for the model lately. A bought API always has its models loaded."""
    return 1.0 if state.upstream.kind == "managed" or at.model in state.warm else 0.0


def zone(at: Scene, state: UpstreamState, _work: int, _limit: int) -> float:
    return at.near.get(state.upstream.zone, UNKNOWN)


def headroom(_at: Scene, state: UpstreamState, _work: int, _limit: int) -> float:
    """Our own workers have no account that could run out."""
    if state.upstream.kind == "local":
        return 1.0
    return UNKNOWN if state.headroom is None else state.headroom


def errors(_at: Scene, state: UpstreamState, _work: int, _limit: int) -> float:
    return 1.0 if state.errors is None else 1 - state.errors


SCORERS: Mapping[str, Scorer] = {
    "wait": wait,
    "ttft": ttft,
    "price": price,
    "list_price": list_price,
    "prefix": prefix,
    "session": session,
    "warm": warm,
    "zone": zone,
    "headroom": headroom,
    "errors": errors,
}
AFFINE = frozenset({"prefix", "session"})
"""Scorers that need a hash of the prompt's beginning."""
PRICED = frozenset({"price", "list_price"})
"""Scorers by which an upstream wins because it is cheaper."""
OBJECTIVES: Mapping[str, Mapping[str, float]] = {
    "cost": {"price": 1.0, "load": 0.5},
    "latency": {"ttft": 1.0, "wait": 0.5, "load": 0.5},
}
"""What each objective weighs; several add up by their own weights."""


def weights(objective: Mapping[str, float], written: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Scorer -> weight above 0: the objective's, replaced by what is written; `load` alone where there is neither."""
    made: dict[str, float] = {} if objective or LOAD in written else {LOAD: LOAD_WEIGHT}
    for aim, part in objective.items():
        for name, weight in OBJECTIVES[aim].items():
            made[name] = made.get(name, 0.0) + part * weight
    return tuple((name, weight) for name, weight in {**made, **written}.items() if weight > 0)


class Scoring(NamedTuple):
    """A rule's scorers as the pick needs them."""

    load: float
    """Weight of the live free share."""
    static: tuple[tuple[Scorer, float], ...]
    total: float
    """Of all weights: no two candidates with room are further apart."""


def scoring(weighed: Sequence[tuple[str, float]]) -> Scoring:
    """Of `Rule.scorers`."""
    static = tuple((SCORERS[name], weight) for name, weight in weighed if name != LOAD)
    return Scoring(dict(weighed).get(LOAD, 0.0), static, sum(weight for _, weight in weighed))


def parts(weighed: Sequence[tuple[str, float]], at: Scene, state: UpstreamState) -> dict[str, float]:
    """What each of a rule's scorers gives an upstream, unweighted; `load` by the snapshot, with the request on it."""
    work, limit = asked_of(at, state)
    made = {}
    for name, _ in weighed:
        if name == LOAD:
            made[name] = 1 - (state.leased + state.outside + work) / limit
        else:
            made[name] = SCORERS[name](at, state, work, limit)
    return made
