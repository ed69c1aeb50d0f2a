"""The instruments, the page they make, and the page of several processes."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.instruments import Counter, Histogram
from gateway.telemetry import (
    BREAKER,
    BUDGET_LEFT,
    DURATION_BUCKETS,
    HEADROOM,
    POLICY_INFO,
    UP,
    WAITING,
    Row,
    Telemetry,
)
from gateway.telemetry.declared import Gauge

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
names = st.sampled_from(["a", "b", 'q"\\\n'])
seconds = st.integers(0, 200).map(lambda n: n / 4)
"""Their sums are exact in any order."""
bounds = st.sampled_from(DURATION_BUCKETS)
Step = Callable[[Telemetry], None]
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(names, names, names).map(lambda n: lambda t: t.count_request(*n)),
    names.map(lambda n: lambda t: t.count_error(n)),
    st.tuples(names, st.booleans()).map(lambda n: lambda t: t.count_slo(*n)),
    st.tuples(names, names, st.integers(0, 9)).map(lambda n: lambda t: t.count_usage(n[0], n[1], n[2] / 8, n[2], 1)),
    st.tuples(st.sampled_from(["ttft", "duration", "overhead", "queue"]), seconds).map(
        lambda n: lambda t: getattr(t, n[0]).observe(n[1])
    ),
    st.just(lambda t: t.inflight.add(1)),
    st.just(lambda t: t.receipts_dropped.inc()),
)
lives = st.lists(st.lists(steps, max_size=12), min_size=1, max_size=4)


def samples(page: bytes) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def lived(*parts: list[Step]) -> Telemetry:
    made = Telemetry()
    for part in parts:
        for step in part:
            step(made)
    return made


@given(st.lists(st.tuples(names, names), max_size=20), st.lists(bounds | st.floats(-1, 100), max_size=20))
def test_the_page_is_as_prometheus_own_instruments_write_it(counted: list[tuple[str, str]], seen: list[float]) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    counter = prometheus_client.Counter("c", "A text.", ("one", "two"), registry=registry)
    histogram = prometheus_client.Histogram("h", "Another.", buckets=DURATION_BUCKETS, registry=registry)
    ours, its = Counter("c", "A text.", ("one", "two")), Histogram("h", "Another.", DURATION_BUCKETS)
    for labels in counted:
        counter.labels(*labels).inc(0.25)
        ours.inc(*labels, by=0.25)
    for value in seen:
        histogram.observe(value)
        its.observe(value)
    page = generate_latest(registry)
    registry = CollectorRegistry()
    for each in (ours, its):
        registry.register(_Alone(each))
    assert generate_latest(registry) == page


class _Alone(prometheus_client.registry.Collector):
    def __init__(self, instrument: Counter | Histogram) -> None:
        self._instrument = instrument

    def collect(self) -> Iterator[Any]:
        yield self._instrument.family(self._instrument.rows)


def test_what_is_on_the_page_before_anything_happened() -> None:
    page = Telemetry().page().decode()
    for line in (
        "gateway_requests_in_flight 0.0",
        "gateway_receipts_dropped_total 0.0",
        "gateway_degraded 0.0",
        "# TYPE gateway_requests_total counter",
        'gateway_ttft_seconds_bucket{le="+Inf"} 0.0',
        'gateway_overhead_seconds_bucket{le="0.0001"} 0.0',
    ):
        assert line in page.splitlines()
    assert "_created" not in page


@given(lives)
def test_the_page_of_several_processes_is_as_if_one_had_done_it_all(parts: list[list[Step]]) -> None:
    first, *others = [lived(part) for part in parts]
    page = first.page([other.dump() for other in others])
    assert samples(page) == samples(lived(*parts).page())
    assert samples(page) == samples(first.page(other.dump() for other in others)), "asking changes nothing"


@given(lives)
def test_an_ended_process_leaves_its_counts_and_takes_its_levels_along(parts: list[list[Step]]) -> None:
    survivor, *ended = [lived(part) for part in parts]
    for one in ended:
        one.degraded.set(1)
        survivor.absorb(one.dump())
    told, expected = samples(survivor.page()), samples(lived(*parts).page())
    inflight = ("gateway_requests_in_flight", ())
    expected[inflight] = samples(lived(parts[0]).page())[inflight]
    assert told == expected


@pytest.mark.parametrize("where", [(), (0,), (1,), (0, 2)])
def test_a_fault_of_one_process_is_a_fault(where: tuple[int, ...]) -> None:
    made = [Telemetry() for _ in range(3)]
    for index in where:
        made[index].degraded.set(True)
        made[index].policy_fault.set(True)
    told = samples(made[0].page([one.dump() for one in made[1:]]))
    assert told["gateway_degraded", ()] == told["gateway_policy_fault", ()] == float(bool(where))


def test_the_fleet_is_that_of_the_process_that_answers() -> None:
    def rows(queue: float) -> Callable[[], Iterator[Row]]:
        return lambda: iter(
            [(("gpu", "w1"), {"gateway_upstream_queue_depth": queue, "gateway_upstream_running": None})]
        )

    made, other = Telemetry(), Telemetry()
    made.watch_fleet(rows(3.0))
    other.watch_fleet(rows(4.0))
    told = samples(made.page([other.dump()]))
    assert told["gateway_upstream_queue_depth", (("backend", "gpu"), ("upstream", "w1"))] == 3.0
    assert not any(name == "gateway_upstream_running" for name, _ in told)


@pytest.mark.parametrize(
    ("gauge", "values", "whole"),
    [
        (WAITING, (2.0, 3.0, 0.0), 5.0),
        (BREAKER, (0.0, 2.0, 1.0), 2.0),
        (UP, (1.0, 0.0, 1.0), 1.0),
        (HEADROOM, (0.5, 0.25, None), 0.25),
        (HEADROOM, (None, 0.75, None), 0.75),
        (POLICY_INFO, (1.0, None, None), 1.0),
        (BUDGET_LEFT, (0.5, 0.25, 0.75), 0.5),  # all read it in the store: whoever answers tells it
    ],
)
def test_each_gauge_of_several_processes_is_joined_as_it_says(
    gauge: Gauge, values: tuple[float | None, ...], whole: float
) -> None:
    made = [Telemetry() for _ in values]
    labels = tuple("abc"[: len(gauge.labels)])
    for one, value in zip(made, values, strict=True):
        one.watch(gauge, partial(list, [] if value is None else [(labels, value)]))
    told = samples(made[0].page([one.dump() for one in made[1:]]))
    assert told[gauge.name, tuple(sorted(zip(gauge.labels, labels, strict=True)))] == whole


def test_the_gauges_of_a_process_end_with_it() -> None:
    survivor, ended = Telemetry(), Telemetry()
    for one in (survivor, ended):
        one.watch(WAITING, lambda: [(("gpu",), 2.0)])
    survivor.absorb(ended.dump())
    assert samples(survivor.page())["gateway_waiting", (("backend", "gpu"),)] == 2.0


@pytest.mark.parametrize("dump", [b"", b"[]", b'{"gateway_ttft_seconds":[[["a"],["b"]]]}'])
def test_what_is_no_dump_is_refused(dump: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Telemetry().page([dump])


def test_a_dump_may_lack_an_instrument() -> None:
    assert Telemetry().page([b"{}"]) == Telemetry().page()


@given(st.lists(st.floats(1e-6, 80), min_size=1, max_size=60), st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_a_quantile_lies_in_the_bucket_of_the_value(seen: list[float], share: float) -> None:
    histogram = Histogram("h", "Text.", DURATION_BUCKETS, ("what",))
    for value in seen:
        histogram.observe(value, "x")
    found = histogram.quantile(histogram.rows[("x",)], share)
    exact = sorted(seen)[math.ceil(share * len(seen)) - 1]
    place = bisect_left(DURATION_BUCKETS, exact)
    lower, upper = (0.0, *DURATION_BUCKETS)[place], DURATION_BUCKETS[place]
    assert found is not None
    assert lower - 1e-9 <= found <= upper + 1e-9
    assert Histogram("h", "Text.", DURATION_BUCKETS, ("what",)).quantile([0.0] * 16, share) is None
