"""Every instrument, declared once. Label sets are bounded: names from the policy folder, codes from errors.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

import msgspec
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.instruments import Counter, Histogram, Instrument, Level, Observe, Rows
from gateway.telemetry.declared import (
    DURATION_BUCKETS,
    ERROR_BUCKETS,
    ERROR_QUANTILES,
    FLEET_GAUGES,
    FLEET_LABELS,
    MOST_GONE,
    OVERHEAD_BUCKETS,
    TTFT_BUCKETS,
    Gauge,
    Row,
)
from gateway.telemetry.genai import Conventions, GenAi
from gateway.telemetry.tracing import Tracing

_WHAT = ("what",)
_dumps = msgspec.json.Decoder(dict[str, list[tuple[tuple[str, ...], list[float]]]])


class _Page(Collector):
    """Families that are already made, for prometheus_client's text writer."""

    def __init__(self, families: Iterator[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return self._families


Labelled = Iterable[tuple[tuple[str, ...], float]]
"""Label values, in the order of the declaration, and the value."""


@dataclass(frozen=True, slots=True)
class Taken:
    """All figures of one moment, apart from what goes on being counted: another thread may make a page of them."""

    rows: list[tuple[Instrument, Rows]]
    fleet: list[Row]
    gauges: list[tuple[Gauge, list[tuple[tuple[str, ...], float]]]]


class Telemetry:
    """The instruments of one process, and the page of one or of several; and its `tracing`."""

    def __init__(self, tracing: Tracing | None = None, conventions: Conventions = "old") -> None:
        self.tracing = tracing or Tracing()
        self._requests = Counter("gateway_requests", "Requests answered.", ("backend", "outcome", "reason"))
        self._errors = Counter("gateway_errors", "Requests answered with an error of ours.", ("code",))
        self._refused = Counter("gateway_refused", "Answered in plain text: no request was read.", ("status",))
        self._attempts = Counter("gateway_attempts", "Attempts on upstreams.", ("upstream", "result"))
        self._retries = Counter(
            "gateway_retries",
            "Failed attempts that another might follow: taken, or refused by the budget.",
            ("result",),
        )
        self.ttft = Histogram("gateway_ttft_seconds", "Arrival to the first byte of a streamed answer.", TTFT_BUCKETS)
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
        self._said = Counter("gateway_estimate_said", "Sums of what was estimated, where it is known what came.", _WHAT)
        self._came = Counter("gateway_estimate_came", "Sums of what came, in the same units.", _WHAT)
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
        self.jobs_waiting = Level("gateway_jobs_waiting", "Those of them that nobody has an order of yet, about.")
        self.jobs_slots = Level("gateway_jobs_slots", "How many may be worked on at once.")
        self.jobs_freed = Counter("gateway_jobs_freed", "Jobs of processes that died, freed for others to go on with.")
        self.policy_fault = Level(
            "gateway_policy_fault",
            "1 while the folder on disk, or the announced policy, does not compile; the last good one is in force.",
            join=max,
        )
        self._tasks = Level("gateway_tasks", "asyncio tasks of the process.")
        self.processes = Level("gateway_processes", "Processes whose figures are on this page.")
        self.exports_failed = Counter(
            "gateway_exports_failed", "Batches that the OpenTelemetry collector did not take.", ("signal",)
        )
        self.genai = GenAi(conventions)
        own = [each for each in vars(self).values() if isinstance(each, Instrument)]
        self._instruments = [*own, *self.genai.instruments]
        self._usage: dict[tuple[str, str], tuple[Observe, Observe, Observe]] = {}
        self._estimates: dict[str, tuple[Observe, Observe, Observe]] = {}
        self._fleet: Callable[[], Iterable[Row]] = tuple
        self._gauges: list[tuple[Gauge, Callable[[], Labelled]]] = []

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
        add_usd, add_input, add_output = self._usage.get((backend, basis)) or self._use(backend, basis)
        add_usd(usd)
        add_input(input_tokens)
        add_output(output_tokens)

    def _use(self, backend: str, basis: str) -> tuple[Observe, Observe, Observe]:
        tokens = self._tokens.bound(backend, "input"), self._tokens.bound(backend, "output")
        self._usage[backend, basis] = rows = (self._cost.bound(backend, basis), *tokens)
        return rows

    def count_absurd(self, upstream: str) -> None:
        self._absurd.inc(upstream)

    def estimated(self, what: str, wrong: float, said: float, came: float) -> None:
        """`wrong`: the error as a share. The sums of the others tell whether estimates drift to one side: errors alone
        do not."""
        errors, add_said, add_came = self._estimates.get(what) or self._estimate(what)
        errors(wrong)
        add_said(said)
        add_came(came)

    def _estimate(self, what: str) -> tuple[Observe, Observe, Observe]:
        rows = self.estimate_error.bound(what), self._said.bound(what), self._came.bound(what)
        self._estimates[what] = rows
        return rows

    def watch_fleet(self, rows: Callable[[], Iterable[Row]]) -> None:
        """Where the fleet's gauges come from whenever a page is made: the snapshot, which all processes share."""
        self._fleet = rows

    def watch(self, gauge: Gauge, rows: Callable[[], Labelled]) -> None:
        """Where the values of a gauge come from whenever a page is made."""
        self._gauges.append((gauge, rows))

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
        return self.families(self.take(others))

    def take(self, others: Iterable[bytes] = ()) -> Taken:
        """To be called where things are counted, in the event loop."""
        self._tasks.set(count_tasks())
        states = [_state(dump) for dump in others]
        return Taken(
            [
                (one, one.joined([one.rows, *(state.get(one.name, {}) for state in states)]))
                for one in self._instruments
            ],
            list(self._fleet()),
            [(gauge, list(rows())) for gauge, rows in self._gauges],
        )

    def families(self, taken: Taken) -> Iterator[Metric]:
        """Of any thread."""
        for each, rows in taken.rows:
            yield each.family(rows)
            if each is self.estimate_error:
                yield self._error_quantiles(rows)
            if each is self._came:
                yield self._drift(dict(taken.rows)[self._said], rows)
        yield from _fleet_families(taken.fleet)
        for gauge, values in taken.gauges:
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=gauge.labels)
            for labels, value in values:
                family.add_metric(labels, value)
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

    def _drift(self, said: Rows, came: Rows) -> Metric:
        family = GaugeMetricFamily(
            "gateway_estimate_drift_ratio",
            "By how much estimates are too high (or, negative, too low) in the mean since the start, as a share.",
            labels=_WHAT,
        )
        for labels, (sum_came,) in came.items():
            if sum_came:
                family.add_metric(labels, said[labels][0] / sum_came - 1)
        return family


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
