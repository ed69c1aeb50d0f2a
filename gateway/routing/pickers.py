"""Order what is left by live load: the atomic pick in Python, and the sample of candidates that it chooses from.

`fleet/acquire.lua` is the same formula where the choice also takes the lease; this one serves explain, tests and
degraded mode. A property test holds the two equal, on the same doubles in the same order of operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from gateway.model import Candidate

T = TypeVar("T")

LOAD_WEIGHT = 1.0
"""Weight of the free share of a worker (0..1) beside the static score, which is a weighted sum of scorers (each 0..1).

The lease script gets it as an argument, so this is the only definition.
"""
MAX_SAMPLED = 8
"""The cost of a request must not grow with the fleet: a sample of it is asked (docs/architecture.md, step 5)."""


def pick(candidates: Sequence[Candidate], leased: Sequence[int], counts: Sequence[int]) -> int | None:
    """The index of the best candidate with room, or None. `leased` (GPU-us) and `counts` are in candidate order.

    Work is clamped to the limit, so that an idle worker admits any request; it fits iff
    `leased + outside + work <= limit` and `count < seats`. The score is `score + LOAD_WEIGHT * free share after this
    request`; of equals the first wins, and `sample` has shuffled them.
    """
    best: int | None = None
    best_score = 0.0
    for index, candidate in enumerate(candidates):
        limit = candidate.limit
        full = leased[index] + candidate.outside + min(candidate.work, limit)
        if limit <= 0 or full > limit or counts[index] >= candidate.seats:
            continue
        score = candidate.score + LOAD_WEIGHT * (1 - full / limit)
        if best is None or score > best_score:
            best, best_score = index, score
    return best


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
