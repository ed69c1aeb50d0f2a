"""Slow start: what a worker that warms up may hold, beside warmer ones."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.decide import decide
from gateway.routing.estimate import work_on
from gateway.routing.ramp import ALIKE, beside_the_warmest, filled
from tests.worlds import LIMIT, board, policy, request, rule, state, upstream

WORKERS = tuple(upstream(f"w{number}", "gpu") for number in range(4))
ramps = st.floats(0.1, 1)


@given(st.lists(ramps, min_size=1, max_size=4))
def test_the_warmest_has_its_whole_limit(given_: list[float]) -> None:
    states = [state(one, ramp=ramp) for one, ramp in zip(WORKERS, given_, strict=False)]
    after = beside_the_warmest(states)
    assert max(one.ramp for one in after) == 1
    assert [one.upstream for one in after] == [one.upstream for one in states]
    for one, before in zip(after, states, strict=True):
        assert one.ramp == (1 if before.ramp >= ALIKE * max(given_) else pytest.approx(before.ramp / max(given_)))
    if 1.0 in given_:
        assert [one.ramp for one in after] == [1.0 if ramp >= ALIKE else ramp for ramp in given_]


@given(st.integers(1, 10**9), ramps, st.integers(1, 10**9))
def test_there_is_room_for_one_request_and_never_more_than_the_whole(whole: int, ramp: float, work: int) -> None:
    limit = filled(whole, ramp, work)
    assert min(work, whole) <= limit <= whole
    assert limit == min(work, whole) or limit <= whole * ramp
    assert filled(whole, 1.0, work) == whole


def candidates(**states: dict[str, float]) -> dict[str, tuple[int, float]]:
    seen = board(policy((*WORKERS, upstream("a1", "api")), (rule(),)), **states)  # type: ignore[arg-type]
    (home,) = decide(request(max_tokens=1, priority="interactive"), seen, Random(1)).primary
    return {one.upstream.name: (one.limit, one.ramp) for one in home.candidates}


def test_a_candidates_limit_is_its_share() -> None:
    assert candidates() == {f"w{n}": (LIMIT, 1.0) for n in range(4)}
    assert candidates(w0={"ramp": 0.25}) == {"w0": (LIMIT // 4, 0.25), **{f"w{n}": (LIMIT, 1.0) for n in (1, 2, 3)}}
    assert candidates(**{f"w{n}": {"ramp": 0.1} for n in range(4)}) == candidates(), "a restart of the whole fleet"
    some = candidates(w0={"ramp": 0.25}, **{f"w{n}": {"ramp": 0.5, "out": "down"} for n in (1, 2, 3)})
    assert some == {"w0": (LIMIT, 1.0)}, "those that are out take nothing off it"
    one = work_on(WORKERS[0], request(max_tokens=1))
    assert candidates(w0={"ramp": 1e-9})["w0"] == (one, one / LIMIT)
