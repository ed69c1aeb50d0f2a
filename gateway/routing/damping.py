"""Keeps the thresholds of `spill.when` from flapping: a band around each, and a least time in either state. Pure.

Only readings are damped: they lag, are noisy, and answer to what we do. Room under a limit and prices are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from gateway.model import Damp, Damped, DampedKey, Policy, Snapshot, Threshold
from gateway.routing.board import Board, holds
from gateway.routing.globs import fits
from gateway.routing.signals import EXACT, damped_key, moved, signals_of

OFF = Damped(False, -inf)
"""Before the first look: off for as long as anybody can remember."""


def damped(before: Damped, threshold: Threshold, damp: Damp, value: float | None, at: float) -> Damped:
    """The next state, at `at` seconds; `value` None is unknown, and holds nothing.

    Off turns on where `value` is past `enter` times the threshold, on turns off where it is no longer past `exit`
    times it; neither before `dwell` seconds in the present state. Where the clock went back, the state began now.
    """
    if at < before.since:
        before = Damped(before.on, at)
    if at - before.since < damp.dwell:
        return before
    edge = moved(threshold, damp.exit if before.on else damp.enter)
    on = value is not None and holds(edge, {edge.signal: value})
    return before if on is before.on else Damped(on, at)


def step(policy: Policy, snapshot: Snapshot, before: Mapping[DampedKey, Damped]) -> Mapping[DampedKey, Damped]:
    """The states of all damped thresholds of `policy`, one look later; what `policy` no longer says is forgotten."""
    board, states = Board(policy, snapshot), dict[DampedKey, Damped]()
    for rule in policy.rules:
        readings = [one for one in rule.spill.when if one.signal not in EXACT] if rule.spill else []
        if not readings:
            continue
        for model in policy.models:
            if fits(model, rule.match.model):
                signals = signals_of(rule, model, board)
                for one in readings:
                    key = damped_key(one, rule, model)
                    value = signals.get(one.signal)
                    states[key] = damped(before.get(key, OFF), one, rule.damp, value, snapshot.at)
    return states
