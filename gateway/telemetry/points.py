"""The families of the metrics page as OpenTelemetry's data model: the same figures on both ways out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as Point
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from gateway.telemetry.genai import ATTRIBUTES

_CUMULATIVE = AggregationTemporality.CUMULATIVE
_UNBOUNDED = "+Inf"
_UNTOLD: tuple[Any, Any] = (None, None)
"""Least and greatest: they may be left out, which the type of the SDK does not say."""
Named = Callable[[str], tuple[str, str] | None]
"""A family's name elsewhere, and its unit; None: it keeps its own."""


def metrics_data(families: Iterable[Metric], named: Named, resource: Resource, since: int, now: int) -> MetricsData:
    """`since`: when counting began; both are nanoseconds since the epoch."""
    made = [_point(family, named, since, now) for family in families if family.samples]
    scope = ScopeMetrics(InstrumentationScope("gateway"), made, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _point(family: Metric, named: Named, since: int, now: int) -> Point:
    name, unit = named(family.name) or (family.name, "")
    data: Gauge | Sum | Histogram
    if family.type == "histogram":
        data = Histogram(_distributions(family.samples, since, now), _CUMULATIVE)
    else:
        values = [NumberDataPoint(_attributes(one.labels), since, now, one.value) for one in family.samples]
        data = Sum(values, _CUMULATIVE, is_monotonic=True) if family.type == "counter" else Gauge(values)
    return Point(name, family.documentation, unit, data)


def _distributions(samples: Iterable[Sample], since: int, now: int) -> list[HistogramDataPoint]:
    """Prometheus' buckets count all below their bound, OpenTelemetry's each its own. The sum of a row comes last."""
    made, bounds, counts, before = [], [], [], 0
    for one in samples:
        if one.name.endswith("_bucket"):
            counts.append(int(one.value) - before)
            before = int(one.value)
            if one.labels["le"] != _UNBOUNDED:
                bounds.append(float(one.labels["le"]))
        elif one.name.endswith("_sum"):
            attributes = _attributes(one.labels)
            point = HistogramDataPoint(attributes, since, now, before, one.value, counts, bounds, *_UNTOLD)
            made.append(point)
            bounds, counts, before = [], [], 0
    return made


def _attributes(labels: Mapping[str, str]) -> dict[str, str]:
    """An empty label is none."""
    return {ATTRIBUTES.get(name, name): value for name, value in labels.items() if value}
