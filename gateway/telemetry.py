"""Every instrument and span, declared once. Label sets are bounded: names from the policy folder,
codes from errors.py."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

TTFT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0)
DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Both as in the OpenTelemetry GenAI conventions."""
OVERHEAD_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
FLEET_LABELS = ("backend", "upstream")

Row = tuple[tuple[str, str], dict[str, float | None]]
"""(backend, upstream) and its readings; None readings are left out: missing is unknown, never zero."""

FLEET_GAUGES: dict[str, str] = {
    "gateway_upstream_queue_depth": "Requests waiting in the worker's own queue, as it last said.",
    "gateway_upstream_running": "Requests the worker last said it is running.",
    "gateway_upstream_kv_utilisation": "Share of the worker's KV cache in use, 0..1.",
    "gateway_upstream_gpu_utilisation": "Utilisation of the worker's GPUs, 0..1 (SM activity where published).",
    "gateway_upstream_reading_age_seconds": "Age of the worker's reading.",
    "gateway_upstream_gpu_age_seconds": "Age of the GPU reading.",
    "gateway_upstream_leased_share": "All replicas' leases as a share of the worker's limit or seats, the fuller one.",
    "gateway_upstream_leases": "Leases of all replicas on the upstream.",
    "gateway_upstream_outside_share": "Load that holds no lease of ours, as a share of the limit.",
    "gateway_upstream_up": "1 if the upstream takes traffic.",
}


class _Fleet(Collector):
    """Reads the snapshot when Prometheus asks, instead of setting gauges all the time."""

    def __init__(self, rows: Callable[[], Iterator[Row]]) -> None:
        self._rows = rows

    def collect(self) -> Iterator[GaugeMetricFamily]:
        rows = list(self._rows())
        for name, text in FLEET_GAUGES.items():
            family = GaugeMetricFamily(name, text, labels=FLEET_LABELS)
            for labels, values in rows:
                if (value := values.get(name)) is not None:
                    family.add_metric(labels, value)
            yield family


class Telemetry:
    """The instruments of one process. Children of labelled instruments are kept:
    `labels()` costs more than the count."""

    def __init__(self, trace_ratio: float = 0.0) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a third of the page, and nobody reads them
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter("gateway_requests", "Requests answered.", ("backend", "outcome", "reason"), **made)
        self._errors = Counter("gateway_errors", "Requests answered with an error of ours.", ("code",), **made)
        self._attempts = Counter("gateway_attempts", "Attempts on upstreams.", ("upstream", "result"), **made)
        self.ttft = Histogram(
            "gateway_ttft_seconds", "Arrival to the first byte of the answer.", buckets=TTFT_BUCKETS, **made
        )
        self.duration = Histogram(
            "gateway_duration_seconds", "Arrival to the last byte.", buckets=DURATION_BUCKETS, **made
        )
        self.overhead = Histogram(
            "gateway_overhead_seconds",
            "The gateway's own time before the upstream was asked.",
            buckets=OVERHEAD_BUCKETS,
            **made,
        )
        self.queue = Histogram("gateway_queue_seconds", "Waited for capacity.", buckets=TTFT_BUCKETS, **made)
        self._cost = Counter(
            "gateway_cost_usd", "Money, by basis: list (bought) or amortised (own GPUs).", ("backend", "basis"), **made
        )
        self._tokens = Counter("gateway_tokens", "Tokens by direction.", ("backend", "direction"), **made)
        self._slo = Counter(
            "gateway_slo", "Answers of our own workers by rule, met its SLO or not.", ("rule", "met"), **made
        )
        self.inflight = Gauge("gateway_requests_in_flight", "Generations inside the gateway.", **made)
        self.degraded = Gauge("gateway_degraded", "1 while the store does not answer.", **made)
        self.receipts_dropped = Counter(
            "gateway_receipts_dropped", "Receipts that found no room while the store was away.", **made
        )
        self.policy_fault = Gauge(
            "gateway_policy_fault",
            "1 while the folder on disk does not compile; the last good one is in force.",
            **made,
        )
        Gauge("gateway_tasks", "asyncio tasks of the process.", **made).set_function(count_tasks)
        self._children: dict[tuple[str, ...], Any] = {}
        self._ratio = trace_ratio
        self._tracer = _tracer() if trace_ratio > 0 else None

    def count_request(self, backend: str, outcome: str, reason: str) -> None:
        self._child(self._requests, backend, outcome, reason).inc()

    def count_error(self, code: str) -> None:
        self._child(self._errors, code).inc()

    def count_attempt(self, upstream: str, result: str) -> None:
        self._child(self._attempts, upstream, result).inc()

    def count_slo(self, rule: str, met: bool) -> None:
        self._child(self._slo, rule, "yes" if met else "no").inc()

    def count_usage(self, backend: str, basis: str, usd: float, input_tokens: int, output_tokens: int) -> None:
        self._child(self._cost, backend, basis).inc(usd)
        self._child(self._tokens, backend, "input").inc(input_tokens)
        self._child(self._tokens, backend, "output").inc(output_tokens)

    def _child(self, family: Any, *labels: str) -> Any:
        key = (family._name, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(*labels)
        return child

    def watch_fleet(self, rows: Callable[[], Iterator[Row]]) -> None:
        self.registry.register(_Fleet(rows))

    def page(self) -> bytes:
        """The Prometheus text page."""
        return generate_latest(self.registry)

    def step(self, name: str, **attributes: str) -> AbstractContextManager[Any]:
        """A span for the share of requests that is traced; the draw comes first, so the rest pays next to nothing."""
        if self._tracer is None or random.random() >= self._ratio:
            return nullcontext()
        return self._span(name, attributes)

    @contextmanager
    def _span(self, name: str, attributes: dict[str, str]) -> Iterator[Any]:
        assert self._tracer is not None  # noqa: S101 - step() has looked
        with self._tracer.start_as_current_span(name, attributes=attributes) as span:
            yield span


def count_tasks() -> float:
    """Those of the running loop, counted when the page is read; 0 outside of one."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0.0


def _tracer() -> trace.Tracer:
    provider = TracerProvider(resource=Resource.create({"service.name": "gateway"}))
    provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(out=sys.stderr)))
    return provider.get_tracer("gateway")


class JsonLines(logging.Formatter):
    """One JSON object a line. Only what the message and `extra={"fields": ...}` hold: never a body,
    a key or an address."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": round(record.created, 3), "level": record.levelname.lower(), "event": record.getMessage()}
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            trail = record.exc_info[2]
            while trail is not None and trail.tb_next is not None:
                trail = trail.tb_next
            if trail is not None:
                line["at"] = f"{trail.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trail.tb_lineno}"
        return json.dumps(line, default=str)


def set_up_logs(level: str) -> None:
    """JSON lines on stderr for the whole process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True


_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


def traceparent(header: bytes | None) -> str | None:
    """The caller's W3C trace context if it is well-formed, to be continued upstream."""
    if header is None or len(header) != 55:
        return None
    text = header.decode("latin-1")
    return text if _TRACEPARENT.fullmatch(text) else None
