from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Slo
from gateway.routing.priors import DEFAULT_SPEED
from gateway.routing.votes import Alone, Timings, alone, vote

CHAT = Slo(1.0, 0.030)
IDLE = Alone(0.05, 0.008)
DONE = Timings(age=3.5, first=0.5, last=3.5, tokens=101, ending="done")
"""Exactly 30 ms per later token."""
WHOLE = Timings(age=3.9, tokens=100, ending="done", stream=False)

TABLE = [
    ("met", DONE, True),
    ("late first token", DONE._replace(first=1.01, last=3.0), False),
    ("slow tokens", DONE._replace(age=3.6, last=3.6), False),
    ("bytes after the last token do not count", DONE._replace(age=9.0), True),
    ("one token has no gaps", Timings(0.5, 0.5, 0.5, 1, "done"), True),
    ("under way, in time", Timings(0.9), None),
    ("the first token's time has passed", Timings(1.01), False),
    ("late first token, under way", Timings(2.0, 1.5, 2.0, 3), False),
    ("tokens so far prove nothing", Timings(3.0, 0.5, 3.0, 10), None),
    ("upstream timeout", Timings(0.2, ending="timeout"), False),
    ("upstream timeout after the first token", DONE._replace(ending="timeout"), False),
    ("the upstream broke", DONE._replace(first=2.0, ending="failed"), None),
    ("the client left early", Timings(0.9, ending="left"), None),
    ("the client left after the first token's time", Timings(1.5, ending="left"), False),
    ("the client left a good stream", Timings(2.0, 0.5, 2.0, 51, "left"), None),
    ("the client left a slow stream", Timings(4.0, 0.5, 4.0, 51, "left"), False),
    ("the client left a silent stream", Timings(4.0, 0.5, 0.6, 4, "left"), False),
    ("its own reader paused it", DONE._replace(last=60.0, age=60.0, paused=True), None),
    ("no tokens counted: the first one decides", Timings(5.0, 0.5, 5.0, None, "done"), True),
    ("whole, met", WHOLE, True),
    ("whole, late", WHOLE._replace(age=4.1), False),
    ("whole, usage unknown", WHOLE._replace(tokens=None), None),
    ("whole, under way within the longest it may be", WHOLE._replace(ending="open"), None),
    ("whole, under way beyond it", WHOLE._replace(age=4.1, ending="open"), False),
    ("whole, left early", WHOLE._replace(ending="left"), None),
    ("whole, left late", WHOLE._replace(age=4.1, ending="left"), False),
    ("whole, upstream timeout", WHOLE._replace(tokens=None, ending="timeout"), False),
]


@pytest.mark.parametrize(("seen", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_an_answer_says(seen: Timings, expected: bool | None) -> None:
    assert vote(CHAT, seen, IDLE) is expected


@pytest.mark.parametrize(
    ("slo", "seen", "expected"),
    [
        (Slo(), DONE, None),  # nothing was promised
        (Slo(1.0, None), DONE._replace(last=100.0, age=100.0), True),
        (Slo(None, 0.030), DONE._replace(first=50.0, last=53.0, age=53.0), True),
        (Slo(None, 0.030), Timings(60.0), None),
        (Slo(1.0, None), WHOLE, None),  # a whole answer needs both parts
    ],
)
def test_an_slo_with_one_part(slo: Slo, seen: Timings, expected: bool | None) -> None:
    assert vote(slo, seen, IDLE) is expected


@pytest.mark.parametrize("idle", [Alone(1.1, 0.008), Alone(0.05, 0.031)])
def test_a_request_that_would_miss_alone_does_not_vote(idle: Alone) -> None:
    assert vote(CHAT, DONE, idle) is None
    assert vote(CHAT, Timings(5.0), idle) is None


def test_alone_is_what_the_speed_says() -> None:
    idle = alone(DEFAULT_SPEED, 1000)
    assert idle.first == pytest.approx(0.048)
    assert idle.each == pytest.approx(0.00806)


timings = st.builds(
    Timings,
    age=st.floats(0, 100),
    first=st.none() | st.floats(0, 100),
    last=st.none() | st.floats(0, 100),
    tokens=st.none() | st.integers(0, 1000),
    ending=st.sampled_from(["open", "done", "timeout", "left", "failed"]),
    stream=st.booleans(),
    paused=st.booleans(),
)


@given(timings)
def test_only_a_complete_answer_is_met_and_a_paused_one_is_silent(seen: Timings) -> None:
    said = vote(CHAT, seen, IDLE)
    if said:
        assert seen.ending == "done"
    if seen.paused or seen.ending == "failed":
        assert said is None


@given(st.floats(0, 5), st.floats(0, 10), st.integers(1, 500), st.floats(0, 5))
def test_being_slower_never_turns_a_miss_into_met(first: float, rest: float, tokens: int, slower: float) -> None:
    quick = Timings(first + rest, first, first + rest, tokens, "done")
    slow = quick._replace(age=quick.age + slower, last=first + rest + slower)
    if vote(CHAT, quick, IDLE) is False:
        assert vote(CHAT, slow, IDLE) is False


TOTAL = Slo(1.0, None, total=5.0)
TOTALS = [
    ("whole within it", TOTAL, DONE, IDLE, True),
    ("whole too late", TOTAL, DONE._replace(age=5.1, last=5.1), IDLE, False),
    ("its time has passed, but it may be long", TOTAL, Timings(6.0, 0.5, 6.0, 300), IDLE, None),
    ("the first token's time has passed", TOTAL, Timings(1.1), IDLE, False),
    ("the client left in time", TOTAL, Timings(4.0, 0.5, 4.0, 51, "left"), IDLE, None),
    ("the client left after it", TOTAL, Timings(5.1, 0.5, 5.1, 51, "left"), IDLE, False),
    ("longer than it may take alone", TOTAL, Timings(9.0, 0.5, 9.0, 700, "done"), IDLE, None),
    ("left, and expected to be as long", TOTAL, Timings(5.1, 0.5, 5.1, 51, "left"), IDLE._replace(tokens=700), None),
    ("not streamed, within it", TOTAL, WHOLE, IDLE, True),
    ("not streamed, usage unknown", TOTAL, WHOLE._replace(tokens=None), IDLE, True),
    ("not streamed, too late", TOTAL, WHOLE._replace(age=5.1), IDLE, False),
    ("not streamed, under way", TOTAL, WHOLE._replace(age=5.1, ending="open"), IDLE, None),
    ("all three", Slo(1.0, 0.030, total=3.4), DONE, IDLE, False),
    ("nothing but the total", Slo(total=5.0), Timings(4.9, 4.8, 4.9, 9, "done"), IDLE, True),
    ("paused", TOTAL, DONE._replace(age=9.0, paused=True), IDLE, None),
]


@pytest.mark.parametrize(("slo", "seen", "idle", "expected"), [r[1:] for r in TOTALS], ids=[r[0] for r in TOTALS])
def test_an_answer_that_must_be_whole_in_time(slo: Slo, seen: Timings, idle: Alone, expected: bool | None) -> None:
    assert vote(slo, seen, idle) is expected
