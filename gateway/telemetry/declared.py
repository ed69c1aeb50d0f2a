"""What the instruments are called and how they are cut: buckets, labels and texts."""

from __future__ import annotations

from typing import NamedTuple

TTFT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0)
DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Both as in the OpenTelemetry GenAI conventions."""
ERROR_BUCKETS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
ERROR_QUANTILES = (0.5, 0.9)
OVERHEAD_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
MOST_GONE = 1_000
"""Counts of attempts on upstreams that are no more: kept, for they are of interest just after that, until so many."""
FLEET_LABELS = ("backend", "upstream")

Row = tuple[tuple[str, str], dict[str, float | None]]
"""(backend, upstream) and its readings; None readings are left out: missing is unknown, never zero."""

FLEET_GAUGES: dict[str, str] = {
    "gateway_upstream_queue_depth": "Requests waiting in the worker's own queue, as it last said.",
    "gateway_upstream_running": "Requests the worker last said it is running.",
    "gateway_upstream_kv_utilisation": "Share of the worker's KV cache in use, 0..1.",
    "gateway_upstream_gpu_utilisation": "Utilisation of the worker's GPUs, 0..1 (SM activity where published).",
    "gateway_upstream_gpu_dram_active": "Memory activity of the worker's GPUs, 0..1, their mean.",
    "gateway_upstream_gpu_memory_used_bytes": "Memory in use on the worker's GPUs, together.",
    "gateway_upstream_gpu_memory_bytes": "Memory of the worker's GPUs, together.",
    "gateway_upstream_gpu_power_watts": "Power that the worker's GPUs draw, together.",
    "gateway_upstream_gpu_temperature_celsius": "Temperature of the hottest of the worker's GPUs.",
    "gateway_upstream_gpus_throttled": "GPUs of the worker whose clocks are held down.",
    "gateway_upstream_gpu_fault": "1 while a fault of its GPUs keeps the worker out.",
    "gateway_upstream_reading_age_seconds": "Age of the worker's reading.",
    "gateway_upstream_gpu_age_seconds": "Age of the GPU reading.",
    "gateway_upstream_limit_seconds": "Leased work that the worker may hold now, in GPU-seconds.",
    "gateway_upstream_leased_share": "All replicas' leases as a share of the worker's limit or seats, the fuller one.",
    "gateway_upstream_leases": "Leases of all replicas on the upstream.",
    "gateway_upstream_outside_share": "Load that holds no lease of ours, as a share of the limit.",
    "gateway_upstream_up": "1 if the upstream takes traffic.",
    "gateway_upstream_drained": "1 if it takes nothing new because it was drained, or is about to leave.",
    "gateway_upstream_headroom": "What an API account has left of its rate limit, 0..1, as its last answers said.",
    "gateway_upstream_breaker": "The breaker that this process keeps of it: 0 closed, 1 half open, 2 open.",
}


class Gauge(NamedTuple):
    """One that is read where it lies whenever a page is made."""

    name: str
    text: str
    labels: tuple[str, ...]


LIMIT_SCALE = Gauge(
    "gateway_limit_scale", "What experience multiplies the expected limit by; 1 is as expected.", ("backend", "model")
)
SPILL_SHARE = Gauge(
    "gateway_spill_share",
    "Share of a rule's requests of the last five minutes that left; of rules with a `max_share`.",
    ("rule",),
)
BUDGET_LEFT = Gauge(
    "gateway_budget_left_ratio",
    "What is neither used nor set aside of a budget in its period, 0..1; not of single keys.",
    ("budget",),
)
WAITING = Gauge("gateway_waiting", "Requests in line for a backend, in this process.", ("backend",))
POLICY_INFO = Gauge(
    "gateway_policy_info", "1 for the policy in force, and for a candidate beside it.", ("version", "role")
)
