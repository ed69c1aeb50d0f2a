from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Learned, Slo, Speed
from gateway.routing.learn import PRIOR
from gateway.routing.limit import (
    CAUTION,
    DEEPEST,
    FULL,
    HIGHEST,
    MOST_STEPS,
    RATE,
    STEEP,
    Admitted,
    bounds,
    clamp,
    expected_limit_us,
    factor,
    guarding,
)
from gateway.routing.priors import DEFAULT_SPEED, work_us

CHAT = Slo(1.0, 0.030)
CODE = Learned(prompt=2048, text=2048 * 3.4, output=28, seen=1000)
DOWN, UP = math.exp(-RATE * 0.99), math.exp(RATE * 0.01)

scales = st.floats(0.01, 100)
targets = st.floats(0.5, 0.999)
shares = st.floats(0, 1)


@pytest.mark.parametrize(
    ("met", "full", "then", "now", "expected"),
    [
        (False, 1.0, 1.0, 1.0, DOWN),
        (False, 0.1, 1.0, 1.0, DOWN),  # a miss counts however empty its worker was
        (False, 1.0, 1.0, 0.5, 1.0),  # the burst has already halved it
        (False, 1.0, 1.0, 0.505, 0.5 / 0.505),  # no further than to the half
        (False, 1.0, 1.0, 0.3, 1.0),  # below the half already: this miss moves nothing, and never upwards
        (False, 1.0, 0.3, 1.0, DOWN),
        (True, 1.0, 1.0, 1.0, UP),
        (True, FULL, 1.0, 1.0, UP),
        (True, FULL - 0.01, 1.0, 1.0, 1.0),  # light hours prove nothing
        (True, 1.0, 1.0, 1.05, UP),
        (True, 1.0, 1.0, 1.1, 1.0),  # what was proved at 1 says nothing of more than 1.1
        (True, 1.0, 1.0, 2.0, 1.0),  # and never downwards
        (True, 1.0, 1.2, 1.0, UP ** (1.2**STEEP)),  # it met its SLO at more than is allowed now
        (True, 1.0, 2.0, 1.0, UP**MOST_STEPS),
        (True, FULL - 0.01, 2.0, 1.0, 1.0),
    ],
)
def test_one_vote(met: bool, full: float, then: float, now: float, expected: float) -> None:
    assert factor(met, 0.99, Admitted(then, full), now) == pytest.approx(expected)


@given(st.booleans(), targets, scales, shares, scales)
def test_a_miss_never_raises_and_a_met_answer_never_lowers(
    met: bool, target: float, then: float, full: float, now: float
) -> None:
    step = factor(met, target, Admitted(then, full), now)
    assert step >= 1 if met else 0 < step <= 1
    if not met and now > DEEPEST * then:
        assert now * step >= DEEPEST * then * (1 - 1e-12)
    if met and now < HIGHEST * then:
        assert now * step <= HIGHEST * then * (1 + 1e-12)


@given(st.lists(st.tuples(st.booleans(), st.floats(FULL, 1)), min_size=2, max_size=5), targets)
def test_votes_seen_at_the_same_scale_commute(votes: list[tuple[bool, float]], target: float) -> None:
    steps = [factor(met, target, Admitted(1.0, full), 1.0) for met, full in votes]
    ends = {round(math.prod(order), 12) for order in permutations(steps)}
    assert len(ends) == 1


@pytest.mark.parametrize("target", [0.9, 0.99])
def test_at_rest_the_share_of_misses_is_what_the_target_allows(target: float) -> None:
    """Misses grow with the limit; the rule finds the limit at which they are 1 - target."""
    rng, scale, misses, votes = Random(7), 1.0, 0, 40_000
    for n in range(2 * votes):
        met = rng.random() > min(1.0, (1 - target) * (scale / 3) ** 4)
        misses += not met and n >= votes
        scale *= factor(met, target, Admitted(scale, 1.0), scale)
    assert misses / votes == pytest.approx(1 - target, rel=0.1)
    assert scale == pytest.approx(3, rel=0.35)


def test_a_burst_halves_the_scale_once() -> None:
    scale = 1.0
    for _ in range(500):
        scale *= factor(False, 0.99, Admitted(1.0, 1.0), scale)
    assert scale == pytest.approx(DEEPEST)


@pytest.mark.parametrize("misses", [0.02, 0.04, 0.06])
def test_a_burst_settles_where_its_own_misses_would_have_been_few_enough(misses: float) -> None:
    """However many votes it has: `misses / (1 - misses)` is `scale ** -STEEP` times what the target allows."""
    rng, scale, seen = Random(5), 1.0, []
    for _ in range(20_000):
        scale *= factor(rng.random() > misses, 0.99, Admitted(1.0, 1.0), scale)
        seen.append(math.log(scale))
    allowed = 0.01 / 0.99
    assert math.exp(fmean(seen[5_000:])) == pytest.approx((allowed * (1 - misses) / misses) ** (1 / STEEP), rel=0.05)


def test_replicas_that_vote_by_what_they_last_saw_do_not_overshoot() -> None:
    """Of a burst 5 % missed. Each of 16 saw the scale at the floor last, and casts 10 votes before it looks again."""
    rng, scale = Random(5), DEEPEST
    for _ in range(16):
        seen = DEEPEST
        for _ in range(10):
            step = factor(rng.random() > 0.05, 0.99, Admitted(1.0, 1.0), seen)
            seen, scale = seen * step, scale * step
    assert DEEPEST < scale < 0.9


def test_the_expected_limit_is_that_of_the_largest_batch_that_keeps_the_slo() -> None:
    """22 ms for 0.06 + 0.04 x 1155 / 211 = 0.279 ms per sequence: 78.9 sequences of 211 x 0.185 ms, and 1 s of
    prompts."""
    assert expected_limit_us(DEFAULT_SPEED, 128, CHAT, PRIOR) == pytest.approx(
        CAUTION * (78.9 * 39_035 + 1e6), rel=0.01
    )


@pytest.mark.parametrize(
    ("stricter", "looser"),
    [(Slo(1.0, 0.020), CHAT), (Slo(0.5, 0.030), CHAT), (CHAT, Slo(1.0, None)), (CHAT, Slo(2.0, 0.030))],
)
def test_a_stricter_slo_expects_less(stricter: Slo, looser: Slo) -> None:
    assert expected_limit_us(DEFAULT_SPEED, 128, stricter, PRIOR) < expected_limit_us(DEFAULT_SPEED, 128, looser, PRIOR)


@pytest.mark.parametrize("slo", [Slo(1.0, 0.100), Slo(1.0, None)])
def test_where_the_seats_bound_the_batch_all_of_them_may_be_taken(slo: Slo) -> None:
    """16 seats under an SLO that 126 sequences would keep: the engine's own bound needs no caution."""
    answers = 16 * work_us(DEFAULT_SPEED, 16, 0, 211)
    assert expected_limit_us(DEFAULT_SPEED, 16, slo, PRIOR) == pytest.approx(answers + CAUTION * 1e6)


def test_long_prompts_with_short_answers_expect_less() -> None:
    code = expected_limit_us(DEFAULT_SPEED, 128, Slo(1.0, 0.100), CODE)
    assert code < expected_limit_us(DEFAULT_SPEED, 128, Slo(1.0, 0.100), PRIOR) / 3


@given(
    st.builds(Speed, st.floats(0.1, 100), st.floats(0.001, 5), st.floats(0.001, 5)),
    st.integers(1, 1024),
    st.builds(Slo, st.none() | st.floats(0.01, 60), st.none() | st.floats(0.001, 1)),
    st.builds(Learned, st.floats(1, 1e5), st.floats(1, 1e6), st.floats(1, 1e5)),
    st.none() | st.integers(1, 10**6),
    scales,
)
def test_the_limit_holds_between_one_request_and_all_seats(
    speed: Speed, seats: int, slo: Slo, learned: Learned, kv: int | None, scale: float
) -> None:
    expected = expected_limit_us(speed, seats, slo, learned)
    one = work_us(speed, seats, round(learned.prompt), round(learned.output))
    within = bounds(expected, speed, seats, learned, kv)
    limit = clamp(scale, within) * expected
    assert one * (1 - 1e-9) <= limit <= seats * one * (1 + 1e-9)
    assert clamp(clamp(scale, within), within) == clamp(scale, within)


def test_memory_bounds_it_where_it_is_smaller_than_the_seats() -> None:
    expected = expected_limit_us(DEFAULT_SPEED, 128, CHAT, PRIOR)
    _, free = bounds(expected, DEFAULT_SPEED, 128, PRIOR)
    _, tight = bounds(expected, DEFAULT_SPEED, 128, PRIOR, kv_tokens=13_660)
    assert tight == pytest.approx(free * 10 / 128, rel=1e-3)


def test_the_strictest_slo_guards_a_pool() -> None:
    loose, tight = Slo(2.0, 0.020, 0.95), Slo(0.5, None, 0.99)
    assert guarding([loose, tight]) == Slo(0.5, 0.020, 0.99)
    assert guarding([replace(loose, total=9.0), replace(tight, total=4.0), tight]) == Slo(0.5, 0.020, 0.99, 4.0)
    assert guarding([tight]) == tight
    assert guarding([]) == Slo()
    assert guarding([replace(loose, target=0.5)]).target == 0.5


def test_a_total_expects_what_its_share_of_each_token_does() -> None:
    """A mean answer of 28 tokens within 2.8 s is a tenth of a second for each."""
    whole, each = Slo(1.0, None, total=2.8), Slo(1.0, 0.1)
    assert expected_limit_us(DEFAULT_SPEED, 256, whole, CODE) == expected_limit_us(DEFAULT_SPEED, 256, each, CODE)
    both = Slo(1.0, 0.05, total=2.8)
    assert expected_limit_us(DEFAULT_SPEED, 256, both, CODE) < expected_limit_us(DEFAULT_SPEED, 256, each, CODE)
