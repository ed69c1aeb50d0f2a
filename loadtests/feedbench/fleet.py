"""A fleet in memory whose gauges move: boards as a replica would see them, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

from gateway.model import Policy, Reading, Snapshot, UpstreamState
from gateway.routing.board import Board
from loadtests.fleetbench.site import policy_of

FIRST_PORT = 20_000
_QUEUE = 8


def boards(folder: Path, workers: int, moving: float) -> Callable[[], Board]:
    """Each call gives the next board; between two of them the share `moving` of the workers has other figures."""
    policy = policy_of(folder, range(FIRST_PORT, FIRST_PORT + workers))
    made = _walk(policy, moving, Random(7))
    return lambda: next(made)


def _walk(policy: Policy, moving: float, rng: Random) -> Iterator[Board]:
    now = 1_800_000_000.0
    states = {name: _state(UpstreamState(upstream), now, rng) for name, upstream in policy.upstreams.items()}
    while True:
        yield Board(policy, Snapshot(now, states))
        now += 1.0
        # Every state is a new one each time, as the view makes them.
        states = {
            name: _state(one, now, rng) if rng.random() < moving else replace(one, reading=_read(one.reading, now))
            for name, one in states.items()
        }


def _state(state: UpstreamState, now: float, rng: Random) -> UpstreamState:
    running = rng.randrange(state.upstream.seats)
    reading = Reading(
        at=now, running=running, waiting=rng.randrange(_QUEUE), kv=rng.random(), gpu=rng.random(), kv_tokens=400_000
    )
    return replace(state, leased=rng.randrange(state.upstream.limit), inflight=running, reading=reading)


def _read(reading: Reading | None, now: float) -> Reading | None:
    return None if reading is None else replace(reading, at=now)
