from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.waiting import MAX_WAITERS, RETRY_AFTER_UNKNOWN_SECONDS, Line, Waiter


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
    assert line.join(0) is None


def test_retry_after_follows_the_drain_rate() -> None:
    line = Line()
    assert line.retry_after(0.0) == RETRY_AFTER_UNKNOWN_SECONDS
    for tick in range(1, 200):
        line.released(tick * 0.5)
    for _ in range(9):
        joined(line, 1)
    assert line.retry_after(99.5) in (5, 6)  # ten requests at two a second
    assert line.retry_after(200.0) == 60, "a line that stopped moving promises nothing"
