"""Two attempts: one wins, and of neither is anything left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.race import Failed, Lane, Lost, Race
from gateway.errors import DeadlineExceeded, GatewayError, Reset

BROKE: Any = object()


async def never(_: Lane) -> Failed:
    await asyncio.Event().wait()
    raise AssertionError


async def winning(lane: Lane) -> Failed:
    lane.claim()
    return []


async def failing(_: Lane) -> Failed:
    return [(BROKE, Reset("x"))]


async def test_the_winner_cancels_the_other() -> None:
    race = Race()
    first = race.enter(never)
    assert await race.look(first, 0.0)
    race.enter(winning)
    assert await race.results() == [[]]
    assert first.task.cancelled()
    assert first.lost
    await race.stop()


async def test_where_nobody_wins_all_failures_are_told() -> None:
    race = Race()
    race.enter(failing)
    race.enter(failing)
    assert [len(each) for each in await race.results()] == [1, 1]


async def test_one_that_fails_leaves_the_other_alone() -> None:
    race, slow = Race(), asyncio.Event()

    async def later(lane: Lane) -> Failed:
        await slow.wait()
        lane.claim()
        return []

    race.enter(later)
    race.enter(failing)
    asyncio.get_running_loop().call_soon(slow.set)
    assert await race.results() == [[]]


async def test_who_comes_second_may_not_speak() -> None:
    race = Race()
    lanes = [race.enter(never), race.enter(never)]
    await asyncio.sleep(0)
    lanes[1].claim()
    lanes[1].claim()  # and again: it is the one
    with pytest.raises(Lost):
        lanes[0].claim()
    await race.stop()
    assert all(lane.task.cancelled() for lane in lanes)


@pytest.mark.parametrize("error", [DeadlineExceeded("late"), ValueError("a mistake of ours")])
async def test_what_a_loser_may_end_with(error: Exception) -> None:
    race = Race()

    async def raising(_: Lane) -> Failed:
        raise error

    race.enter(raising)
    race.enter(winning)
    if isinstance(error, GatewayError):
        assert await race.results() == [[]]
    else:
        with pytest.raises(ValueError, match="mistake"):
            await race.results()
    await race.stop()


async def test_who_is_cancelled_twice_still_waits_for_both() -> None:
    race, ended = Race(), asyncio.Event()

    async def slow(_: Lane) -> Failed:
        try:
            await asyncio.Event().wait()
        finally:
            await ended.wait()
        return []

    lane = race.enter(slow)
    await asyncio.sleep(0)
    stopping = asyncio.create_task(race.stop())
    for _ in range(2):
        await asyncio.sleep(0)
        stopping.cancel()
    await asyncio.sleep(0)
    assert not stopping.done()
    ended.set()
    await asyncio.wait({stopping})
    assert stopping.cancelled()
    assert lane.task.done()


def crowd() -> int:
    return len(asyncio.all_tasks())


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["win", "fail", "hang", "die"])), min_size=2, max_size=2),
    st.integers(0, 6),
)
def test_no_task_outlives_it(lanes: list[tuple[int, str]], leaves: int) -> None:
    """Whatever they do at whichever turn, and whenever their owner is cancelled: at most one speaks."""
    spoke = list[int]()

    async def lane_of(turns: int, what: str, number: int, lane: Lane) -> Failed:
        for _ in range(turns):
            await asyncio.sleep(0)
        if what == "hang":
            await asyncio.Event().wait()
        if what == "fail":
            return [(BROKE, Reset("x"))]
        if what == "die":
            raise DeadlineExceeded("x")
        lane.claim()
        spoke.append(number)
        await asyncio.sleep(0)
        return []

    async def owner() -> None:
        race = Race()
        try:
            for number, (turns, what) in enumerate(lanes):
                race.enter(lambda lane, t=turns, w=what, n=number: lane_of(t, w, n, lane))  # type: ignore[misc]
            await race.results()
        finally:
            await race.stop()

    async def main() -> None:
        before, task = crowd(), asyncio.create_task(owner())
        for _ in range(leaves):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        assert crowd() == before

    asyncio.run(main())
    assert len(spoke) <= 1
