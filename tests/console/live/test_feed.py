"""One producer, many viewers: each knows in the end what the producer knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.live import history
from gateway.console.live.feed import MOST_VIEWERS, Feed, Source, Viewer, event
from gateway.console.live.rows import COLUMNS, Row
from gateway.console.live.sources import Fleet, fleet_change, fleet_whole, flow_change
from gateway.console.live.told import Told
from gateway.errors import NoCapacity, StoreFault
from tests.polling import until

TICK = 0.005


def events(pieces: bytes) -> Iterator[tuple[str, Any]]:
    for block in pieces.decode().split("\n\n")[:-1]:
        kind, data = block.split("\n")
        yield kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


class Counting:
    """A source whose state is how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.fault: Exception | None = None

    async def make(self) -> dict[str, Any]:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return {"n": self.asked}


async def taken(viewer: Viewer) -> list[tuple[str, Any]]:
    pieces = await viewer.take(1.0)
    assert pieces is not None
    return list(events(pieces))


async def test_it_runs_only_while_somebody_looks() -> None:
    source = Counting()
    feed = Feed([Source("status", source.make)], TICK)
    await asyncio.sleep(3 * TICK)
    assert source.asked == 0
    viewer = feed.join()
    await until(lambda: source.asked > 2)
    feed.leave(viewer)
    await asyncio.sleep(0)
    asked = source.asked
    await asyncio.sleep(5 * TICK)
    assert source.asked == asked
    second = feed.join()
    assert (await taken(second))[0] == ("status", {"n": asked + 1}), "nothing of what was known before"
    await feed.aclose()


async def test_who_comes_later_is_told_the_whole_at_once() -> None:
    source, asked = Counting(), asyncio.Event()
    feed = Feed([Source("status", source.make, lambda state: {"all": True, **state})], 60.0)
    first = feed.join()
    assert await taken(first) == [("status", {"all": True, "n": 1})]
    second, third = feed.join(), feed.join(frozenset({"fleet"}))
    assert await taken(second) == [("status", {"all": True, "n": 1})]
    assert await third.take(0.01) == b"", "it did not ask for this"
    assert not asked.is_set()
    await feed.aclose()
    assert await second.take(1.0) is None


async def test_bytes_are_made_once_for_all() -> None:
    source = Counting()
    feed = Feed([Source("status", source.make)], TICK)
    viewers = [feed.join() for _ in range(3)]
    await until(lambda: source.asked > 3)
    unread = [list(viewer._unread) for viewer in viewers]
    assert len({id(piece) for piece in unread[0]} | {id(piece) for piece in unread[1]}) == len(unread[0])
    await feed.aclose()


async def test_a_source_that_fails_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    broken, away, well = Counting(), Counting(), Counting()
    broken.fault, away.fault = RuntimeError("x"), StoreFault("x")
    feed = Feed([Source("hello", broken.make), Source("flow", away.make), Source("status", well.make)], TICK)
    viewer = feed.join()
    assert {kind for kind, _ in await taken(viewer)} == {"status"}
    away.fault = None
    heard: set[str] = set()
    while heard != {"status", "flow"}:
        heard |= {kind for kind, _ in await taken(viewer)}
    await feed.aclose()
    assert {record.fields["kind"] for record in caplog.records} == {"hello"}  # type: ignore[attr-defined]


async def test_no_more_viewers_than_it_has_room_for() -> None:
    feed = Feed([], TICK)
    viewers = [feed.join() for _ in range(MOST_VIEWERS)]
    with pytest.raises(NoCapacity):
        feed.join()
    feed.leave(viewers[0])
    feed.join()
    await feed.aclose()


# What a viewer makes of the events.

NAMES = st.sampled_from(["w1", "w2", "w3", "w4"])
ROWS = st.dictionaries(NAMES, st.floats(0, 2).map(lambda load: round(load, 2)), max_size=4)
COUNTS = st.dictionaries(st.sampled_from(["local", "spilled", "t1"]), st.integers(1, 9), max_size=3)
RULES = st.dictionaries(st.sampled_from(["chat", "-"]), COUNTS, max_size=2)
MINUTES = st.lists(RULES, min_size=1, max_size=5)


def row(name: str, load: float) -> Row:
    return Row(name, "b", "local", 1, "up", None, load, 0.0, 1, 1, 1, 0.5, None, 1, None, 1.0, None, None)


@given(st.lists(ROWS, min_size=1, max_size=6), st.integers(0, 5))
def test_a_viewer_knows_the_fleet_whenever_it_came(states: list[dict[str, float]], joins: int) -> None:
    fleets = [Fleet(float(at), {name: row(name, load) for name, load in one.items()}) for at, one in enumerate(states)]
    joins = min(joins, len(fleets) - 1)
    told = Told()
    told.take("hello", {"columns": list(COLUMNS)})
    told.take("fleet", fleet_whole(fleets[joins]))
    for before, after in zip(fleets[joins:], fleets[joins + 1 :], strict=False):
        change = fleet_change(before, after)
        assert (change is None) == (before.rows == after.rows)
        if change is not None:
            [(kind, data)] = events(event("fleet", change))
            told.take(kind, data)
    assert told.rows == {name: one._asdict() for name, one in fleets[-1].rows.items()}


@given(MINUTES, MINUTES)
def test_a_viewer_knows_the_flow(before: list[Any], after: list[Any]) -> None:
    first = {60 * at: minute for at, minute in enumerate(before)}
    second = history.window({**first, **{60 * at: minute for at, minute in enumerate(after)}}, range(0, 300, 60))
    told = Told()
    told.take("flow", history.flow(first, whole=True))
    change = flow_change(first, second)
    if change is not None:
        told.take("flow", change)
    shown = {
        at: {rule: {w: n for w, n in words.items() if w in history.OUTCOMES} for rule, words in minute.items()}
        for at, minute in second.items()
    }
    known = {at: {rule: words for rule, words in minute.items() if words} for at, minute in told.flow.items()}
    assert known == {at: {rule: words for rule, words in minute.items() if words} for at, minute in shown.items()}


def test_a_minute_that_is_an_hour_old_is_forgotten() -> None:
    told = Told()
    for at in range(0, 3720, 60):
        told.take("flow", {"all": False, "minutes": [at], "rules": {"chat": {"local": [1]}}})
    assert (len(told.flow), told.outcomes("chat")["local"]) == (60, 60)


async def test_who_joins_later_hears_of_the_time_of_then() -> None:
    """A page sets its clock by it: an old one would show the hour before."""
    times = iter(range(1000))
    source = Counting()
    feed = Feed(
        [
            Source("hello", source.make, lambda state: {"now": next(times)}, lambda _before, _after: None, dated=True),
            Source("fleet", source.make, lambda state: {"now": next(times)}, lambda _before, _after: None),
        ],
        TICK,
    )
    first = feed.join()
    early = dict(await taken(first))
    late = dict(await taken(feed.join()))
    assert late["hello"]["now"] > early["hello"]["now"]
    assert late.get("fleet", early.get("fleet")) == early.get("fleet"), "all else is made once"
    await feed.aclose()


async def test_a_fault_while_telling_is_a_gap_and_not_the_end() -> None:
    source, broken = Counting(), [True]

    def change(_before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        if broken[0]:
            raise ValueError("no such row")
        return after

    feed = Feed([Source("status", source.make, change=change)], TICK)
    viewer = feed.join()
    await taken(viewer)
    await until(lambda: source.asked > 3)
    broken[0] = False
    assert dict(await taken(viewer))["status"]["n"] > 3
    await feed.aclose()
