from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Candidate
from gateway.routing.decide import decide
from gateway.routing.forecast import (
    MANAGED_EACH_SECONDS,
    MANAGED_FIRST_SECONDS,
    PACE_MOST,
    Forecast,
    Pace,
    correct,
    error,
    forecast,
)
from gateway.routing.learn import PRIOR
from tests.worlds import board, request

ASKED = request(prompt_bytes=4200, max_tokens=100)


def candidates() -> tuple[Candidate, Candidate]:
    """A worker (8 ms a step, 0.06 ms a sequence, 0.04 ms a prompt token) and an API."""
    decision = decide(ASKED, board(), Random(1))
    return decision.primary[0].candidates[0], decision.overflow[0].candidates[0]


def test_an_idle_worker_needs_a_step_for_each_token_and_its_prompt_before() -> None:
    said = forecast(candidates()[0], 1, 0, PRIOR)
    each = (8 + 0.06 + 0.04 * PRIOR.prompt / PRIOR.output) / 1000
    assert (said.prompt, said.output) == (1000, 100)
    assert said.each == pytest.approx(each)
    assert said.first == pytest.approx(each + 0.040)
    assert said.total == pytest.approx(said.first + 99 * each)
    assert said.price is not None
    assert said.price > 0, "our own GPUs are never free"


def test_a_busy_worker_is_slower() -> None:
    idle, busy = (forecast(candidates()[0], 1, inflight, PRIOR) for inflight in (0, 60))
    assert idle.first < busy.first
    assert idle.total < busy.total


def test_a_bought_api_is_priced_by_its_list_and_assumed_to_take_its_usual_time() -> None:
    one = candidates()[1]
    said = forecast(one, 1, 500, PRIOR)
    assert (said.first, said.each, said.price) == (MANAGED_FIRST_SECONDS, MANAGED_EACH_SECONDS, one.price)


def test_choices_are_written_side_by_side() -> None:
    one = candidates()[0]
    four = decide(replace(ASKED, n=4), board(), Random(1)).primary[0].candidates[0]
    assert forecast(four, 4, 0, PRIOR).output == 400
    assert forecast(four, 4, 0, PRIOR).total < 2 * forecast(one, 1, 0, PRIOR).total


def test_the_pace_finds_a_worker_that_is_three_times_slower_than_assumed() -> None:
    worker, pace, rng = candidates()[0], Pace(), Random(1)
    truth = forecast(worker, 1, 8, PRIOR)
    for _ in range(200):
        said = forecast(worker, 1, 8, PRIOR, pace)
        noise = rng.lognormvariate(0, 0.2)
        pace = correct(pace, said, 3 * truth.first * noise, 3 * truth.each * noise)
    said = forecast(worker, 1, 8, PRIOR, pace)
    assert said.first == pytest.approx(3 * truth.first, rel=0.25)
    assert said.total == pytest.approx(3 * truth.total, rel=0.25)


times = st.none() | st.floats(0, 1e6)


@given(st.lists(st.tuples(times, times), max_size=50))
def test_no_answer_drives_the_pace_out_of_bounds(rows: list[tuple[float | None, float | None]]) -> None:
    pace, said = Pace(), Forecast(100, 100, 0.1, 0.01, 1.0, None)
    for first, each in rows:
        pace = correct(pace, said, first, each)
    assert 1 / PACE_MOST <= pace.first <= PACE_MOST
    assert 1 / PACE_MOST <= pace.each <= PACE_MOST


@pytest.mark.parametrize(
    ("said", "was", "wrong"), [(1.0, 2.0, 0.5), (3.0, 2.0, 0.5), (2.0, 2.0, 0.0), (1.0, 0.0, None)]
)
def test_the_error_is_a_share_of_what_was(said: float, was: float, wrong: float | None) -> None:
    assert error(said, was) == wrong
