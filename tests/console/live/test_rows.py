"""A row of the fleet, state by state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.console.live.rows import row, rows, standing
from gateway.model import DRAINED, LEAVING, Reading, UpstreamState
from tests.worlds import board, policy, upstream

WORKER = upstream("w1", "fleet")


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "up"),
        ({"out": DRAINED}, "drained"),
        ({"out": DRAINED, "inflight": 1}, "draining"),
        ({"out": LEAVING, "inflight": 1}, "draining"),
        ({"out": "circuit"}, "out"),
        ({"ramp": 0.5}, "warming"),
        ({"reading": Reading(at=0.0, asleep=True), "ramp": 0.5}, "asleep"),
    ],
)
def test_standing(changes: dict[str, Any], state: str) -> None:
    assert standing(replace(UpstreamState(WORKER), **changes)) == state


def test_numbers_are_rounded_and_what_is_unknown_is_null() -> None:
    reading = Reading(at=10.0, running=2, kv=0.123456)
    state = UpstreamState(WORKER, leased=WORKER.limit // 3, inflight=0, reading=reading)
    made = row(state, 11.0, WORKER.limit, 2, lambda _: "why")
    assert (made.load, made.kv, made.gpu, made.queue, made.running) == (0.33, 0.12, None, None, 2)
    assert (made.why, made.age_s, made.headroom) == (None, None, None)
    assert row(state, 12.8, WORKER.limit, 2, lambda _: None).age_s == 3.0
    drained = replace(state, out=DRAINED)
    assert row(drained, 11.0, 1, 1, lambda _: "a new driver").why == "a new driver"
    assert row(drained, 11.0, 1, 1, lambda _: "").why == DRAINED


def test_all_of_a_board() -> None:
    made = board(policy())
    assert [one.name for one in rows(made, lambda _: None)] == list(made.snapshot.states)
