"""One row of the fleet for people: what an upstream is, how full, and why it takes nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from gateway.model import DRAINED, LEAVING, Reading, UpstreamState
from gateway.routing.board import Board

US_PER_SECOND = 1e6
FRESH_SECONDS = 2.0
"""An age below this is what every reading has: it is not told, since it would change each row with each look."""
AGE_STEPS = 2.0
"""Ages are told in halves of a second."""
DIGITS = 2
Reason = Callable[[str], str | None]
"""Upstream -> why somebody drained it, or None."""


class Row(NamedTuple):
    """None is unknown, never 0. `load`: leases of all replicas as a share of the limit or of the seats, whichever is
    fuller; `outside`: load that is not ours. Both 0 upwards; `kv`, `gpu` and `headroom` 0 to 1."""

    name: str
    backend: str
    kind: str
    models: int
    state: str
    """up, warming, asleep, draining (it takes nothing new, and has requests), drained, or out."""
    why: str | None
    load: float
    outside: float
    queue: int | None
    running: int | None
    inflight: int
    kv: float | None
    gpu: float | None
    gpus: int | None
    gpu_kind: str | None
    limit_s: float | None
    """GPU-seconds that it may hold; of our own workers."""
    headroom: float | None
    age_s: float | None
    """Of its reading, once that is not fresh any more."""


COLUMNS = Row._fields


def rows(board: Board, reason: Reason) -> Iterator[Row]:
    """All upstreams, as the policy lists them."""
    served: dict[str, list[str]] = {}
    for model in board.policy.models.values():
        for backend in {one.backend for one in model.served_by}:
            served.setdefault(backend, []).append(model.name)
    for state in board.snapshot.states.values():
        models = served.get(state.upstream.backend, [])
        yield row(state, board.snapshot.at, _limit(board, state, models), len(models), reason)


def row(state: UpstreamState, now: float, limit: int, models: int, reason: Reason) -> Row:
    """`limit`: GPU-us, or requests of a bought API, as `state.leased` counts; `now` as the snapshot's clock."""
    upstream, reading = state.upstream, state.reading
    local = upstream.kind == "local"
    return Row(
        upstream.name,
        upstream.backend,
        upstream.kind,
        models,
        standing(state),
        (reason(upstream.name) or state.out) if state.out in (DRAINED, LEAVING) else state.out,
        round(max(state.leased / limit, state.inflight / upstream.seats), DIGITS),
        round(state.outside / limit, DIGITS),
        None if reading is None else reading.waiting,
        None if reading is None else reading.running,
        state.inflight,
        None if reading is None else _rounded(reading.kv),
        None if reading is None else _rounded(reading.gpu),
        upstream.hardware.count if local else None,
        upstream.hardware.kind if local else None,
        round(limit / US_PER_SECOND, DIGITS) if local else None,
        _rounded(state.headroom),
        _age(reading, now),
    )


def standing(state: UpstreamState) -> str:
    if state.out in (DRAINED, LEAVING):
        return "draining" if state.inflight else "drained"
    if state.out is not None:
        return "out"
    if state.reading is not None and state.reading.asleep:
        return "asleep"
    return "up" if state.ramp >= 1 else "warming"


def changed(before: Mapping[str, Row], after: Mapping[str, Row]) -> tuple[list[Row], list[str]]:
    """Rows that are new or different, and the names of those that are gone."""
    return [row for name, row in after.items() if before.get(name) != row], [
        name for name in before if name not in after
    ]


def _limit(board: Board, state: UpstreamState, models: list[str]) -> int:
    """Of a worker with several models the lowest of their learned limits."""
    if state.upstream.kind != "local":
        return state.upstream.limit
    learned = [limit for model in models if (limit := board.limit(state, model)) is not None]
    return min(learned, default=state.upstream.limit)


def _age(reading: Reading | None, now: float) -> float | None:
    age = 0.0 if reading is None else now - reading.at
    return None if age < FRESH_SECONDS else round(age * AGE_STEPS) / AGE_STEPS


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
