from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.headroom import Headroom
from gateway.model import Allowance


def told(headroom: Headroom, *said: Allowance, now: float = 0.0, tokens: int = 100) -> None:
    """One request and its answer."""
    headroom.told("a", headroom.sent("a", tokens, now), said, now)


def test_an_account_that_tells_nothing_is_unknown() -> None:
    headroom = Headroom()
    told(headroom)
    assert (headroom.left("a", 0.0), headroom.room("a", 0.0)) == (None, None)
    assert (headroom.left("b", 0.0), headroom.room("b", 0.0)) == (None, None)


def test_the_scarcest_limit_counts() -> None:
    headroom = Headroom()
    told(headroom, Allowance("requests", 100, 50, 30, True), Allowance("tokens", 1000, 200, 30, True), tokens=1000)
    assert headroom.left("a", 0.0) == pytest.approx(0.2)
    assert headroom.room("a", 0.0) == 0, "200 tokens are less than a request of ours takes"
    assert headroom.room("a", 30.0) == 1


@pytest.mark.parametrize(("refills", "left"), [(True, [0.5, 0.75, 1.0, 1.0]), (False, [0.5, 0.5, 1.0, 1.0])])
def test_it_comes_back_bit_by_bit_or_at_once(refills: bool, left: list[float]) -> None:
    headroom = Headroom()
    told(headroom, Allowance("requests", 100, 50, 30, refills))
    assert [headroom.left("a", now) for now in (0.0, 15.0, 30.0, 90.0)] == pytest.approx(left)


def test_what_is_sent_between_two_answers_is_counted() -> None:
    headroom = Headroom()
    told(headroom, Allowance("requests", 10, 2, 0, False))
    told(headroom, Allowance("requests", 10, 2, 60, False))
    assert headroom.room("a", 1.0) == 2
    first, second = headroom.sent("a", 100, 1.0), headroom.sent("a", 100, 1.0)
    assert headroom.room("a", 1.0) == 0
    headroom.told("a", first, [Allowance("requests", 10, 1, 59, False)], 1.5)
    assert headroom.room("a", 1.5) == 0, "the API has yet to count the second one"
    headroom.told("a", second, [Allowance("requests", 10, 0, 59, False)], 1.6)
    headroom.told("a", first, [Allowance("requests", 10, 9, 59, False)], 1.7)
    assert headroom.room("a", 1.7) == 0, "an answer that comes late tells nothing new"
    assert headroom.room("a", 61.0) == 10


def test_a_new_window_is_used_up_too() -> None:
    headroom = Headroom()
    told(headroom, Allowance("requests", 3, 0, 10, False))
    assert headroom.room("a", 10.0) == 3
    for left in (2, 1, 0):
        headroom.sent("a", 100, 11.0)
        assert headroom.room("a", 11.0) == left


@given(st.integers(1, 50), st.lists(st.tuples(st.booleans(), st.floats(0, 0.5)), max_size=100))
def test_an_account_that_only_we_use_is_never_asked_for_more_than_it_has(
    limit: int, steps: list[tuple[bool, float]]
) -> None:
    """One window: requests go out wherever there is room, and answers come when they come, in order."""
    headroom, now, left = Headroom(), 0.0, limit
    told(headroom, Allowance("requests", limit, limit, 1000.0, False))
    under_way: list[tuple[int, Allowance]] = []
    for answered, passes in steps:
        now += passes
        if answered and under_way:
            number, said = under_way.pop(0)
            headroom.told("a", number, [said], now)
        assert headroom.room("a", now) == left
        if left:
            left -= 1
            under_way.append((headroom.sent("a", 1, now), Allowance("requests", limit, left, 1000.0 - now, False)))


@pytest.mark.parametrize(
    ("said", "back"),
    [
        (Allowance("requests", 60, 0, 60, True), 1.0),  # one a second
        (Allowance("requests", 60, 0, 60, False), 60.0),
        (Allowance("tokens", 600, 0, 60, True), 60.0),  # a request of ours takes more than there ever is
        (Allowance("requests", 60, 1, 60, True), 0.0),
    ],
)
def test_when_it_takes_another_request(said: Allowance, back: float) -> None:
    headroom = Headroom()
    told(headroom, said, tokens=1000)
    assert headroom.back("a", 0.0) == pytest.approx(back)
    assert headroom.back("b", 3.0) == 3.0
