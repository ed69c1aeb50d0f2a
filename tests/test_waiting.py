from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import waiting
from gateway.waiting import MAX_WAITERS, RETRY_AFTER_UNKNOWN_SECONDS, Line, Lines, Waiter


def joined(line: Line, rank: int) -> Waiter:
    waiter = line.join(rank)
    assert waiter is not None
    return waiter


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100)), max_size=60))
def test_the_head_is_always_the_oldest_of_the_highest_class_still_there(steps: list[tuple[int, int]]) -> None:
    line, there = Line(), list[Waiter]()
    for rank, which in steps:
        if there and which % 3 == 0:
            line.leave(there.pop(which % len(there)))
        else:
            there.append(joined(line, rank))
        assert line.head is (min(there) if there else None)
        assert line.size == len(there)


def test_who_becomes_first_is_woken() -> None:
    line = Line()
    first, second, third = (joined(line, 1) for _ in range(3))
    line.leave(second)
    assert not third.turn.is_set()
    line.leave(first)
    assert third.turn.is_set()


def test_a_line_has_an_end() -> None:
    line = Line()
    for _ in range(MAX_WAITERS):
        joined(line, 1)
    assert line.join(1) is None
    assert line.join(2) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 3)), max_size=80))
def test_in_a_full_line_the_last_of_the_lowest_class_makes_room_for_a_higher_one(
    steps: list[tuple[int, bool, int]],
) -> None:
    line, there = Line(), list[tuple[Waiter, bool]]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "MAX_WAITERS", 4)
        for rank, shed, which in steps:
            if there and which == 0:
                line.leave(there.pop(rank % len(there))[0])
                continue
            full = len(there) == 4
            lower = [waiter for waiter, may in there if may and waiter.rank > rank]
            victim = max(lower) if full and lower else None
            waiter = line.join(rank, shed)
            assert (waiter is None) == (full and victim is None)
            if victim is not None:
                assert victim.gone
                assert victim.turn.is_set(), "it wakes to be told"
                there = [one for one in there if one[0] is not victim]
                line.leave(victim)
            if waiter is not None:
                there.append((waiter, shed))
            assert line.size == len(there) <= 4
            assert not any(one.gone for one, _ in there)
            assert line.head is (min(there)[0] if there else None)


def test_what_those_in_line_will_take() -> None:
    lines = Lines()
    assert lines.ahead(0.0) == {}
    for tick in range(1, 200):
        lines["gpu"].released(tick * 0.5)
    assert lines.ahead(99.5) == {}, "nobody waits"
    for _ in range(10):
        joined(lines["gpu"], 1)
    joined(lines["quiet"], 1)
    assert lines.ahead(99.5) == {"gpu": pytest.approx(5.0, rel=0.05)}, "where no rate is known nothing is said"


def test_retry_after_follows_the_drain_rate() -> None:
    line = Line()
    assert line.retry_after(0.0) == RETRY_AFTER_UNKNOWN_SECONDS
    for tick in range(1, 200):
        line.released(tick * 0.5)
    for _ in range(9):
        joined(line, 1)
    assert line.retry_after(99.5) in (5, 6)  # ten requests at two a second
    assert line.retry_after(200.0) == 60, "a line that stopped moving promises nothing"
