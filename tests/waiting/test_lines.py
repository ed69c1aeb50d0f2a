"""Who is called when, and who is turned away."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Snapshot
from gateway.waiting import lines as lines_module
from gateway.waiting.lines import MOST_TRIES, RETRY_AFTER_SECONDS, SAFETY_TRIES, Found, Lines, Waiter
from gateway.waiting.news import more, rooms
from gateway.waiting.ring import Ask
from tests.worlds import state, upstream

MANY = 100


def joined(lines: Lines, rank: int = 1, backends: tuple[str, ...] = ("gpu",), **asked: object) -> Waiter:
    waiter = lines.join(Ask(rank, "t")._replace(**asked), dict.fromkeys(backends, 1), MANY)  # type: ignore[arg-type]
    assert waiter is not None
    return waiter


def in_vain(lines: Lines, waiter: Waiter) -> None:
    for backend in list(waiter.called):
        lines.answer(waiter, backend, Found.FULL)


async def test_who_stands_first_in_an_empty_line_looks_once_more_and_nobody_else_does() -> None:
    """What came free between its first look and its place in line was told to nobody."""
    lines, heard = Lines(), list[tuple[str, bool]]()
    lines.on_wait = lambda backend, waits: heard.append((backend, waits))
    first, second = joined(lines), joined(lines, kind="other")
    assert first.called == {"gpu"}
    in_vain(lines, first)
    assert second.called == {"gpu"}, "it might fit where the first does not"
    in_vain(lines, second)
    assert not joined(lines).called
    for waiter in lines.waiters("gpu"):
        lines.leave(waiter)
    assert heard == [("gpu", True), ("gpu", False)]


async def test_one_place_is_for_one_waiter_and_one_more_looks_whether_there_is_another() -> None:
    lines = Lines()
    waiters = [joined(lines, kind=number) for number in range(20)]
    for waiter in waiters[:MOST_TRIES]:
        in_vain(lines, waiter)
    assert not any(waiter.called for waiter in waiters)
    lines.wake("gpu")
    assert [bool(waiter.called) for waiter in waiters] == [True] + 19 * [False]
    lines.leave(waiters[0], served="gpu")
    assert waiters[1].called
    tries = 0
    while any(tried := [waiter for waiter in waiters if waiter.called]):
        in_vain(lines, tried[0])
        tries += 1
    assert tries == MOST_TRIES


async def test_news_during_a_turn_begin_another_with_the_first() -> None:
    lines = Lines()
    first, second = joined(lines), joined(lines, kind="other")
    lines.wake("gpu")
    in_vain(lines, first)
    assert first.called, "from the start: there may be room for it now"
    assert not second.called
    in_vain(lines, first)
    assert second.called


async def test_of_those_that_ask_alike_only_the_first_tries() -> None:
    lines = Lines()
    alike = [joined(lines, kind="k") for _ in range(5)]
    other = joined(lines, kind="other")
    in_vain(lines, alike[0])
    assert [waiter.called for waiter in alike] == [set()] * 5
    assert other.called


@pytest.mark.parametrize("served", [True, False])
async def test_who_leaves_in_its_turn_passes_it_on(served: bool) -> None:
    lines = Lines()
    first, second = joined(lines), joined(lines)
    lines.leave(first, served="gpu" if served else None)
    assert second.called


async def test_a_waiter_of_two_backends_is_served_by_whichever_calls_first_and_leaves_the_other() -> None:
    lines = Lines()
    both, other = joined(lines, backends=("gpu", "gpu2")), joined(lines, backends=("gpu2",))
    in_vain(lines, both)
    lines.wake("gpu2")
    assert both.called == {"gpu2"}
    lines.leave(both, served="gpu2")
    assert lines.size("gpu") == 0
    assert other.called, "its turn there goes on"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "join both", "leave", "free gpu", "free gpu2", "try", "try"]), st.integers(0, 99)
    ),
    max_size=60,
)


@given(STEPS)
def test_no_place_stays_free_while_somebody_waits_for_it(steps: list[tuple[str, int]]) -> None:
    """Two backends with some free places; waiters that come, leave, and try in any order when they are called. Once all
    that were called have tried, nobody waits where a place is free, and nobody has the turn."""

    async def play() -> None:
        lines, there, free = Lines(), list[Waiter](), {"gpu": 0, "gpu2": 0}

        def attempt(waiter: Waiter) -> None:
            for backend in sorted(waiter.called):
                if free[backend]:
                    free[backend] -= 1
                    there.remove(waiter)
                    lines.leave(waiter, served=backend)
                    return
                lines.answer(waiter, backend, Found.FULL)

        for what, which in steps:
            called = [waiter for waiter in there if waiter.called]
            if what.startswith("join"):
                backends = ("gpu", "gpu2") if what == "join both" else (("gpu", "gpu2")[which % 2],)
                there.append(joined(lines, which % 3, backends, kind=which % 2, tenant="abc"[which % 3]))
            elif what == "leave" and there:
                lines.leave(there.pop(which % len(there)))
            elif what.startswith("free"):
                free[what.removeprefix("free ")] += 1
                lines.wake(what.removeprefix("free "))
            elif what == "try" and called:
                attempt(called[which % len(called)])
        while called := [waiter for waiter in there if waiter.called]:
            attempt(called[0])
        for backend, places in free.items():
            assert not places or not lines.size(backend)
            assert lines.size(backend) == sum(backend in waiter.places for waiter in there)
        for waiter in there:
            lines.leave(waiter)

    asyncio.run(play())


async def test_a_rules_bound_counts_its_waiters_wherever_they_stand() -> None:
    lines = Lines()
    low = lines.join(Ask(2, "t", rule="a"), {"gpu": 1, "gpu2": 1}, 2)
    last = lines.join(Ask(2, "t", rule="a"), {"gpu": 1}, 2)
    assert low is not None
    assert last is not None
    assert lines.join(Ask(2, "t", rule="a"), {"gpu": 1}, 2) is None
    assert lines.join(Ask(2, "t", rule="b"), {"gpu": 1}, 2) is not None, "another rule has its own"
    high = lines.join(Ask(0, "t", rule="a", shed=False), {"gpu2": 1}, 2)
    assert high is not None
    assert last.gone, "the last to come of the lowest class"
    assert last.turn.is_set(), "it wakes to be told"
    assert not low.gone
    assert lines.join(Ask(1, "t", rule="a"), {"gpu": 1}, 2) is not None
    assert low.gone
    assert lines.join(Ask(0, "t", rule="a", shed=False), {"gpu": 1}, 2) is not None
    assert lines.join(Ask(0, "t", rule="a", shed=False), {"gpu": 1}, 2) is None, "none is left that may be shed"


async def test_without_any_news_all_is_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "SAFETY_SECONDS", 0.01)
    lines = Lines()
    waiter = joined(lines)
    in_vain(lines, waiter)
    waiter.turn.clear()
    async with asyncio.timeout(5):
        await waiter.turn.wait()
    assert waiter.called == {"gpu"}
    lines.leave(waiter)


def snapshot(**changes: object) -> Snapshot:
    seen = {"w1": state(upstream("w1", "gpu"), leased=500, inflight=5, **changes), "w2": state(upstream("w2", "gpu"))}
    return Snapshot(100.0, seen, scales={("gpu", "m"): 1.0})


@pytest.mark.parametrize(
    ("changes", "grew"),
    [
        ({}, False),
        ({"out": "down"}, False),
        ({"leased": 400}, True),
        ({"inflight": 4}, True),
        ({"limit": 2_000_000}, True),
        ({"ramp": 0.5}, False),
    ],
)
def test_which_changes_of_a_snapshot_may_be_room(changes: dict[str, object], grew: bool) -> None:
    seen = {"leased": 500, "inflight": 5, **changes}
    after = Snapshot(100.0, {"w1": state(upstream("w1", "gpu"), **seen), "w2": state(upstream("w2", "gpu"))})
    before = Snapshot(100.0, snapshot().states)
    assert more(rooms(before, {"gpu"})["gpu"], rooms(after, {"gpu"})["gpu"]) is grew


def test_a_worker_that_is_back_and_a_learned_limit_that_rose_may_be_room() -> None:
    down = {**snapshot().states, "w2": state(upstream("w2", "gpu"), out="draining")}
    assert more(rooms(Snapshot(1.0, down), {"gpu"})["gpu"], rooms(snapshot(), {"gpu"})["gpu"])
    learned = Snapshot(1.0, snapshot().states, scales={("gpu", "m"): 1.1, ("api", "m"): 9.0})
    assert rooms(learned, {"gpu"})["gpu"].scales == pytest.approx(1.1)
    assert more(rooms(snapshot(), {"gpu"})["gpu"], rooms(learned, {"gpu"})["gpu"])
    assert rooms(snapshot(), set()) == {}


async def test_a_snapshot_with_more_room_calls_the_first_and_one_with_less_nobody() -> None:
    lines = Lines()
    lines.notice(snapshot())
    waiter = joined(lines)
    lines.notice(snapshot())
    in_vain(lines, waiter)
    for seen, called in ((snapshot(), False), (snapshot(outside=1000), False), (snapshot(), True)):
        lines.notice(seen)
        assert bool(waiter.called) is called
    in_vain(lines, waiter)
    lines.notice(Snapshot(1.0, snapshot().states, degraded=True))
    assert waiter.called, "how admission works has changed"
    assert lines.expected(Ask(1, "t", work=2_000_000), ["gpu"]) == pytest.approx(1.0, rel=0.1), "two workers up"


async def test_however_many_wait_for_what_is_full_or_for_nobody_others_have_their_turn() -> None:
    lines = Lines()
    down, full = ([joined(lines, kind=kind, pool=kind) for _ in range(45)] for kind in ("down", "full"))
    last = joined(lines, kind="idle", pool="idle")
    lines.answer(down[0], "gpu", Found.NOBODY)
    in_vain(lines, full[0])
    assert last.called
    in_vain(lines, last)
    lines.wake("gpu")
    assert down[0].called, "one of them looks again, for all"
    lines.answer(down[0], "gpu", Found.NOBODY)
    assert not any(waiter.called for waiter in down)
    assert full[0].called


async def test_those_whom_nobody_could_serve_have_tries_of_their_own_and_news_count_no_more_than_news() -> None:
    lines = Lines()
    lost = [joined(lines, kind=number) for number in range(20)]
    lines.answer(lost[0], "gpu", Found.NOBODY)
    for waiter in lost[1:]:
        if waiter.called:
            lines.answer(waiter, "gpu", Found.NOBODY)
    lines.wake("gpu", SAFETY_TRIES)
    first = next(waiter for waiter in lost if waiter.called)
    lines.wake("gpu")
    tries = 0
    lines.answer(first, "gpu", Found.NOBODY)
    while called := [waiter for waiter in lost if waiter.called]:
        lines.answer(called[0], "gpu", Found.NOBODY)
        tries += 1
    assert tries == MOST_TRIES, "the turn that the news begin is no look at all of them"
    assert not lines.behind("gpu", lambda: Ask(1, "t", kind="new")), "they stand in nobody's way"


async def test_what_came_free_between_a_newcomers_try_and_its_joining_is_told_to_it() -> None:
    lines = Lines()
    other = joined(lines, kind="other")
    in_vain(lines, other)
    tried = {"gpu": lines.wakes("gpu")}
    assert not joined(lines, kind="new").called
    lines.wake("gpu")
    for waiter in lines.waiters("gpu"):
        in_vain(lines, waiter)
    newcomer = lines.join(Ask(1, "t", kind="newer", deadline=1.0), {"gpu": 1}, MANY, tried)
    assert newcomer is not None
    assert newcomer.called == {"gpu"}


def test_a_wait_beyond_all_numbers_is_told_as_the_longest() -> None:
    lines = Lines()
    lines.line("gpu").drain.prior = 1e-320
    assert lines.retry_after(Ask(1, "t", work=10**9), ["gpu"]) == RETRY_AFTER_SECONDS[1]
