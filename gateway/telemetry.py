"""Every instrument and span, declared once. Label sets are bounded: names from the policy folder,
codes from errors.py."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import msgspec
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.instruments import Counter, Histogram, Instrument, Level, Rows

TTFT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0)
DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Both as in the OpenTelemetry GenAI conventions."""
ERROR_BUCKETS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
ERROR_QUANTILES = (0.5, 0.9)
OVERHEAD_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
LIMIT_SCALE_TEXT = "What experience multiplies the expected limit by; 1 is as expected."
SPILL_SHARE_TEXT = "Share of a rule's requests of the last five minutes that left; of rules with a `max_share`."
BUDGET_LEFT_TEXT = "What is neither used nor set aside of a budget in its period, 0..1; not of single keys."
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
}

_dumps = msgspec.json.Decoder(dict[str, list[tuple[tuple[str, ...], list[float]]]])
_NO_SPAN = nullcontext(None)


class _Page(Collector):
    """Families that are already made, for prometheus_client's text writer."""

    def __init__(self, families: Iterator[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return self._families


class Telemetry:
    """The instruments of one process, and the page of one or of several."""

    def __init__(self, trace_ratio: float = 0.0) -> None:
        self._requests = Counter("gateway_requests", "Requests answered.", ("backend", "outcome", "reason"))
        self._errors = Counter("gateway_errors", "Requests answered with an error of ours.", ("code",))
        self._refused = Counter("gateway_refused", "Answered in plain text: no request was read.", ("status",))
        self._attempts = Counter("gateway_attempts", "Attempts on upstreams.", ("upstream", "result"))
        self._retries = Counter(
            "gateway_retries",
            "Failed attempts that another might follow: taken, or refused by the budget.",
            ("result",),
        )
        self.ttft = Histogram("gateway_ttft_seconds", "Arrival to the first byte of the answer.", TTFT_BUCKETS)
        self.duration = Histogram("gateway_duration_seconds", "Arrival to the last byte.", DURATION_BUCKETS)
        self.overhead = Histogram(
            "gateway_overhead_seconds", "The gateway's own time before the upstream was asked.", OVERHEAD_BUCKETS
        )
        self.queue = Histogram("gateway_queue_seconds", "Waited for capacity.", TTFT_BUCKETS)
        self._cost = Counter(
            "gateway_cost_usd", "Money, by basis: list (bought), amortised (own GPUs), ...", ("backend", "basis")
        )
        self._tokens = Counter("gateway_tokens", "Tokens by direction.", ("backend", "direction"))
        self._absurd = Counter(
            "gateway_usage_absurd", "Attempts whose upstream told usage that cannot be true.", ("upstream",)
        )
        self._slo = Counter("gateway_slo", "Answers of our own workers by rule, met its SLO or not.", ("rule", "met"))
        self.estimate_error = Histogram(
            "gateway_estimate_error_ratio",
            "Error of an estimate as a share of what came, by what was estimated.",
            ERROR_BUCKETS,
            ("what",),
        )
        self._kept = Counter("gateway_spill_kept", "Requests that a bound of `spill` kept at home.", ("rule", "bound"))
        self._rate_limited = Counter(
            "gateway_rate_limited", "Requests that a limit had no room for: a key's or a tenant's.", ("of", "limit")
        )
        self._webhooks = Counter("gateway_webhooks", "Messages about budgets to their webhooks.", ("result",))
        self._hedges = Counter("gateway_hedges", "Second attempts beside a late first one.", ("rule", "outcome"))
        self._rescues = Counter("gateway_rescues", "Streams that broke off and were to be saved.", ("rule", "outcome"))
        self._rollout = Counter(
            "gateway_rollout_decisions",
            "Decisions beside a candidate policy: same, different, renamed (the rule alone), or tried by it.",
            ("result",),
        )
        self._votes = Counter("gateway_votes", "Votes of answers on the learned limits.", ("backend", "model", "met"))
        self.inflight = Level("gateway_requests_in_flight", "Generations inside the gateway.")
        self.degraded = Level("gateway_degraded", "1 while the store does not answer.", join=max)
        self.receipts_dropped = Counter(
            "gateway_receipts_dropped", "Receipts that found no room while the store was away."
        )
        self.ledger_dropped = Counter(
            "gateway_ledger_dropped", "Attempts that found no room on the way to the ledger while the store was away."
        )
        self.ledger_lag_rows = Level("gateway_ledger_lag_rows", "Rows on their way to the ledger, about.", join=max)
        self.ledger_lag_seconds = Level(
            "gateway_ledger_lag_seconds", "For how long the oldest of them has waited.", join=max
        )
        self.ledger_refused = Level("gateway_ledger_refused_rows", "Rows that the ledger could not take.", join=max)
        self._gpu_faults = Counter(
            "gateway_gpu_faults", "Faults of GPUs that took a worker out, by what it was.", ("upstream", "what")
        )
        self._audit = Counter("gateway_audit_entries", "Audit entries of flagged requests.", ("what",))
        self._job_webhooks = Counter("gateway_job_webhooks", "Messages about jobs to their webhooks.", ("result",))
        self._jobs = Counter("gateway_jobs", "Jobs that ended, by how.", ("end",))
        self.jobs_running = Level("gateway_jobs_running", "Jobs that are worked on.")
        self.jobs_freed = Counter("gateway_jobs_freed", "Jobs of processes that died, freed for others to go on with.")
        self.policy_fault = Level(
            "gateway_policy_fault",
            "1 while the folder on disk, or the announced policy, does not compile; the last good one is in force.",
            join=max,
        )
        self._tasks = Level("gateway_tasks", "asyncio tasks of the process.")
        self.processes = Level("gateway_processes", "Processes whose figures are on this page.")
        self._instruments = [each for each in vars(self).values() if isinstance(each, Instrument)]
        self._fleet: Callable[[], Iterator[Row]] | None = None
        self._scales: Callable[[], Mapping[tuple[str, str], float]] | None = None
        self._shares: Callable[[], Mapping[str, float]] | None = None
        self._budgets: Callable[[], Mapping[str, float]] | None = None
        self._ratio = trace_ratio
        self._tracer = _tracer() if trace_ratio > 0 else None

    def count_request(self, backend: str, outcome: str, reason: str) -> None:
        self._requests.inc(backend, outcome, reason)

    def count_error(self, code: str) -> None:
        self._errors.inc(code)

    def count_refused(self, status: int) -> None:
        self._refused.inc(str(int(status)))

    def count_gpu_fault(self, upstream: str, what: str) -> None:
        self._gpu_faults.inc(upstream, what)

    def count_job(self, end: str) -> None:
        self._jobs.inc(end)

    def count_audit(self, what: str) -> None:
        self._audit.inc(what)

    def count_attempt(self, upstream: str, result: str) -> None:
        self._attempts.inc(upstream, result)

    def count_retry(self, taken: bool) -> None:
        self._retries.inc("taken" if taken else "refused")

    def keep(self, upstreams: Container[str]) -> None:
        """Forgets the counts of upstreams that are gone, once they are many: workers come and go for ever."""
        gone = [labels for labels in self._attempts.rows if labels[0] not in upstreams]
        if len(gone) > MOST_GONE:
            for labels in gone:
                del self._attempts.rows[labels]

    def count_slo(self, rule: str, met: bool) -> None:
        self._slo.inc(rule, "yes" if met else "no")

    def count_vote(self, backend: str, model: str, met: bool) -> None:
        self._votes.inc(backend, model, "yes" if met else "no")

    def count_kept(self, rule: str, bound: str) -> None:
        self._kept.inc(rule, bound)

    def count_rate_limited(self, of: str, limit: str) -> None:
        self._rate_limited.inc(of, limit)

    def count_job_webhook(self, taken: bool) -> None:
        self._job_webhooks.inc("taken" if taken else "failed")

    def count_webhook(self, taken: bool) -> None:
        self._webhooks.inc("taken" if taken else "failed")

    def count_hedge(self, rule: str, outcome: str) -> None:
        self._hedges.inc(rule, outcome)

    def count_rescue(self, rule: str, outcome: str) -> None:
        self._rescues.inc(rule, outcome)

    def count_rollout(self, result: str) -> None:
        self._rollout.inc(result)

    def count_usage(self, backend: str, basis: str, usd: float, input_tokens: int, output_tokens: int) -> None:
        self._cost.inc(backend, basis, by=usd)
        self._tokens.inc(backend, "input", by=input_tokens)
        self._tokens.inc(backend, "output", by=output_tokens)

    def count_absurd(self, upstream: str) -> None:
        self._absurd.inc(upstream)

    def watch_fleet(
        self, rows: Callable[[], Iterator[Row]], scales: Callable[[], Mapping[tuple[str, str], float]]
    ) -> None:
        """Where the fleet's gauges and the scales of learned limits, by backend and model, come from whenever a page is
        made: the snapshot, which all processes share."""
        self._fleet, self._scales = rows, scales

    def watch_spill(self, shares: Callable[[], Mapping[str, float]]) -> None:
        """Where the share of each rule's requests that left lately comes from, whenever a page is made."""
        self._shares = shares

    def watch_budgets(self, ratios: Callable[[], Mapping[str, float]]) -> None:
        """Where the share that is left of each budget comes from, whenever a page is made."""
        self._budgets = ratios

    def dump(self) -> bytes:
        """All instruments of this process for `page` of another one; the fleet is not among them."""
        self._tasks.set(count_tasks())
        return msgspec.json.encode({each.name: list(each.rows.items()) for each in self._instruments})

    def absorb(self, dump: bytes) -> None:
        """Takes over the counts of a process that has ended, by its last dump. Without them the sums would fall, which
        Prometheus takes for a restart of all and counts what is left once more."""
        state = _state(dump)
        for each in self._instruments:
            each.absorb(state.get(each.name, {}))

    def page(self, others: Iterable[bytes] = ()) -> bytes:
        """The Prometheus text page of this process and the `others`, given by their dumps.

        Counts and histograms add up, and so do requests in flight; degraded and policy fault hold if they do anywhere;
        the fleet is as this process sees it. Raises msgspec.DecodeError for what is no dump.
        """
        return generate_latest(_Page(self.collect(others)))

    def collect(self, others: Iterable[bytes] = ()) -> Iterator[Metric]:
        """The families of the page, in its order."""
        self._tasks.set(count_tasks())
        states = [_state(dump) for dump in others]
        for each in self._instruments:
            rows = each.joined([each.rows, *(state.get(each.name, {}) for state in states)])
            yield each.family(rows)
            if each is self.estimate_error:
                yield self._error_quantiles(rows)
        if self._fleet is not None:
            yield from _fleet_families(list(self._fleet()))
        if self._scales is not None:
            family = GaugeMetricFamily("gateway_limit_scale", LIMIT_SCALE_TEXT, labels=("backend", "model"))
            for labels, scale in self._scales().items():
                family.add_metric(labels, scale)
            yield family
        if self._shares is not None:
            family = GaugeMetricFamily("gateway_spill_share", SPILL_SHARE_TEXT, labels=("rule",))
            for rule, share in self._shares().items():
                family.add_metric((rule,), share)
            yield family
        if self._budgets is not None:
            family = GaugeMetricFamily("gateway_budget_left_ratio", BUDGET_LEFT_TEXT, labels=("budget",))
            for budget, ratio in self._budgets().items():
                family.add_metric((budget,), ratio)
            yield family

    def _error_quantiles(self, rows: Rows) -> Metric:
        family = GaugeMetricFamily(
            "gateway_estimate_error_quantile",
            "The same, below which half and nine tenths of the errors lie since the start.",
            labels=("what", "quantile"),
        )
        for (what,), row in rows.items():
            for share in ERROR_QUANTILES:
                if (value := self.estimate_error.quantile(row, share)) is not None:
                    family.add_metric((what, f"{share:g}"), value)
        return family

    def step(self, name: str, **attributes: str) -> AbstractContextManager[Any]:
        """A span for the share of requests that is traced; the draw comes first, so the rest pays next to nothing."""
        if self._tracer is None or random.random() >= self._ratio:
            return _NO_SPAN
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


def _state(dump: bytes) -> dict[str, Rows]:
    return {name: dict(rows) for name, rows in _dumps.decode(dump).items()}


def _fleet_families(rows: list[Row]) -> Iterator[Metric]:
    for name, text in FLEET_GAUGES.items():
        family = GaugeMetricFamily(name, text, labels=FLEET_LABELS)
        for labels, values in rows:
            if (value := values.get(name)) is not None:
                family.add_metric(labels, value)
        yield family


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
