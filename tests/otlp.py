"""What a collector was sent, decoded with OpenTelemetry's own protobuf classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from loadtests.collector import Sink

KINDS = {2: "server", 3: "client", 5: "consumer"}


@dataclass(frozen=True)
class Span:
    trace: str
    id: str
    parent: str
    state: str
    name: str
    kind: str
    attributes: dict[str, Any]
    events: tuple[str, ...]
    seconds: float
    began: int
    failed: bool


@dataclass(frozen=True)
class Point:
    """`value`: of a histogram the number of observations, `total` their sum."""

    name: str
    unit: str
    attributes: dict[str, Any]
    value: float
    total: float
    buckets: tuple[int, ...]
    instance: str


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def spans(sink: Sink) -> list[Span]:
    made = []
    for body in sink.bodies("/v1/traces"):
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                made += [span_of(one) for one in scope.spans]
    return made


def span_of(one: Any) -> Span:
    return Span(
        one.trace_id.hex(),
        one.span_id.hex(),
        one.parent_span_id.hex(),
        one.trace_state,
        one.name,
        KINDS[one.kind],
        values(one.attributes),
        tuple(event.name for event in one.events),
        (one.end_time_unix_nano - one.start_time_unix_nano) / 1e9,
        one.start_time_unix_nano,
        one.status.code == 2,
    )


def points(sink: Sink) -> list[Point]:
    """Of the newest export of each instance."""
    newest: dict[str, list[Point]] = {}
    for body in sink.bodies("/v1/metrics"):
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            instance = values(resource.resource.attributes)["service.instance.id"]
            newest[instance] = [
                point for scope in resource.scope_metrics for one in scope.metrics for point in points_of(one, instance)
            ]
    return [point for made in newest.values() for point in made]


def points_of(metric: Any, instance: str) -> Iterator[Point]:
    kind = metric.WhichOneof("data")
    for one in getattr(metric, kind).data_points:
        said = values(one.attributes)
        if kind == "histogram":
            buckets = tuple(one.bucket_counts)
            yield Point(metric.name, metric.unit, said, one.count, one.sum, buckets, instance)
        else:
            value = getattr(one, one.WhichOneof("value"))
            yield Point(metric.name, metric.unit, said, value, value, (), instance)
