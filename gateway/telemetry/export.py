"""Where spans and figures go: an OpenTelemetry collector, or, spans alone, stderr."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
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
_FILE, _OTLP = "file:", "gateway.telemetry.otlp"


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
        self._saying = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        taken = self._try("traces", lambda: self._wire.spans(spans))
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def metrics(self, data: MetricsData) -> None:
        self._try("metrics", lambda: self._wire.metrics(data))

    def late(self) -> None:
        """The figures of last time are still on their way: those of now cannot go."""
        self._said("metrics", taken=False)

    def closing(self) -> None:
        """From now on a collector that is away is not waited for."""
        self._closing = True
        if any(self._away.values()):
            self._wire.stop()

    def shutdown(self) -> None:
        self._wire.stop()

    def _try(self, signal: str, send: Callable[[], bool]) -> bool:
        if self._closing and self._away[signal]:
            return False
        taken = False
        with suppress(Exception):  # whatever befell the wire, it was not taken
            taken = send()
        self._said(signal, taken=taken)
        return taken

    def _said(self, signal: str, *, taken: bool) -> None:
        with self._saying:
            if not taken:
                self.failed(signal)
            if taken is not self._away[signal]:
                return
            self._away[signal] = not taken
        fields = {"fields": {"signal": signal}}
        if taken:
            _log.info("the collector takes telemetry again", extra=fields)
        else:
            _log.warning("the collector does not take telemetry: what comes meanwhile is dropped", extra=fields)


class Export:
    """The figures of this process every so many seconds, and an orderly end of both ways out, within `last` seconds.

    What sends are daemon threads, never the loop's own executor: a process waits for that one at its end, however long
    a collector takes to say nothing.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        collector: Collector | None,
        instance: str,
        seconds: float,
        last: float = LAST_SECONDS,
    ) -> None:
        self._telemetry, self._collector, self._seconds, self._last = telemetry, collector, seconds, last
        self._resource, self._since = resource(instance), time.time_ns()
        for signal in SIGNALS:  # rows from the start: other threads only add to them
            telemetry.exports_failed.inc(signal, by=0.0)
        if collector is not None:
            collector.failed = telemetry.exports_failed.inc

    async def run(self) -> None:
        under_way = False

        def done() -> None:
            nonlocal under_way
            under_way = False

        while self._collector is not None:
            await asyncio.sleep(self._seconds)
            if under_way:
                self._collector.late()
            else:
                under_way = _apart(partial(self._send, self._collector, self._telemetry.take()), done)
        await asyncio.Event().wait()

    def _send(self, collector: Collector, taken: Taken) -> None:
        families = self._telemetry.families(taken)
        named = self._telemetry.genai.of
        collector.metrics(metrics_data(families, named, self._resource, self._since, time.time_ns()))

    async def aclose(self) -> None:
        """Sends what is left, or gives it up after so many seconds."""
        taken, done = self._telemetry.take(), asyncio.Event()
        if not _apart(partial(self._send_last, taken), done.set):
            return
        try:
            async with asyncio.timeout(self._last):
                await done.wait()
        except TimeoutError:
            _log.warning("the last telemetry could not be sent in time")

    def _send_last(self, taken: Taken) -> None:
        try:
            if self._collector is not None:
                self._collector.closing()
                self._send(self._collector, taken)
        finally:
            self._telemetry.tracing.close()


def _apart(send: Callable[[], None], done: Callable[[], None]) -> bool:
    """Runs `send` in a daemon thread, and then `done` in the loop, however `send` ended. False: there are no more
    threads to be had, because the interpreter ends."""
    loop = asyncio.get_running_loop()

    def run() -> None:
        try:
            send()
        except Exception:
            _log.exception("telemetry could not be sent")
        finally:
            with suppress(RuntimeError):  # the loop did not wait for us, and is closed
                loop.call_soon_threadsafe(done)

    with suppress(RuntimeError):
        threading.Thread(target=run, name="telemetry", daemon=True).start()
        return True
    return False


def open_collector(endpoint: str | None, headers: str) -> Collector | None:
    """None where no collector is set. Raises StartupFault."""
    if not endpoint:
        return None
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise StartupFault(BAD_ENDPOINT)
    return Collector(speaking(_OTLP).Otlp(endpoint.rstrip("/"), headers_of(headers)))


def speaking(module: str) -> ModuleType:
    """A module that needs the extra. Raises StartupFault where that, or a part of it, is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise StartupFault(NO_EXTRA) from None


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
