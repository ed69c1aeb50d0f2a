"""OTLP over HTTP. Imported where `GATEWAY_OTLP_ENDPOINT` is set and nowhere else: its exporter is an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

TIMEOUT_SECONDS = 3.0
"""Of one export, with all that is tried again. What cannot be sent by then is dropped: more is coming."""


class Otlp:
    """`export.Wire`. `endpoint` is the collector's address without a path of a signal."""

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        given = dict(headers)
        self._spans = OTLPSpanExporter(f"{endpoint}/v1/traces", headers=given, timeout=TIMEOUT_SECONDS)
        self._metrics = OTLPMetricExporter(f"{endpoint}/v1/metrics", headers=given, timeout=TIMEOUT_SECONDS)

    def spans(self, spans: Sequence[ReadableSpan]) -> bool:
        return self._spans.export(spans) is SpanExportResult.SUCCESS

    def metrics(self, data: MetricsData) -> bool:
        return self._metrics.export(data) is MetricExportResult.SUCCESS

    def stop(self) -> None:
        self._spans.shutdown()  # type: ignore[no-untyped-call]
        self._metrics.shutdown()
