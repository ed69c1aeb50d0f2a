"""Order what is left by live load: the atomic pick in Python, and the sample of candidates that it chooses from.

`fleet/acquire.lua` is the same formula where the choice also takes the lease; this one serves explain, tests and
degraded mode. A property test holds the two equal, on the same doubles in the same order of operations. There is one
formula: a rule's `picker` says what each candidate is lifted by before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log
from random import Random
from typing import TypeVar

from gateway.model import LOAD_WEIGHT, Candidate, PickerName, UpstreamState

T = TypeVar("T")

MAX_SAMPLED = 8
"""The cost of a request must not grow with the fleet: a sample of it is asked (docs/architecture.md, step 5)."""
TEMPERATURE = 0.1
"""Of `weighted_random`: a candidate whose score is so much better is e times as likely."""
DRAWN = 2
"""How many `power_of_two` draws; the rest is for when neither has room."""
_LEAST = 1e-300
"""In place of a random number that is exactly 0, which has no logarithm."""


def pick(
    candidates: Sequence[Candidate], leased: Sequence[int], counts: Sequence[int], load_weight: float = LOAD_WEIGHT
) -> int | None:
    """The index of the best candidate with room, or None. `leased` (GPU-us) and `counts` are in candidate order.

    Work is clamped to the limit, so that an idle worker admits any request; it fits iff
    `leased + outside + work <= limit` and `count < seats`. The score is `score + lift + load_weight * free share after
    this request`; of equals the first wins, and `sample` has shuffled them.
    """
    best: int | None = None
    best_score = 0.0
    for index, candidate in enumerate(candidates):
        limit = candidate.limit
        full = leased[index] + candidate.outside + min(candidate.work, limit)
        if limit <= 0 or full > limit or counts[index] >= candidate.seats:
            continue
        score = candidate.score + candidate.lift + load_weight * (1 - full / limit)
        if best is None or score > best_score:
            best, best_score = index, score
    return best


def lifts(picker: PickerName, count: int, most: float, rng: Random) -> Sequence[float]:
    """What the picker adds to each of `count` candidates in sampled order; empty where that is nothing.

    `most` is how far apart two scores can be. With Gumbel noise on it, the highest score is a draw by softmax over
    `score / TEMPERATURE`, live load included.
    """
    if picker == "weighted_random":
        return [-TEMPERATURE * log(rng.expovariate(1.0) or _LEAST) for _ in range(count)]
    if picker == "power_of_two":
        return [most + 1.0 if index < DRAWN else 0.0 for index in range(count)]
    return ()


def native_first(
    lifted: Sequence[float], states: Sequence[UpstreamState], foreign: frozenset[str], most: float
) -> Sequence[float]:
    """`lifted`, with those that would be asked in other words than the caller's behind all others that have room.
    `most`: how far apart two of their scores can be, live load included."""
    given = lifted or [0.0] * len(states)
    below = max(given, default=0.0) - min(given, default=0.0) + most + 1.0
    return [lift - below * (state.upstream.name in foreign) for lift, state in zip(given, states, strict=True)]


def sample(candidates: Sequence[T], rng: Random, k: int = MAX_SAMPLED) -> list[T]:
    """At most `k` different candidates in random order, each set and order equally likely.

    The order matters as much as the choice: ties go to the first, and replicas that see equal loads must not all send
    to the same worker.
    """
    count, draw = len(candidates), rng.random
    if count <= k:  # by random keys: a third of what Random.sample takes for all of a list
        return sorted(candidates, key=lambda _: draw()) if count > 1 else list(candidates)
    chosen: dict[int, None] = {}  # in the order of their first draw
    while len(chosen) < k:
        chosen[int(draw() * count)] = None
    return [candidates[index] for index in chosen]


def dealt(candidates: Sequence[T], rng: Random) -> Iterator[T]:
    """All of them in random order, one at a time: a shuffle that costs no more than what is taken of it."""
    moved: dict[int, int] = {}
    for last in range(len(candidates) - 1, -1, -1):
        at = int(rng.random() * (last + 1))
        yield candidates[moved.get(at, at)]
        moved[at] = moved.get(last, last)
