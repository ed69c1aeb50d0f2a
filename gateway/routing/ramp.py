"""Slow start: what of its limit a worker may hold while it warms up, beside peers that are warmer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.model import UpstreamState

ALIKE = 0.9
"""Who is so warm beside the warmest is as warm: workers that came together are equals, and share their load as such."""


def beside_the_warmest(states: Sequence[UpstreamState]) -> list[UpstreamState]:
    """`states` of one pool, each with its ramp as a share of the highest: the warmest has its whole limit. After a
    restart of the whole fleet there is nobody who could take the rest, and holding back would only turn work away."""
    most = max((state.ramp for state in states), default=1.0)
    if all(state.ramp == 1 for state in states):
        return list(states)
    return [replace(state, ramp=1.0 if state.ramp >= ALIKE * most else state.ramp / most) for state in states]


def filled(whole: int, ramp: float, work: int) -> int:
    """The limit (GPU-us) of a worker that warms up: its share of the whole, and never less than one request."""
    return max(int(whole * ramp), min(work, whole))
