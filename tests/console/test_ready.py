"""When the start of a process is over."""

from __future__ import annotations

import pytest

from gateway.console.ready import FIRST_LOOK_SECONDS, Start
from gateway.model import UpstreamState
from tests.worlds import state, upstream

UP, DOWN = state(upstream("a", "gpu")), state(upstream("b", "gpu"), out="unreachable")


@pytest.mark.parametrize(
    ("looks", "over"),
    [
        ([(0.0, [])], False),
        ([(1.0, [DOWN])], False),
        ([(1.0, [DOWN, UP])], True),
        ([(1.0, [UP]), (2.0, [DOWN])], True),
        ([(1.0, [DOWN]), (FIRST_LOOK_SECONDS, [DOWN])], True),
        ([(FIRST_LOOK_SECONDS, []), (FIRST_LOOK_SECONDS + 1, [])], True),
    ],
    ids=["none is known", "none is up", "one is up", "it went down later", "the wait is over", "it stays over"],
)
def test_the_start_is_over(looks: list[tuple[float, list[UpstreamState]]], over: bool) -> None:
    start = Start(100.0)
    told = [start.over(states, 100.0 + at) for at, states in looks]
    assert told[-1] is over
