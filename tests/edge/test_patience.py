"""What of a deadline one attempt may take."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.patience import HALF, hasty, meant, within
from gateway.edge.services import RETRY_BURST, RETRY_SHARE, RetryBudget
from gateway.model import Timeouts
from gateway.routing.forecast import Forecast
from gateway.upstreams.dialects.surface import ENDPOINTS
from tests.worlds import rule

USUAL = Timeouts()


def said(first: float, total: float) -> Forecast:
    return Forecast(10, 10, first, 0.01, total, None)


@pytest.mark.parametrize(
    ("left", "forecast", "stream", "last", "first_byte"),
    [
        (10.0, said(0.2, 2.0), True, False, 5.0),
        (10.0, said(0.2, 2.0), False, False, 6.0),  # three times the whole of it
        (10.0, said(3.0, 9.0), True, False, 9.0),
        (10.0, said(0.2, 2.0), True, True, 300.0),  # the total ends it
        (10.0, None, True, False, 5.0),
        (10_000.0, None, True, False, 300.0),
    ],
)
def test_the_first_attempt_leaves_time_for_another(
    left: float, forecast: Forecast | None, stream: bool, last: bool, first_byte: float
) -> None:
    made = within(USUAL, left, forecast, stream=stream, last=last)
    assert made.first_byte == pytest.approx(first_byte)
    assert made.total == min(USUAL.total, left)
    assert (made.connect, made.idle) == (USUAL.connect, USUAL.idle)


@given(st.floats(0.01, 1000), st.integers(1, 6))
def test_silent_upstreams_leave_each_attempt_something(left: float, attempts: int) -> None:
    for number in range(attempts):
        mine = within(USUAL, left, None, stream=True, last=number == attempts - 1)
        spent = min(mine.first_byte, mine.total)
        assert spent >= min(USUAL.first_byte, left * HALF)
        left -= spent
    assert left >= 0


@pytest.mark.parametrize(("seconds", "rule", "says"), [(1.0, 300.0, True), (5.0, 300.0, False), (1.0, 1.0, False)])
def test_less_time_than_the_rule_means_is_nobodys_failure(seconds: float, rule: float, says: bool) -> None:
    assert hasty(seconds, Timeouts(first_byte=rule)) is says


@given(st.lists(st.booleans(), max_size=3000))
def test_retries_are_a_share_of_traffic_and_one_burst(story: list[bool]) -> None:
    budget, requests, retries = RetryBudget(), 0, 0
    for arrives in story:
        if arrives:
            budget.request()
            requests += 1
        else:
            retries += budget.take()
        assert retries <= RETRY_BURST + RETRY_SHARE * requests
    assert 0 <= budget.tokens <= RETRY_BURST


def test_what_a_rule_does_not_say_is_as_its_endpoint_has_it() -> None:
    pictures, text = ENDPOINTS["images/generations"], ENDPOINTS["chat/completions"]
    plain = rule()
    assert pictures.timeouts is not None
    assert meant(plain, pictures) == pictures.timeouts
    assert pictures.timeouts.first_byte >= 300
    assert meant(plain, text) is plain.timeouts
    said = rule(timeouts=Timeouts(first_byte=7.0, idle=60.0), timeouts_said=("first_byte", "idle"))
    assert meant(said, pictures) == replace(pictures.timeouts, first_byte=7.0, idle=60.0)
    assert meant(said, text) is said.timeouts
