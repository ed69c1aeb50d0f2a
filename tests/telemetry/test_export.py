"""Collectors at their worst: whatever they do, the end comes in time, and each outage is told once."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan

from gateway.errors import StartupFault
from gateway.model import Trace
from gateway.telemetry import Export, Note, Telemetry, Tracing, open_collector
from gateway.telemetry.export import NO_EXTRA, Collector, Wire
from tests.polling import until

TRACE = Trace("0af7651916cd43dd8448eb211c80319c", "01", None, "b7ad6b7169203331")
LAST = 0.2
SLACK = 1.5
"""Seconds beyond the bound for a machine that has other things to do; one export alone may take 3."""
DRIP = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@contextmanager
def listening(says: bytes) -> Iterator[str]:
    """Takes connections, says this, and then neither answers nor hangs up: with `DRIP` a byte now and then."""
    over, held = threading.Event(), list[socket.socket]()

    def serve() -> None:
        while not over.is_set():
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            held.append(taken)
            threading.Thread(target=drip, args=(taken,), daemon=True).start()

    def drip(taken: socket.socket) -> None:
        try:
            taken.sendall(says)
            while says == DRIP and not over.wait(0.02):
                taken.sendall(b"x")
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
    for taken in held:
        taken.close()


@pytest.mark.parametrize("says", [b"", DRIP, b"nonsense\r\n\r\n", b"HTTP/1.1 999 \r\n\r\n"])
async def test_no_collector_holds_up_the_end(says: bytes) -> None:
    with listening(says) as url:
        collector = open_collector(url, "")
        tracing = Tracing(1.0, exporter=collector)
        export = Export(Telemetry(tracing), collector, "one", 0.05, LAST)
        task = asyncio.create_task(export.run())
        tracing.write(TRACE, [Note("x", "server", "1" * 16, 1.0, 2.0)])
        await asyncio.sleep(0.1)  # an export is under way: only the collector could say so
        began = time.monotonic()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await export.aclose()
        assert time.monotonic() - began < LAST + SLACK
        assert not [one for one in senders() if not one.daemon], "nothing waits for it"
    assert collector is not None
    collector.shutdown()  # what hangs ends with its connections, and tries nothing again
    for one in senders():
        one.join(10)


def senders() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "telemetry" or one.name.startswith("OtelBatch")]


class Scripted(Wire):
    """What became of each export, in order; the last one again and again. Waits for `go`."""

    def __init__(self, *taken: bool | Exception) -> None:
        self._taken, self.asked, self.go = list(taken), 0, threading.Event()
        self.go.set()

    def spans(self, spans: Sequence[ReadableSpan]) -> bool:
        return self._next()

    def metrics(self, data: MetricsData) -> bool:
        return self._next()

    def stop(self) -> None:
        """Nothing."""

    def _next(self) -> bool:
        self.asked += 1
        self.go.wait(10)
        taken = self._taken.pop(0) if len(self._taken) > 1 else self._taken[0]
        if isinstance(taken, Exception):
            raise taken
        return taken


def failed(telemetry: Telemetry, signal: str = "metrics") -> float:
    return telemetry.exports_failed.rows[(signal,)][0]


async def test_each_outage_is_told_once_and_each_batch_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")
    wire = Scripted(False, RuntimeError("of its own"), False, True, False, True)
    telemetry, collector = Telemetry(), Collector(wire)
    task = asyncio.create_task(Export(telemetry, collector, "one", 0.005).run())
    await until(lambda: wire.asked > 7)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert failed(telemetry) == 4
    said = [record.getMessage() for record in caplog.records if record.name == "gateway"]
    away, back = "the collector does not take telemetry", "the collector takes telemetry again"
    assert [one.partition(":")[0] for one in said] == [away, back, away, back]


async def test_an_export_that_never_ends_is_an_outage_and_no_second_one_begins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Scripted(True)
    wire.go.clear()
    telemetry = Telemetry()
    task = asyncio.create_task(Export(telemetry, Collector(wire), "one", 0.005).run())
    await until(lambda: failed(telemetry) > 3)
    assert wire.asked == 1
    assert len([record for record in caplog.records if "does not take" in record.getMessage()]) == 1
    wire.go.set()
    await until(lambda: wire.asked > 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_end_comes_at_once_where_sending_fails_by_a_mistake_of_ours() -> None:
    telemetry = Telemetry()
    telemetry.genai.of = None  # type: ignore[method-assign, assignment]  # what makes points of the figures fails
    telemetry.count_error("x")
    began = time.monotonic()
    await Export(telemetry, Collector(Scripted(True)), "one", 60.0, 30.0).aclose()
    assert time.monotonic() - began < 5


def test_a_loop_that_did_not_wait_is_not_missed() -> None:
    """The thread comes back to a loop that is closed: nobody hears of it."""
    wire, faults = Scripted(True), list[object]()
    wire.go.clear()
    before, threading.excepthook = threading.excepthook, faults.append
    try:
        asyncio.run(Export(Telemetry(), Collector(wire), "one", 60.0, 0.01).aclose())
        (late,) = senders()
        wire.go.set()
        late.join(10)
    finally:
        threading.excepthook = before
    assert faults == []


async def test_an_interpreter_that_ends_gives_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    export = Export(Telemetry(), Collector(Scripted(True)), "one", 60.0, 30.0)
    monkeypatch.setattr(threading.Thread, "start", no_more)
    await export.aclose()


@pytest.mark.parametrize("part", ["opentelemetry.exporter", "opentelemetry.exporter.otlp.proto.http.metric_exporter"])
def test_without_the_extra_or_a_part_of_it_nothing_starts(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.startswith("opentelemetry.exporter")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "gateway.telemetry.otlp", raising=False)
    monkeypatch.setitem(sys.modules, part, None)
    with pytest.raises(StartupFault, match="pip install") as fault:
        open_collector("http://collector:4318", "")
    assert str(fault.value) == NO_EXTRA
