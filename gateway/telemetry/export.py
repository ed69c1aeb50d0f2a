"""Where spans and figures go: an OpenTelemetry collector, or, spans alone, stderr."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult

from gateway.errors import StartupFault, extra
from gateway.telemetry.meters import Taken, Telemetry
from gateway.telemetry.points import metrics_data
from gateway.telemetry.tracing import resource

_log = logging.getLogger("gateway")
SIGNALS = ("traces", "metrics")
LAST_SECONDS = 4.0
"""For the last spans and figures to go out: a little more than one export may take."""
NO_EXTRA = f"GATEWAY_OTLP_ENDPOINT is set, and what speaks OTLP is not installed: {extra('otlp')}"
BAD_ENDPOINT = "GATEWAY_OTLP_ENDPOINT: give the collector's address, as http://collector:4318; /v1/traces is added"
BAD_HEADERS = "GATEWAY_OTLP_HEADERS: give name=value, several by commas, or file:PATH of a file that holds them"
_FILE = "file:"


class Wire(Protocol):
    """What speaks to a collector (`telemetry/otlp.py`). Its calls are for other threads than the loop's: they wait."""

    def spans(self, spans: Sequence[ReadableSpan]) -> bool: ...
    def metrics(self, data: MetricsData) -> bool:
        """Whether the collector took them."""
        ...

    def stop(self) -> None:
        """What is being tried again is given up."""
        ...


class Collector(SpanExporter):
    """Says once that the collector is away and once that it is back, and counts what it did not take."""

    def __init__(self, wire: Wire) -> None:
        self._wire, self._closing = wire, False
        self.failed: Callable[[str], None] = lambda _signal: None
        self._away = dict.fromkeys(SIGNALS, False)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._closing and self._away["traces"]:
            return SpanExportResult.FAILURE
        taken = self._said("traces", self._wire.spans(spans))
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def metrics(self, data: MetricsData) -> None:
        if not (self._closing and self._away["metrics"]):
            self._said("metrics", self._wire.metrics(data))

    def closing(self) -> None:
        """From now on a collector that is away is not waited for."""
        self._closing = True
        if any(self._away.values()):
            self._wire.stop()

    def shutdown(self) -> None:
        self._wire.stop()

    def _said(self, signal: str, taken: bool) -> bool:
        if not taken:
            self.failed(signal)
        if taken is self._away[signal]:
            self._away[signal] = not taken
            fields = {"fields": {"signal": signal}}
            if taken:
                _log.info("the collector takes telemetry again", extra=fields)
            else:
                _log.warning("the collector does not take telemetry: what comes meanwhile is dropped", extra=fields)
        return taken


class Export:
    """The figures of this process every so many seconds, and an orderly end of both ways out."""

    def __init__(self, telemetry: Telemetry, collector: Collector | None, instance: str, seconds: float) -> None:
        self._telemetry, self._collector, self._seconds = telemetry, collector, seconds
        self._resource, self._since = resource(instance), time.time_ns()
        for signal in SIGNALS:  # rows from the start: other threads only add to them
            telemetry.exports_failed.inc(signal, by=0.0)
        if collector is not None:
            collector.failed = telemetry.exports_failed.inc

    async def run(self) -> None:
        while self._collector is not None:
            await asyncio.sleep(self._seconds)
            await asyncio.to_thread(self._send, self._collector, self._telemetry.take())
        await asyncio.Event().wait()

    def _send(self, collector: Collector, taken: Taken) -> None:
        families = self._telemetry.families(taken)
        named = self._telemetry.genai.of
        collector.metrics(metrics_data(families, named, self._resource, self._since, time.time_ns()))

    async def aclose(self) -> None:
        """Sends what is left. A thread of its own, which the process does not wait for longer than LAST_SECONDS."""
        taken, done, loop = self._telemetry.take(), asyncio.Event(), asyncio.get_running_loop()

        def last() -> None:
            if self._collector is not None:
                self._collector.closing()
                self._send(self._collector, taken)
            self._telemetry.tracing.close()
            loop.call_soon_threadsafe(done.set)

        threading.Thread(target=last, name="last telemetry", daemon=True).start()
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await done.wait()
        except TimeoutError:
            _log.warning("the last telemetry could not be sent in time")


def open_collector(endpoint: str | None, headers: str) -> Collector | None:
    """None where no collector is set. Raises StartupFault."""
    if not endpoint:
        return None
    if find_spec("opentelemetry.exporter") is None:
        raise StartupFault(NO_EXTRA)
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise StartupFault(BAD_ENDPOINT)
    wire: Wire = importlib.import_module("gateway.telemetry.otlp").Otlp(endpoint.rstrip("/"), headers_of(headers))
    return Collector(wire)


def headers_of(text: str) -> dict[str, str]:
    """As `OTEL_EXPORTER_OTLP_HEADERS` has them, values percent-encoded. Raises StartupFault, which never shows them."""
    if text.startswith(_FILE):
        try:
            text = Path(text.removeprefix(_FILE)).read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise StartupFault(BAD_HEADERS) from None
    pairs = [one.partition("=") for one in text.split(",") if one.strip()]
    if any(not name.strip() or not middle for name, middle, _ in pairs):
        raise StartupFault(BAD_HEADERS)
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}


def on_stderr() -> SpanExporter:
    """One line of JSON a span."""
    return ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: f"{span.to_json(indent=None)}\n")
