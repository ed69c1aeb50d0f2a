"""What a snapshot says about room: whether there may be more of it than before. Pure."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from gateway.model import Snapshot, UpstreamState

_US = 1e6


class Room(NamedTuple):
    """Of one backend, summed over its upstreams that take traffic."""

    up: float = 0
    limits: float = 0.0
    """GPU-us, as far as the policy, a warm-up or an account's rate limit set them."""
    scales: float = 0.0
    """The learned part of the limits, over all models."""
    free: float = 0
    """GPU-us that are not leased, nor taken by others; negative."""
    seats: float = 0
    """Leases; negative."""
    own: float = 0
    """How many of those that are up are our own workers."""


def rooms(snapshot: Snapshot, backends: Container[str]) -> dict[str, Room]:
    found: dict[str, list[float]] = {}
    for state in snapshot.states.values():
        if state.upstream.backend in backends and state.out is None:
            sums = found.setdefault(state.upstream.backend, [0.0] * len(Room._fields))
            for index, value in enumerate(_room(state)):
                sums[index] += value
    for (backend, _), scale in snapshot.scales.items():
        if backend in found:
            found[backend][2] += scale
    return {backend: Room(*sums) for backend, sums in found.items()}


def _room(state: UpstreamState) -> Room:
    limit = (state.upstream.limit if state.limit is None else state.limit) * state.ramp
    own = state.upstream.kind == "local"
    return Room(1, limit, 0.0, -state.leased - state.outside, -state.inflight, own)


def more(before: Room, after: Room) -> bool:
    """Whether there may be. Where one went down, what was leased on it says nothing."""
    if after.up != before.up:
        return after.up > before.up
    return any(new > old for old, new in zip(before, after, strict=True))


def assumed_rate(room: Room, replicas: int) -> float:
    """GPU-us a second that come free for one of so many replicas where nothing is measured: a busy worker does a
    GPU-second of leased work in a second (routing/forecast.py). 0, nothing, of bought APIs."""
    return room.own * _US / max(1, replicas)
