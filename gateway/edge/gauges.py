"""The fleet's rows on the metrics page, made when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.model import DRAINED, LEAVING, UpstreamState
from gateway.routing.board import Board
from gateway.telemetry import Row

_US_PER_SECOND = 1e6


def fleet_rows(board: Board) -> Iterator[Row]:
    for state in board.snapshot.states.values():
        yield (state.upstream.backend, state.upstream.name), gauges(state, board.snapshot.at, limit_of(board, state))


def limit_of(board: Board, state: UpstreamState) -> int:
    """GPU-us; of a worker with several models the lowest of their learned limits."""
    backend = state.upstream.backend
    served = [m.name for m in board.policy.models.values() if any(s.backend == backend for s in m.served_by)]
    learned = [limit for model in served if (limit := board.limit(state, model)) is not None]
    return min(learned, default=state.upstream.limit)


def gauges(state: UpstreamState, now: float, limit: int) -> dict[str, float | None]:
    """One upstream's row; None where nothing was published."""
    reading, seats = state.reading, state.upstream.seats
    return {
        "gateway_upstream_queue_depth": reading.waiting if reading else None,
        "gateway_upstream_running": reading.running if reading else None,
        "gateway_upstream_kv_utilisation": reading.kv if reading else None,
        "gateway_upstream_gpu_utilisation": reading.gpu if reading else None,
        "gateway_upstream_reading_age_seconds": max(0.0, now - reading.at) if reading else None,
        "gateway_upstream_gpu_age_seconds": max(0.0, now - reading.gpu_at) if reading and reading.gpu_at else None,
        "gateway_upstream_limit_seconds": limit / _US_PER_SECOND if state.upstream.kind == "local" else None,
        "gateway_upstream_leased_share": max(state.leased / limit, state.inflight / seats),
        "gateway_upstream_leases": state.inflight,
        "gateway_upstream_outside_share": state.outside / limit,
        "gateway_upstream_up": float(state.out is None),
        "gateway_upstream_drained": float(state.out in (DRAINED, LEAVING)),
        "gateway_upstream_headroom": state.headroom,
    }
