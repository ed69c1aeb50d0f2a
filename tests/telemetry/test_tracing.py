"""The queue of spans: what is dropped is counted, and pushes out nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from gateway.model import Trace
from gateway.telemetry import Note, Telemetry, Tracing
from gateway.telemetry.tracing import BATCH, LONGEST_VALUE, MOST_EVENTS, MOST_VALUES, MOST_WAITING
from tests.gateways import eventually

TRACE = Trace("0af7651916cd43dd8448eb211c80319c", "01", None, "b7ad6b7169203331")
PAIR = 2


class Held(SpanExporter):
    """Takes nothing until it is let go, and then what `answers` say, one for each batch; an exception is raised."""

    def __init__(self, *answers: SpanExportResult | Exception) -> None:
        self.names: list[str] = []
        self.spans: list[ReadableSpan] = []
        self.asked, self.go, self._answers = threading.Event(), threading.Event(), list(answers)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        assert self.go.wait(10)
        self.names += [span.name for span in spans]
        self.spans += spans
        answer = self._answers.pop(0) if self._answers else SpanExportResult.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        return answer


def notes(number: int, name: str = "x") -> list[Note]:
    return [Note(name, "server", f"{index + 1:016x}", 1.0, 2.0) for index in range(number)]


def dropped(telemetry: Telemetry) -> dict[str, float]:
    return {reason: row[0] for (reason,), row in telemetry.spans_dropped.rows.items()}


def test_a_full_queue_keeps_what_it_has_and_counts_what_comes() -> None:
    exporter = Held()
    tracing = Tracing(1.0, exporter=exporter)
    telemetry = Telemetry(tracing)
    tracing.write(TRACE, notes(BATCH, "first"))
    assert exporter.asked.wait(10), "a batch is under way"
    for _ in range(MOST_WAITING // PAIR):
        tracing.write(TRACE, notes(PAIR, "kept"))
    assert dropped(telemetry) == {"no_room": 0.0, "not_taken": 0.0, "closed": 0.0}
    tracing.write(TRACE, notes(PAIR, "late"))
    assert dropped(telemetry) == {"no_room": PAIR, "not_taken": 0.0, "closed": 0.0}
    exporter.go.set()
    tracing.close()
    assert exporter.names == ["first"] * BATCH + ["kept"] * MOST_WAITING


def test_all_spans_of_a_request_are_kept_or_none() -> None:
    exporter = Held()
    tracing = Tracing(1.0, exporter=exporter)
    telemetry = Telemetry(tracing)
    tracing.write(TRACE, notes(BATCH))
    assert exporter.asked.wait(10)
    tracing.write(TRACE, notes(MOST_WAITING - 1, "kept"))
    tracing.write(TRACE, notes(PAIR, "half"))
    assert dropped(telemetry)["no_room"] == PAIR
    exporter.go.set()
    tracing.close()
    assert "half" not in exporter.names


def test_what_is_not_taken_is_counted_and_the_thread_goes_on() -> None:
    exporter = Held(SpanExportResult.FAILURE, RuntimeError("of its own"))
    exporter.go.set()
    tracing = Tracing(1.0, exporter=exporter)
    telemetry = Telemetry(tracing)
    for number in range(1, 4):
        tracing.write(TRACE, notes(BATCH, str(number)))
        eventually(lambda: exporter.names[-1:] == [str(number)], "the batch is out")  # noqa: B023 - at once
    tracing.close()
    assert dropped(telemetry) == {"no_room": 0.0, "not_taken": 2 * BATCH, "closed": 0.0}
    assert exporter.names[-1] == "3"


def test_what_comes_after_the_end_is_counted() -> None:
    tracing = Tracing(1.0, exporter=Held())
    telemetry = Telemetry(tracing)
    tracing.close()
    tracing.write(TRACE, notes(PAIR))
    assert dropped(telemetry) == {"no_room": 0.0, "not_taken": 0.0, "closed": PAIR}


def test_a_span_is_bounded_and_keeps_how_it_ended() -> None:
    exporter = Held()
    exporter.go.set()
    tracing = Tracing(1.0, exporter=exporter)
    long = "x" * (LONGEST_VALUE + 1)
    events = [(str(number), 1.0, {"text": long}) for number in range(MOST_EVENTS + 2)]
    given = {"text": long, "list": [long] * (MOST_VALUES + 1), "number": 1, "nothing": None}
    tracing.write(TRACE, [Note("x", "server", "1" * 16, 1.0, 2.0, attributes=given, events=events)])
    tracing.close()
    (span,) = exporter.spans
    assert span.attributes == {"text": long[:-1], "list": [long[:-1]] * MOST_VALUES, "number": 1}
    assert [one.name for one in span.events] == [str(number) for number in range(2, MOST_EVENTS + 2)]
    assert span.events[0].attributes == {"text": long[:-1]}
