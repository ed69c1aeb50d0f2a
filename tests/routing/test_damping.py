"""A threshold with a band and a dwell: what it does at each look, and that no wave makes it flap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Damp, Damped, DampedKey, Policy, Snapshot, Spill, Threshold
from gateway.routing.board import Board
from gateway.routing.damping import OFF, damped, step
from gateway.routing.signals import damped_key, spill_word
from tests.worlds import policy, reading, rule, state

ABOVE, BELOW = Threshold("queue_depth", True, False, 10.0), Threshold("kv_util", False, True, 0.5)
DAMP = Damp(enter=1.2, exit=0.8, dwell=2.0)
LOOK_SECONDS = 0.25
"""How often a snapshot is made."""

TABLE = [
    ("below the band", ABOVE, OFF, 11.9, False),
    ("on its edge: not past it", ABOVE, OFF, 12.0, False),
    ("past it", ABOVE, OFF, 12.1, True),
    ("within the band it stays as it was", ABOVE, Damped(True, 0.0), 9.0, True),
    ("back across the exit", ABOVE, Damped(True, 0.0), 8.0, False),
    ("too soon to begin", ABOVE, Damped(False, 9.0), 99.0, False),
    ("too soon to end", ABOVE, Damped(True, 9.0), 0.0, True),
    ("unknown is not over", ABOVE, OFF, None, False),
    ("unknown ends it", ABOVE, Damped(True, 0.0), None, False),
    ("mirrored: not yet", BELOW, OFF, 0.42, False),
    ("mirrored: 0.5 / 1.2, included", BELOW, OFF, 0.5 / 1.2, True),
    ("mirrored: within the band", BELOW, Damped(True, 0.0), 0.6, True),
    ("mirrored: past 0.5 / 0.8", BELOW, Damped(True, 0.0), 0.63, False),
]


@pytest.mark.parametrize(("threshold", "before", "value", "on"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_one_look(threshold: Threshold, before: Damped, value: float | None, on: bool) -> None:
    after = damped(before, threshold, DAMP, value, 10.0)
    assert after == (before if on is before.on else Damped(on, 10.0))


def switches(values: Sequence[float | None], damp: Damp) -> list[float]:
    """When the state changed over a signal that is looked at every LOOK_SECONDS."""
    state, changed = OFF, []
    for number, value in enumerate(values):
        after = damped(state, ABOVE, damp, value, number * LOOK_SECONDS)
        if after.on is not state.on:
            changed.append(after.since)
        state = after
    return changed


damps = st.builds(Damp, st.floats(1, 2), st.floats(0.1, 1), st.floats(0.5, 10))


@given(damps, st.floats(LOOK_SECONDS, 5), st.floats(0, 30), st.floats(0, 30))
def test_a_square_wave_switches_at_most_once_a_dwell(damp: Damp, half: float, low: float, high: float) -> None:
    looks = int(60 / LOOK_SECONDS)
    wave = [low if int(number * LOOK_SECONDS / half) % 2 else high for number in range(looks)]
    changed = switches(wave, damp)
    assert all(later - earlier >= damp.dwell for earlier, later in pairwise(changed))
    assert len(changed) <= 60 / damp.dwell + 1


def test_a_clock_that_goes_back_freezes_no_state() -> None:
    """Another store took over, an hour behind: the state begins anew there, and ends a dwell later."""
    state = damped(Damped(True, 5_000.0), ABOVE, DAMP, 0.0, 1_400.0)
    assert state == Damped(True, 1_400.0)
    assert damped(state, ABOVE, DAMP, 0.0, 1_402.0) == Damped(False, 1_402.0)


@given(damps, st.lists(st.none() | st.floats(0, 30), max_size=200))
def test_no_signal_flaps(damp: Damp, values: list[float | None]) -> None:
    changed = switches(values, damp)
    assert all(later - earlier >= damp.dwell for earlier, later in pairwise(changed))


@given(damps, st.lists(st.floats(0, 30), max_size=100))
def test_within_the_band_nothing_switches(damp: Damp, values: list[float]) -> None:
    within = [min(max(value, 10.0 * damp.exit + 1e-9), 10.0 * damp.enter) for value in values]
    assert switches(within, damp) == []


def looks(made: Policy, waiting: Sequence[int], every: float = LOOK_SECONDS) -> list[str | None]:
    """The word of each look, as a view takes them one after another."""
    words, before = [], dict[DampedKey, Damped]()
    for number, depth in enumerate(waiting):
        at = 100.0 + number * every
        states = {name: state(one, reading=reading(at, waiting=depth)) for name, one in made.upstreams.items()}
        snapshot = Snapshot(at, states)
        before = dict(step(made, snapshot, before))
        words.append(spill_word(made.rules[0], "m", Board(made, Snapshot(at, states, damped=before))))
    return words


def test_a_rule_follows_its_state_and_not_the_moment() -> None:
    made = policy(rules=(rule(spill=Spill(("api",), when=(ABOVE,)), damp=DAMP),))
    words = looks(made, [5, 20, 9, 20, 0, 0, 0, 0, 0, 0, 0, 0])
    assert words == [None, *["queue_depth > 10"] * 8, *[None] * 3], "2 s from its beginning on, whatever came"


def test_square_waves_of_the_queue_do_not_make_a_rule_flap() -> None:
    """Half a second deep, half a second empty, for a minute: 120 edges."""
    made = policy(rules=(rule(spill=Spill(("api",), when=(ABOVE,)), damp=DAMP),))
    words = looks(made, [30 if number // 2 % 2 else 0 for number in range(240)])
    assert sum(one != other for one, other in pairwise(words)) <= 60 / DAMP.dwell
    undamped = policy(rules=(rule(spill=Spill(("api",), when=(ABOVE,)), damp=Damp(1.0, 1.0, 0.0)),))
    words = looks(undamped, [30 if number // 2 % 2 else 0 for number in range(240)])
    assert sum(one != other for one, other in pairwise(words)) >= 119, "the wave is one that would"


def test_states_are_kept_for_readings_alone_and_for_what_the_policy_says() -> None:
    when = (ABOVE, Threshold("price_usd", False, False, 0.001))
    made = policy(rules=(rule("a", spill=Spill(("api",), when=when)), rule("b")))
    states = step(made, Snapshot(100.0, {}), {damped_key(ABOVE, rule("gone"), "m"): Damped(True, 0.0)})
    assert states == {damped_key(ABOVE, made.rules[0], "m"): Damped(False, -inf)}


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ({}, True),
        ({"max_wait": 5.0}, True),
        ({"spill": Spill(("api",), when=(Threshold("queue_depth", True, False, 1000.0),))}, False),
        ({"spill": Spill(("api",), when=(Threshold("queue_depth", False, False, 10.0),))}, False),
        ({"damp": Damp(3.0, 0.5, 1.0)}, False),
        ({"backends": ("gpu2",)}, False),
        ({"on_stale": "hold"}, False),
    ],
)
def test_a_candidate_is_not_decided_by_the_state_of_another_threshold(other: dict[str, Any], shared: bool) -> None:
    """20 deep under the policy in force; the candidate says something else under the same names."""
    mine = rule(spill=Spill(("api",), when=(ABOVE,)), damp=DAMP)
    before = step(policy(rules=(mine,)), Snapshot(100.0, {}), {})
    tried = damped_key((there := replace(mine, **other)).spill.when[0], there, "m")
    assert (tried in before) is shared
