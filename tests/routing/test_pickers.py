"""The pick by live load, case by case, and its sample. That Lua agrees: tests/fleet/test_leases_pick.py."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import LOAD_WEIGHT, Candidate, Served, Speed, Upstream
from gateway.routing.pickers import MAX_SAMPLED, pick, sample


def candidate(
    name: str = "a", *, score: float = 0.0, work: int = 10, limit: int = 100, seats: int = 4, outside: int = 0
) -> Candidate:
    upstream = Upstream(
        name, "h100", "local", "http://10.0.0.1", "openai", "eu", (), Speed(8, 0.06, 0.04), limit, seats
    )
    return Candidate(upstream, Served("h100", "m"), score, work, limit, seats, outside, life=0)


EVEN = [candidate("a"), candidate("b")]

PICKS = {
    "nobody": ([], [], [], None),
    "the less loaded": (EVEN, [50, 40], [1, 1], 1),
    "ties go to the first": (EVEN, [40, 40], [1, 1], 0),
    "a better static score outweighs load": ([candidate(), candidate(score=0.2)], [0, 10], [0, 1], 1),
    "a better static score does not outweigh more load": ([candidate(), candidate(score=0.2)], [0, 30], [0, 1], 0),
    "exactly full fits": ([candidate()], [90], [1], 0),
    "one more does not": ([candidate()], [91], [1], None),
    "no seat": ([candidate()], [0], [4], None),
    "the last seat": ([candidate()], [0], [3], 0),
    "an idle worker admits any request": ([candidate(work=1000)], [0], [0], 0),
    "a busy one does not": ([candidate(work=1000)], [1], [1], None),
    "nor one busy for others": ([candidate(work=1000, outside=1)], [0], [0], None),
    "outside work counts": ([candidate(outside=90), candidate(outside=91)], [0, 0], [0, 0], 0),
    "outside work is load": ([candidate(outside=20), candidate()], [0, 10], [0, 0], 1),
    "no limit, no room": ([candidate(limit=0, work=0)], [0], [0], None),
    "unlike limits compare by share": ([candidate(limit=100), candidate(limit=1000)], [50, 400], [1, 1], 1),
    "negative scores": ([candidate(score=-5), candidate(score=-4)], [0, 0], [0, 0], 1),
}


@pytest.mark.parametrize("case", PICKS)
def test_pick(case: str) -> None:
    candidates, leased, counts, expected = PICKS[case]
    assert pick(candidates, leased, counts) == expected


def test_load_weighs_as_much_as_a_perfect_static_score() -> None:
    assert LOAD_WEIGHT == 1.0
    full_but_perfect, idle = candidate(score=1.0, work=100, seats=9), candidate(work=0)
    assert pick([full_but_perfect, idle], [0, 0], [0, 0]) == 0


@given(st.integers(0, 30), st.integers(0, 10), st.integers())
def test_a_sample_is_different_candidates(size: int, k: int, seed: int) -> None:
    candidates = [candidate(str(n)) for n in range(size)]
    chosen = sample(candidates, Random(seed), k)
    assert len(chosen) == min(size, k)
    assert len({one.upstream.name for one in chosen}) == len(chosen)
    assert {one.upstream.name for one in chosen} <= {one.upstream.name for one in candidates}


@pytest.mark.parametrize("size", [MAX_SAMPLED, 3 * MAX_SAMPLED])
def test_every_candidate_comes_first_equally_often(size: int) -> None:
    candidates, rng = [candidate(str(n)) for n in range(size)], Random(1)
    rounds = 500 * size
    first = Counter(sample(candidates, rng)[0].upstream.name for _ in range(rounds))
    assert len(first) == size
    assert all(0.75 < count * size / rounds < 1.25 for count in first.values())
