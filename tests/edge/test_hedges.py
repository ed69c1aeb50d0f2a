"""What is late, and how many second attempts there may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.hedges import LEAST, SAVED, Hedges
from gateway.model import Hedge
from tests.worlds import rule

HEDGED = rule(hedge=Hedge(after=None, budget=0.05))


@given(st.floats(0.001, 1.0), st.lists(st.booleans(), max_size=400))
def test_hedges_never_pass_their_share(budget: float, turns: list[bool]) -> None:
    """In any order of requests that come and hedges that are asked for, and within any part of it."""
    chosen, hedges = rule(hedge=Hedge(after=0.1, budget=budget)), Hedges()
    came, taken = 0, list[int]()
    for asks in turns:
        if asks and hedges.take(chosen):
            taken.append(came)
        elif not asks:
            hedges.came(chosen)
            came += 1
        assert len(taken) <= budget * came + 1e-6
    for first, at in enumerate(taken):
        for more, later in enumerate(taken[first:], 1):
            assert more <= SAVED + budget * (later - at) + 1e-6


def test_they_get_all_of_their_share() -> None:
    hedges, taken = Hedges(), 0
    for _ in range(1000):
        hedges.came(HEDGED)
        taken += hedges.take(HEDGED)
    assert taken == 50


def test_one_that_found_no_room_is_given_back() -> None:
    hedges, chosen = Hedges(), rule(hedge=Hedge(budget=1.0))
    hedges.came(chosen)
    assert hedges.take(chosen)
    assert not hedges.take(chosen)
    hedges.give_back(chosen)
    assert hedges.take(chosen)


def test_nobody_hedges_before_enough_is_known() -> None:
    hedges = Hedges()
    for _ in range(LEAST - 1):
        hedges.saw(HEDGED, "gpu", True, 0.2)
    assert hedges.patience(HEDGED, "gpu", True) is None
    hedges.saw(HEDGED, "gpu", True, 0.2)
    assert hedges.patience(HEDGED, "gpu", True) == pytest.approx(0.2, rel=0.1)
    assert hedges.patience(HEDGED, "gpu", False) is None, "whole answers are learned apart"
    assert hedges.patience(HEDGED, "gpu2", True) is None


def test_a_number_is_about_first_tokens() -> None:
    hedges, chosen = Hedges(), rule(hedge=Hedge(after=0.7))
    assert hedges.patience(chosen, "gpu", True) == 0.7
    assert hedges.patience(chosen, "gpu", False) is None


def test_a_rule_without_one_has_none_and_costs_nothing() -> None:
    hedges, plain = Hedges(), rule()
    hedges.came(plain)
    hedges.saw(plain, "gpu", True, 1.0)
    assert hedges.patience(plain, "gpu", True) is None
    assert not hedges.take(plain)
    assert hedges == Hedges()


def test_those_that_lost_keep_it_from_sinking() -> None:
    """What is late is cut off at what was late before, but is still late."""
    hedges, late = Hedges(), [*[0.1] * 90, *[1.0] * 10]
    for _ in range(40):
        patience = hedges.patience(HEDGED, "gpu", True)
        for seconds in late:
            hedges.saw(HEDGED, "gpu", True, seconds if patience is None else min(seconds, patience + 0.1))
    patience = hedges.patience(HEDGED, "gpu", True)
    assert patience is not None
    assert patience > 0.5
