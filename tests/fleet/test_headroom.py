from __future__ import annotations

from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.headroom import MOST_TOKENS, USUAL_TOKENS, Headroom, Sent
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
    under_way: list[tuple[Sent, Allowance]] = []
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


TOKENS = Allowance("tokens", 30_000, 30_000, 60, True)


def test_one_request_of_absurd_size_takes_what_there_is_and_no_more() -> None:
    """`max_tokens: 1000000000` on an account of 30,000 tokens a minute: whole again within its minute, in small too."""
    headroom = Headroom()
    told(headroom, TOKENS)
    absurd = headroom.sent("a", 10**9, 0.0)
    assert (headroom.left("a", 0.0), headroom.left("a", 60.0)) == (0.0, pytest.approx(1.0))
    headroom.told("a", absurd, [TOKENS], 1.0)
    assert headroom.back("a", 1.0) == 1.0, "its size is not that of the others"


def test_nor_does_it_before_anything_is_known_of_the_account() -> None:
    headroom = Headroom()
    told(headroom, TOKENS, tokens=10**12)
    for _ in range(20):
        told(headroom, TOKENS)
    assert (headroom.room("a", 0.0) or 0) >= 30_000 // (MOST_TOKENS * 0.1 * 0.9**20 + USUAL_TOKENS)


def test_debts_go_no_deeper_than_the_limit() -> None:
    """A hundred absurd ones are under way when the answer to the first comes."""
    headroom = Headroom()
    told(headroom, TOKENS)
    first, *_ = [headroom.sent("a", 10**9, 0.0) for _ in range(100)]
    assert headroom.left("a", 120.0) == pytest.approx(1.0)
    headroom.told("a", first, [TOKENS._replace(remaining=0)], 0.0)
    assert headroom.left("a", 120.0) == pytest.approx(1.0)


def test_what_never_left_or_whose_answer_tells_nothing_is_given_back() -> None:
    headroom = Headroom()
    told(headroom, TOKENS, Allowance("requests", 10, 10, 60, False))
    headroom.untaken("a", headroom.sent("a", 10_000, 0.0), 0.0)
    assert headroom.left("a", 0.0) == 1.0
    sent = headroom.sent("a", 10_000, 0.0)
    headroom.told("a", sent, [Allowance("requests", 10, 9, 60, False)], 0.0)
    assert headroom.left("a", 0.0) == pytest.approx(0.9), "what it does not tell is given back, what it tells is not"
    headroom.untaken("a", Sent(1, 10_000), 0.0)
    headroom.untaken("b", Sent(1, 10_000), 0.0)
    assert headroom.left("a", 0.0) == pytest.approx(0.9), "a later answer knows better"


@given(
    st.booleans(),
    st.floats(1, 1e6),
    st.floats(0, 2),
    st.floats(0, 1e9),
    st.lists(st.tuples(st.integers(0, 10**12), st.floats(-1e4, 1e5), st.booleans()), max_size=20),
)
def test_no_account_is_ever_shut_for_good(
    refills: bool, limit: float, share: float, resets: float, steps: list[tuple[int, float, bool]]
) -> None:
    """Whatever is sent when, with answers that tell nothing or none at all, and a clock that jumps."""
    headroom, now = Headroom(), 1e6
    told(headroom, Allowance("tokens", limit, min(limit, limit * share), resets, refills), now=now)
    for tokens, passes, answered in steps:
        now += passes
        sent = headroom.sent("a", tokens, now)
        if answered:
            headroom.told("a", sent, [], now)
        back = headroom.back("a", now)
        assert isfinite(back)
        assert now <= back <= now + 2 * 86_400 + 1


def test_a_window_of_which_nobody_tells_refills_as_slowly_as_the_last_one() -> None:
    headroom = Headroom()
    told(headroom, Allowance("requests", 10, 0, 100, False))
    assert headroom.back("a", 0.0) == 100.0
    for _ in range(10):
        headroom.sent("a", 1, 101.0)
    assert headroom.room("a", 101.0) == 0
    assert headroom.back("a", 101.0) == pytest.approx(111.0)
    assert headroom.room("a", 201.0) == 10


@pytest.mark.parametrize(("refills", "back"), [(True, 1.0), (False, 60.0)])
def test_a_clock_that_goes_back_holds_nothing_up(refills: bool, back: float) -> None:
    headroom = Headroom()
    told(headroom, Allowance("requests", 60, 0, 60, refills), now=10_000.0)
    assert headroom.back("a", 500.0) == pytest.approx(500.0 + back)
    assert headroom.left("a", 560.0) == pytest.approx(1.0)


def test_upstreams_that_the_policy_no_longer_has_are_forgotten() -> None:
    headroom = Headroom()
    told(headroom, TOKENS)
    late = headroom.sent("a", 1, 0.0)
    headroom.keep(frozenset({"a"}))
    assert headroom.left("a", 0.0) is not None
    headroom.keep(frozenset({"b"}))
    assert headroom.left("a", 0.0) is None
    headroom.told("a", late, [TOKENS._replace(remaining=15_000)], 0.0)
    assert headroom.left("a", 0.0) == 0.5
    told(headroom, TOKENS)
    assert headroom.left("a", 0.0) == 1.0, "numbers go on from those under way"


def test_an_account_smaller_than_a_usual_request_takes_one_when_it_is_whole() -> None:
    headroom = Headroom()
    told(headroom, Allowance("tokens", 500, 500, 60, True))
    assert (headroom.back("a", 0.0), headroom.room("a", 0.0)) == (0.0, 1)
