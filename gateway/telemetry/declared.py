"""What the instruments are called and how they are cut: buckets, labels and texts."""

# ruff: noqa: RUF009 - what is called in `Instruments` gives a field, as `field` itself does

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from gateway.instruments import Counter, Histogram, Join, Level

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
    # What all processes read alike in the store.
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
    "gateway_upstream_drained": "1 if it takes nothing new because it was drained, or is about to leave.",
}


class Gauge(NamedTuple):
    """One that is read where it lies whenever a page is made."""

    name: str
    text: str
    labels: tuple[str, ...]
    join: Join | None = None
    """How the values of two processes become one. None: they all read the same one, and any of them may tell it."""


UP = Gauge("gateway_upstream_up", "1 if the upstream takes traffic.", FLEET_LABELS, max)
"""A breaker is each process's own: it is down once no process uses it. BREAKER tells of the first that does not."""
BREAKER = Gauge(
    "gateway_upstream_breaker", "The breaker of the upstream: 0 closed, 1 half open, 2 open.", FLEET_LABELS, max
)
HEADROOM = Gauge(
    "gateway_upstream_headroom",
    "What an API account has left of its rate limit, 0..1, as its last answers said.",
    FLEET_LABELS,
    min,
)
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
WAITING = Gauge("gateway_waiting", "Requests in line for a backend.", ("backend",), operator.add)
POLICY_INFO = Gauge(
    "gateway_policy_info", "1 for the policy in force, and for a candidate beside it.", ("version", "role"), max
)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return field(init=False, default_factory=partial(Counter, name, text, labels))


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return field(init=False, default_factory=partial(Histogram, name, text, buckets, labels))


def _level(name: str, text: str, join: Join = operator.add) -> Level:
    return field(init=False, default_factory=partial(Level, name, text, join))


@dataclass
class Instruments:
    """What is counted where it happens, in the order of the page."""

    _requests: Counter = _counter("gateway_requests", "Requests answered.", "backend", "outcome", "reason")
    _errors: Counter = _counter("gateway_errors", "Requests answered with an error of ours.", "code")
    _refused: Counter = _counter("gateway_refused", "Answered in plain text: no request was read.", "status")
    _attempts: Counter = _counter("gateway_attempts", "Attempts on upstreams.", "upstream", "result")
    _retries: Counter = _counter(
        "gateway_retries", "Failed attempts that another might follow: taken, or refused by the budget.", "result"
    )
    ttft: Histogram = _histogram(
        "gateway_ttft_seconds", "Arrival to the first byte of a streamed answer.", TTFT_BUCKETS
    )
    duration: Histogram = _histogram("gateway_duration_seconds", "Arrival to the last byte.", DURATION_BUCKETS)
    overhead: Histogram = _histogram(
        "gateway_overhead_seconds", "The gateway's own time before the upstream was asked.", OVERHEAD_BUCKETS
    )
    queue: Histogram = _histogram("gateway_queue_seconds", "Waited for capacity.", TTFT_BUCKETS)
    _cost: Counter = _counter(
        "gateway_cost_usd", "Money, by basis: list (bought), amortised (own GPUs), ...", "backend", "basis"
    )
    _tokens: Counter = _counter("gateway_tokens", "Tokens by direction.", "backend", "direction")
    _absurd: Counter = _counter(
        "gateway_usage_absurd", "Attempts whose upstream told usage that cannot be true.", "upstream"
    )
    _slo: Counter = _counter("gateway_slo", "Answers of our own workers by rule, met its SLO or not.", "rule", "met")
    estimate_error: Histogram = _histogram(
        "gateway_estimate_error_ratio",
        "Error of an estimate as a share of what came, by what was estimated.",
        ERROR_BUCKETS,
        "what",
    )
    _said: Counter = _counter(
        "gateway_estimate_said", "Sums of what was estimated, where it is known what came.", "what"
    )
    _came: Counter = _counter("gateway_estimate_came", "Sums of what came, in the same units.", "what")
    _kept: Counter = _counter("gateway_spill_kept", "Requests that a bound of `spill` kept at home.", "rule", "bound")
    _rate_limited: Counter = _counter(
        "gateway_rate_limited", "Requests that a limit had no room for: a key's or a tenant's.", "of", "limit"
    )
    _webhooks: Counter = _counter("gateway_webhooks", "Messages about budgets to their webhooks.", "result")
    _hedges: Counter = _counter("gateway_hedges", "Second attempts beside a late first one.", "rule", "outcome")
    _rescues: Counter = _counter("gateway_rescues", "Streams that broke off and were to be saved.", "rule", "outcome")
    _rollout: Counter = _counter(
        "gateway_rollout_decisions",
        "Decisions beside a candidate policy: same, different, renamed (the rule alone), or tried by it.",
        "result",
    )
    _votes: Counter = _counter("gateway_votes", "Votes of answers on the learned limits.", "backend", "model", "met")
    inflight: Level = _level("gateway_requests_in_flight", "Generations inside the gateway.")
    degraded: Level = _level("gateway_degraded", "1 while the store does not answer.", join=max)
    receipts_dropped: Counter = _counter(
        "gateway_receipts_dropped", "Receipts that found no room while the store was away."
    )
    ledger_dropped: Counter = _counter(
        "gateway_ledger_dropped", "Attempts that found no room on the way to the ledger while the store was away."
    )
    ledger_lag_rows: Level = _level("gateway_ledger_lag_rows", "Rows on their way to the ledger, about.", join=max)
    ledger_lag_seconds: Level = _level(
        "gateway_ledger_lag_seconds", "For how long the oldest of them has waited.", join=max
    )
    ledger_refused: Level = _level("gateway_ledger_refused_rows", "Rows that the ledger could not take.", join=max)
    _gpu_faults: Counter = _counter(
        "gateway_gpu_faults", "Faults of GPUs that took a worker out, by what it was.", "upstream", "what"
    )
    _audit: Counter = _counter("gateway_audit_entries", "Audit entries of flagged requests.", "what")
    _job_webhooks: Counter = _counter("gateway_job_webhooks", "Messages about jobs to their webhooks.", "result")
    _jobs: Counter = _counter("gateway_jobs", "Jobs that ended, by how.", "end")
    jobs_running: Level = _level("gateway_jobs_running", "Jobs that are worked on.")
    jobs_waiting: Level = _level("gateway_jobs_waiting", "Those of them that nobody has an order of yet, about.")
    jobs_slots: Level = _level("gateway_jobs_slots", "How many may be worked on at once.")
    jobs_freed: Counter = _counter("gateway_jobs_freed", "Jobs of processes that died, freed for others to go on with.")
    policy_fault: Level = _level(
        "gateway_policy_fault",
        "1 while the folder on disk, or the announced policy, does not compile; the last good one is in force.",
        join=max,
    )
    _tasks: Level = _level("gateway_tasks", "asyncio tasks of the process.")
    processes: Level = _level("gateway_processes", "Processes whose figures are on this page.")
    exports_failed: Counter = _counter(
        "gateway_exports_failed", "Batches that the OpenTelemetry collector did not take.", "signal"
    )
    spans_dropped: Counter = _counter("gateway_spans_dropped", "Spans that did not reach the collector.", "reason")
    _unfollowed: Counter = _counter(
        "gateway_traces_unfollowed", "Traces that callers asked for beyond the rate of their tenant."
    )
