"""What the gateway says of itself: metrics, traces and logs. Nothing here knows what is routed, or why."""

from __future__ import annotations

from gateway.telemetry.declared import (
    BREAKER,
    BUDGET_LEFT,
    DURATION_BUCKETS,
    FLEET_GAUGES,
    HEADROOM,
    LIMIT_SCALE,
    POLICY_INFO,
    SPILL_SHARE,
    TTFT_BUCKETS,
    UP,
    WAITING,
    Row,
)
from gateway.telemetry.export import Collector, Export, on_stderr, open_collector
from gateway.telemetry.genai import OWN_WORKERS, PROVIDERS, Series, Who, operation
from gateway.telemetry.logs import ACCESS, REQUEST, set_up_logs
from gateway.telemetry.meters import Telemetry
from gateway.telemetry.tracing import Note, Tracing, Value

__all__ = [
    "ACCESS",
    "BREAKER",
    "BUDGET_LEFT",
    "DURATION_BUCKETS",
    "FLEET_GAUGES",
    "HEADROOM",
    "LIMIT_SCALE",
    "OWN_WORKERS",
    "POLICY_INFO",
    "PROVIDERS",
    "REQUEST",
    "SPILL_SHARE",
    "TTFT_BUCKETS",
    "UP",
    "WAITING",
    "Collector",
    "Export",
    "Note",
    "Row",
    "Series",
    "Telemetry",
    "Tracing",
    "Value",
    "Who",
    "on_stderr",
    "open_collector",
    "operation",
    "set_up_logs",
]
