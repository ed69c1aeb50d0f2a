"""The fleet's rows on the metrics page, made when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gateway.fleet.breaker import Phase
from gateway.fleet.circuits import Circuits
from gateway.model import DRAINED, LEAVING, Reading, Snapshot, UpstreamState
from gateway.routing.board import Board
from gateway.telemetry import Row

_US_PER_SECOND = 1e6
_MIB = 1 << 20


PHASES: Mapping[Phase, float] = {"closed": 0.0, "half": 1.0, "open": 2.0}


Labelled = Iterator[tuple[tuple[str, str], float]]
"""Backend and upstream, and the value."""


def fleet_rows(board: Board) -> Iterator[Row]:
    for state in board.snapshot.states.values():
        yield (state.upstream.backend, state.upstream.name), gauges(state, board.snapshot.at, limit_of(board, state))


def up_rows(snapshot: Snapshot) -> Labelled:
    """For this process: its breakers and what accounts said to it are part of that."""
    for state in snapshot.states.values():
        yield (state.upstream.backend, state.upstream.name), float(state.out is None)


def headroom_rows(snapshot: Snapshot) -> Labelled:
    for state in snapshot.states.values():
        if state.headroom is not None:
            yield (state.upstream.backend, state.upstream.name), state.headroom


def breaker_rows(snapshot: Snapshot, circuits: Circuits, now: float) -> Labelled:
    """`now`: seconds of the circuits' clock."""
    for state in snapshot.states.values():
        name = state.upstream.name
        yield (state.upstream.backend, name), PHASES[circuits.phase(name, now)]


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
        **gpu_gauges(reading),
        "gateway_upstream_limit_seconds": limit / _US_PER_SECOND if state.upstream.kind == "local" else None,
        "gateway_upstream_leased_share": max(state.leased / limit, state.inflight / seats),
        "gateway_upstream_leases": state.inflight,
        "gateway_upstream_outside_share": state.outside / limit,
        "gateway_upstream_drained": float(state.out in (DRAINED, LEAVING)),
    }


def gpu_gauges(reading: Reading | None) -> dict[str, float | None]:
    """Of the worker's GPUs together: None unless all that were seen told it, since part of a sum is no sum."""
    if reading is None:
        return {}
    gpus = reading.gpus
    used, whole = _told(gpu.memory_used for gpu in gpus), _told(gpu.memory_total for gpu in gpus)
    power, dram = _told(gpu.power for gpu in gpus), _told(gpu.dram for gpu in gpus)
    return {
        "gateway_upstream_gpu_dram_active": sum(dram) / len(dram) if dram else None,
        "gateway_upstream_gpu_memory_used_bytes": sum(used) * _MIB if used else None,
        "gateway_upstream_gpu_memory_bytes": sum(whole) * _MIB if whole else None,
        "gateway_upstream_gpu_power_watts": sum(power) if power else None,
        "gateway_upstream_gpu_temperature_celsius": max(_told(gpu.temperature for gpu in gpus), default=None),
        "gateway_upstream_gpus_throttled": sum(bool(gpu.throttle) for gpu in gpus) if gpus else None,
        "gateway_upstream_gpu_fault": float(reading.gpu_fault is not None) if gpus or reading.gpu_fault else None,
    }


def _told(values: Iterable[float | None]) -> list[float]:
    """Of all GPUs, or nothing."""
    told = list(values)
    return [value for value in told if value is not None] if None not in told else []
