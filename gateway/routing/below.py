"""`classes.X.below`: a class begins at home only while the workers there are, on average, less full than that. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from statistics import fmean

from gateway.model import Group, UpstreamState
from gateway.routing.affinity import limit_of, share
from gateway.routing.board import Pool
from gateway.routing.candidates import uncapped
from gateway.routing.thresholds import BELOW

_US = 1e6


def held_back(pool: Pool, below: float) -> Pool:
    """Nobody is left where those that may serve it are too full. Bought APIs have no such bound."""
    if below >= 1 or pool.kind == "managed" or not pool.states:
        return pool
    if fmean(share(state) for state in pool.states) < below:
        return pool
    return replace(pool, states=(), drops={**pool.drops, BELOW: len(pool.states)})


def fullness(group: Group, states: Mapping[str, UpstreamState], taken: Callable[[str, int], int]) -> float:
    """Mean share of their limits that is taken on the sampled workers of `group`: what a snapshot saw of them, and what
    this replica took since. 0 where there are none, and of bought APIs."""
    found = []
    for one in uncapped(group).candidates:
        state = states.get(one.upstream.name)
        if one.upstream.kind == "managed" or state is None:
            return 0.0
        found.append((state.leased + taken(one.upstream.name, one.life) + one.outside) / one.limit)
    return fmean(found) if found else 0.0


def seconds_until(states: Iterable[UpstreamState], below: float) -> float:
    """Until their mean load has fallen to `below`, where nothing is added: a busy worker does a GPU-second of what it
    holds in a second, as in `forecast.wait_for_room`; an idle one does nothing for the others."""
    loads = sorted((state.leased + state.outside, limit_of(state)) for state in states)
    over = sum(held / limit for held, limit in loads) - below * len(loads)
    passed, falls = 0.0, sum(1 / limit for _, limit in loads)
    for held, limit in loads:  # until the next one is idle their sum falls evenly
        if over <= (held - passed) * falls:
            return round(passed + max(0.0, over) / falls) / _US
        over -= (held - passed) * falls
        passed, falls = held, falls - 1 / limit
    return passed / _US
