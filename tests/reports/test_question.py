"""An answer of the ledger as a serving process reads it: bounded, and beside its requests."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.reports import question
from gateway.reports.ask import Report
from gateway.reports.fleet_cost import Fleet
from gateway.reports.gathering import Facts, Material, WorkerHour
from gateway.reports.question import Answer, read_answer

HOURS = tuple(WorkerHour(hour, "w1", Fleet("gpu", "H100", up=60, priced=60)) for hour in range(20_000))
FACTS = Facts(len(HOURS), (), (), HOURS)
SHAPES = (
    FACTS,
    Material((), (), {"gpu": Fleet("gpu", overhead=1.5)}),
    Report(("model",), [{"model": "m", "cost": 3, "seconds": 0.5, "list_cost": None}], {"cost": 3}, True),
)


def line_of(told: object) -> bytes:
    return msgspec.json.encode(Answer.with_told(msgspec.json.encode(told)))


@pytest.mark.parametrize("told", SHAPES, ids=lambda told: type(told).__name__)
async def test_it_is_read_as_it_was_told(told: object) -> None:
    assert await read_answer(line_of(told), type(told)) == told


async def test_what_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question, "LINE_BYTES", 1 << 20)
    assert len(line_of(FACTS)) < 1 << 10
    with pytest.raises(InvalidRequest, match="from, to"):
        await read_answer(line_of(FACTS), Facts)


async def test_the_loop_turns_while_it_is_read() -> None:
    line = line_of(FACTS)
    assert min([await longest_turn(line) for _ in range(5)]) < 0.5


async def longest_turn(line: bytes) -> float:
    """The longest time in which the loop did not turn, as a share of all that reading took."""
    turns = [time.perf_counter()]
    task = asyncio.create_task(read_answer(line, Facts))
    while not task.done():
        await asyncio.sleep(0)
        turns.append(time.perf_counter())
    return max(b - a for a, b in pairwise(turns)) / (turns[-1] - turns[0])
