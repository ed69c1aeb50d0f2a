"""What is counted, and the page of it. Label sets are bounded: names from the policy folder, codes from errors.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.instruments import Instrument, Observe, Rows, joined
from gateway.telemetry.declared import (
    ERROR_QUANTILES,
    FLEET_GAUGES,
    FLEET_LABELS,
    MOST_GONE,
    Gauge,
    Instruments,
    Row,
)
from gateway.telemetry.genai import Conventions, GenAi
from gateway.telemetry.tracing import DROPS, Tracing

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
    gauges: list[tuple[Gauge, Rows]]


class Telemetry(Instruments):
    """The instruments of one process, and the page of one or of several; and its `tracing`."""

    def __init__(self, tracing: Tracing | None = None, conventions: Conventions = "old") -> None:
        super().__init__()
        self.genai = GenAi(conventions)
        own = [each for each in vars(self).values() if isinstance(each, Instrument)]
        self._instruments = [*own, *self.genai.instruments]
        self._usage: dict[tuple[str, str], tuple[Observe, Observe, Observe]] = {}
        self._estimates: dict[str, tuple[Observe, Observe, Observe]] = {}
        self._fleet: Callable[[], Iterable[Row]] = tuple
        self._gauges: list[tuple[Gauge, Callable[[], Labelled]]] = []
        self.tracing = tracing or Tracing()
        for reason in DROPS:  # rows from the start: other threads only add to them
            self._count_dropped(reason, 0)
        self.tracing.count(self._count_dropped, self._unfollowed.inc)

    def _count_dropped(self, reason: str, spans: int) -> None:
        self.spans_dropped.inc(reason, by=spans)

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
        """All that is this process's own, for `page` of another one: not what both read in the store."""
        self._tasks.set(count_tasks())
        rows = {each.name: each.rows for each in self._instruments}
        rows |= {gauge.name: _rows(values()) for gauge, values in self._gauges if gauge.join is not None}
        return msgspec.json.encode({name: list(each.items()) for name, each in rows.items()})

    def absorb(self, dump: bytes) -> None:
        """Takes over the counts of a process that has ended, by its last dump. Without them the sums would fall, which
        Prometheus takes for a restart of all and counts what is left once more."""
        state = _state(dump)
        for each in self._instruments:
            each.absorb(state.get(each.name, {}))

    def page(self, others: Iterable[bytes] = ()) -> bytes:
        """The Prometheus text page of this process and the `others`, given by their dumps.

        Counts and histograms add up; of levels and gauges their declaration says how they join; what all read in the
        store is as this process sees it. Raises msgspec.DecodeError for what is no dump.
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
            [(gauge, _whole(gauge, _rows(values()), states)) for gauge, values in self._gauges],
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
            for labels, (value,) in values.items():
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


def _rows(values: Labelled) -> dict[tuple[str, ...], list[float]]:
    return {labels: [value] for labels, value in values}


def _whole(gauge: Gauge, own: Rows, others: Iterable[Mapping[str, Rows]]) -> Rows:
    return own if gauge.join is None else joined([own, *(state.get(gauge.name, {}) for state in others)], gauge.join)


def _fleet_families(rows: list[Row]) -> Iterator[Metric]:
    for name, text in FLEET_GAUGES.items():
        family = GaugeMetricFamily(name, text, labels=FLEET_LABELS)
        for labels, values in rows:
            if (value := values.get(name)) is not None:
                family.add_metric(labels, value)
        yield family
