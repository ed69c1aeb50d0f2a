"""The pick by live load, case by case, its sample, and what each picker makes of it. That Lua agrees:
tests/fleet/test_leases_pick.py."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import LOAD_WEIGHT, Candidate, Served, Speed, Upstream
from gateway.routing.decide import decide
from gateway.routing.pickers import DRAWN, MAX_SAMPLED, TEMPERATURE, dealt, lifts, pick, sample
from tests.worlds import board, policy, request, rule, upstream


def candidate(
    name: str = "a",
    *,
    score: float = 0.0,
    lift: float = 0.0,
    work: int = 10,
    limit: int = 100,
    seats: int = 4,
    outside: int = 0,
) -> Candidate:
    upstream = Upstream(
        name, "h100", "local", "http://10.0.0.1", "openai", "eu", (), Speed(8, 0.06, 0.04), limit, seats
    )
    return Candidate(upstream, Served("h100", "m"), score, work, limit, seats, outside, life=0, lift=lift)


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
    "a lift counts as the score does": ([candidate(), candidate(lift=0.2)], [0, 10], [0, 1], 1),
    "a lift gives no room": ([candidate(), candidate(lift=9.0)], [0, 91], [0, 1], 0),
    "negative scores": ([candidate(score=-5), candidate(score=-4)], [0, 0], [0, 0], 1),
}


@pytest.mark.parametrize("case", PICKS)
def test_pick(case: str) -> None:
    candidates, leased, counts, expected = PICKS[case]
    assert pick(candidates, leased, counts) == expected


@pytest.mark.parametrize(("weight", "chosen"), [(0.0, 0), (0.4, 0), (0.6, 1), (5.0, 1)])
def test_the_weight_of_the_load_is_the_rules(weight: float, chosen: int) -> None:
    assert pick([candidate(score=0.25), candidate()], [50, 0], [1, 0], weight) == chosen


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


@given(st.integers(0, 40), st.integers(0, 40), st.integers())
def test_what_is_dealt_is_a_shuffle_however_much_is_taken(size: int, taken: int, seed: int) -> None:
    assert sorted(dealt(range(size), Random(seed))) == list(range(size))
    assert list(islice(dealt(range(size), Random(seed)), taken)) == list(dealt(range(size), Random(seed)))[:taken]


def test_every_order_is_dealt_equally_often() -> None:
    rng = Random(1)
    orders = Counter(tuple(dealt("abc", rng)) for _ in range(6000))
    assert len(orders) == 6
    assert all(850 < count < 1150 for count in orders.values())


ROUNDS = 8_000


def shares(picker: str, scores: list[float], leased: list[int], weight: float) -> list[float]:
    """How often each candidate is picked, each having room."""
    rng, picked = Random(1), Counter[int | None]()
    for _ in range(ROUNDS):
        added = lifts(picker, len(scores), 2.0, rng)  # type: ignore[arg-type]
        made = [candidate(score=score, lift=lift) for score, lift in zip(scores, added, strict=True)]
        picked[pick(made, leased, [0] * len(made), weight)] += 1
    return [picked[index] / ROUNDS for index in range(len(scores))]


@pytest.mark.parametrize(
    ("scores", "leased", "weight"),
    [
        ([0.0, 0.0, 0.0], [0, 0, 0], 1.0),
        ([0.5, 0.6, 0.3], [0, 0, 0], 1.0),
        ([0.2, 0.2], [40, 0], 0.5),
        ([0.5], [0], 1.0),
    ],
)
def test_weighted_random_is_a_draw_by_softmax_over_score_and_load(
    scores: list[float], leased: list[int], weight: float
) -> None:
    whole = [
        exp((score + weight * (1 - (load + 10) / 100)) / TEMPERATURE)
        for score, load in zip(scores, leased, strict=True)
    ]
    expected = [one / sum(whole) for one in whole]
    assert shares("weighted_random", scores, leased, weight) == pytest.approx(expected, abs=0.02)


def test_power_of_two_is_the_better_of_the_first_two() -> None:
    assert DRAWN == 2
    assert shares("power_of_two", [0.1, 0.9, 2.0, 2.0], [0, 0, 0, 0], 0.0) == [0, 1, 0, 0]
    assert shares("power_of_two", [0.1, 0.9, 2.0, 2.0], [0, 91, 0, 0], 0.0)[0] == 1, "the other has no room"
    assert shares("power_of_two", [0.1, 0.9, 0.0, 2.0], [95, 91, 0, 0], 0.0) == [0, 0, 0, 1], "neither has"


def test_best_lifts_nobody() -> None:
    assert lifts("best", 8, 2.0, Random(1)) == ()


@pytest.mark.parametrize("picker", ["weighted_random", "power_of_two"])
def test_a_rules_picker_lifts_its_candidates_and_leaves_their_scores(picker: str) -> None:
    workers = tuple(upstream(f"w{n}", "gpu") for n in range(20))
    made = policy(workers, (rule(spill=None, picker=picker, scorers=(("load", 1.0), ("errors", 0.5))),))
    seen, firsts, rng = board(made), Counter[str](), Random(1)
    for _ in range(2_000):
        candidates = decide(request(), seen, rng).primary[0].candidates
        assert {one.score for one in candidates} == {0.5}
        assert len({one.lift for one in candidates}) == (len(candidates) if picker == "weighted_random" else 2)
        index = pick(candidates, [0] * len(candidates), [0] * len(candidates))
        assert index is not None
        firsts[candidates[index].upstream.name] += 1
    assert len(firsts) == 20
    assert max(firsts.values()) < 2 * 2_000 / 20


def test_power_of_two_draws_two_of_the_whole_fleet() -> None:
    """The least loaded of many is found no more often than two draws find it."""
    workers = tuple(upstream(f"w{n}", "gpu") for n in range(10))
    made = policy(workers, (rule(spill=None, picker="power_of_two"),))
    seen, rng, found = board(made), Random(1), 0
    for _ in range(2_000):
        candidates = decide(request(), seen, rng).primary[0].candidates
        loads = [0 if one.upstream.name == "w0" else 1000 for one in candidates]
        index = pick(candidates, loads, [0] * len(candidates))
        assert index is not None
        found += candidates[index].upstream.name == "w0"
    assert found / 2_000 == pytest.approx(2 / 10, abs=0.03)
