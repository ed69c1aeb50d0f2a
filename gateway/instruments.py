"""Counters, levels and histograms of one process as plain numbers: to record is a dict look-up and an addition.

prometheus_client makes the page of them when it is asked for; its own instruments took 16 to 20 us of every request.
They belong to the event loop: nothing here locks.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

Rows = Mapping[tuple[str, ...], list[float]]
"""Label values to numbers: one number, or of a histogram the count in each bucket alone, the one above all of them,
and the sum of what was observed."""

Observe = Callable[[float], None]
Join = Callable[[float, float], float]
"""How the numbers of two processes become one: they add up, or the greater or the lesser holds."""


class Instrument(ABC):
    """`rows` is its state. One without labels is on the page from the start, one with labels as soon as it is used."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: tuple[str, ...] = (),
        width: int = 1,
        join: Join = operator.add,
    ) -> None:
        self.name, self.text, self.labels, self._join = name, text, labels, join
        self.rows: dict[tuple[str, ...], list[float]] = {} if labels else {(): [0.0] * width}

    def joined(self, parts: Iterable[Rows]) -> Rows:
        """The rows of several processes as one."""
        return joined(parts, self._join)

    def absorb(self, rows: Rows) -> None:
        """Takes over what a process that has ended had counted."""
        for labels, numbers in rows.items():
            row = self.rows.setdefault(labels, [0.0] * len(numbers))
            row[:] = [a + b for a, b in zip(row, numbers, strict=True)]

    @abstractmethod
    def family(self, rows: Rows) -> Metric:
        """These rows as prometheus_client shows them."""


class Counter(Instrument):
    """Only grows; processes add up. `labels` are in the order of the declaration."""

    def inc(self, *labels: str, by: float = 1.0) -> None:
        row = self.rows.get(labels)
        if row is None:
            row = self.rows[labels] = [0.0]
        row[0] += by

    def bound(self, *labels: str) -> Observe:
        """`inc` of one row by so much, for who has the same labels again and again: it is looked for once."""
        row = self.rows.setdefault(labels, [0.0])

        def add(by: float) -> None:
            row[0] += by

        return add

    def family(self, rows: Rows) -> Metric:
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for labels, (value,) in rows.items():
            family.add_metric(labels, value)
        return family


class Level(Instrument):
    """Goes up and down. Those of several processes add up unless `join` says otherwise."""

    def __init__(self, name: str, text: str, join: Join = operator.add) -> None:
        super().__init__(name, text, join=join)
        self._row = self.rows[()]

    @property
    def value(self) -> float:
        return self._row[0]

    def set(self, value: float) -> None:
        self._row[0] = float(value)

    def add(self, by: float) -> None:
        self._row[0] += by

    def absorb(self, rows: Rows) -> None:
        """Nothing: a level ends with its process."""

    def family(self, rows: Rows) -> Metric:
        return GaugeMetricFamily(self.name, self.text, value=rows[()][0])


class Histogram(Instrument):
    """`buckets` are upper bounds, rising; a value on a bound belongs below it. Processes add up."""

    def __init__(self, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> None:
        super().__init__(name, text, labels, width=len(buckets) + 2)
        self.buckets = buckets

    def observe(self, value: float, *labels: str) -> None:
        row = self.rows.get(labels)
        if row is None:
            row = self.rows[labels] = [0.0] * (len(self.buckets) + 2)
        row[bisect_left(self.buckets, value)] += 1
        row[-1] += value

    def bound(self, *labels: str) -> Observe:
        """`observe` of one row, for who has the same labels again and again: it is looked for once."""
        row, buckets = self.rows.setdefault(labels, [0.0] * (len(self.buckets) + 2)), self.buckets

        def observe(value: float) -> None:
            row[bisect_left(buckets, value)] += 1
            row[-1] += value

        return observe

    def quantile(self, row: Sequence[float], share: float) -> float | None:
        """Of one of its rows, as `quantile` has it."""
        return quantile(row[:-1], self.buckets, share)

    def family(self, rows: Rows) -> Metric:
        bounds = list(map(floatToGoString, (*self.buckets, inf)))
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for labels, (*counts, total) in rows.items():
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        return family


def joined(parts: Iterable[Rows], join: Join) -> Rows:
    whole: dict[tuple[str, ...], list[float]] = {}
    for part in parts:
        for labels, numbers in part.items():
            there = whole.get(labels)
            whole[labels] = numbers if there is None else [join(a, b) for a, b in zip(there, numbers, strict=True)]
    return whole


def quantile(counts: Sequence[float], buckets: Sequence[float], share: float) -> float | None:
    """Below what this share of the values lies, as far as the buckets tell it (inside one: in proportion; above all:
    the highest bound); None where nothing was observed. `counts`: in each bucket alone, and above all of them."""
    wanted = share * sum(counts)
    if not wanted:
        return None
    lower = 0.0
    for count, upper in zip(counts, buckets, strict=False):
        if count and wanted <= count:
            return lower + (upper - lower) * wanted / count
        wanted -= count
        lower = upper
    return lower
