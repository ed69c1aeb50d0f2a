"""Spans, written when all of them is known: a request leaves an account, and its spans are made of that (ADR 44).

OpenTelemetry sends a span when it ends and not before, so nobody sees a difference; a request that is not recorded
pays for one decision, and none can leave a span open, however it ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AttributeValue

from gateway.model import Trace
from gateway.telemetry.context import FOLLOWED_PER_SECOND, Sampling

Dropped = Callable[[str, int], None]
DROPS = NO_ROOM, NOT_TAKEN, CLOSED = "no_room", "not_taken", "closed"
"""Why spans go nowhere: the queue is full, the collector did not take them, or the process has sent its last ones."""
Value = str | bool | int | float | Sequence[str] | None
Kind = Literal["server", "client", "consumer"]
MOST_WAITING = 2048
"""Spans on their way out, about 3 KB each; those of a request that do not fit are dropped."""
BATCH, LINGER_MS = 512, 1000.0
LONGEST_VALUE, MOST_VALUES, MOST_EVENTS = 256, 16, 16
"""Characters of a text, texts of a list, events of a span. Of more events the last ones stay, which tell how it ended,
as those of OpenTelemetry's own spans do (`BoundedList`)."""
_NS = 1_000_000_000
_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "consumer": SpanKind.CONSUMER}
_RECORDED, _NO_STATE = TraceFlags(TraceFlags.SAMPLED), TraceState()
_WELL, _FAILED = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
_SCOPE = InstrumentationScope("gateway")


@dataclass(slots=True)
class Note:
    """One span. `began`, `ended` and the moments of `events` are monotonic seconds; None values are left out.
    `parent` None: it is the first one here, below the caller's. `error`: of a bounded set; None where it went well."""

    name: str
    kind: Kind
    id: str
    began: float
    ended: float
    parent: str | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)
    events: Sequence[tuple[str, float, Mapping[str, Value]]] = ()
    error: str | None = None


class _Counted(SpanExporter):
    """What becomes of the spans that were handed over. `taken` grows in the thread that sends alone."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.dropped: Dropped = lambda _reason, _spans: None
        self.taken = 0
        """Spans that left the queue."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        try:
            result = self._exporter.export(spans)
        except Exception:  # whatever befell it, the thread goes on
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self.dropped(NOT_TAKEN, len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Tracing:
    """Without an exporter nothing is recorded; a caller's context is passed on all the same."""

    def __init__(
        self,
        ratio: float = 0.0,
        *,
        follow: bool = True,
        most: int = FOLLOWED_PER_SECOND,
        exporter: SpanExporter | None = None,
        instance: str = "",
    ) -> None:
        self._sampling = Sampling(ratio, follow=follow, on=exporter is not None, most=most)
        self.begin, self.let_in = self._sampling.begin, self._sampling.let_in
        self._handed = 0
        self._closed = False
        self._way: _Counted | None = None
        if exporter is not None:
            self._way, self._resource = _Counted(exporter), resource(instance)
            self._queue = BatchSpanProcessor(
                self._way, max_queue_size=MOST_WAITING, schedule_delay_millis=LINGER_MS, max_export_batch_size=BATCH
            )

    def count(self, dropped: Dropped, unfollowed: Callable[[], None]) -> None:
        """Who is told of spans that go nowhere (of a reason among DROPS, and how many; from any thread), and of each
        trace that a caller asked for and did not get."""
        self._sampling.unfollowed = unfollowed
        if self._way is not None:
            self._way.dropped = dropped

    def write(self, trace: Trace, notes: Iterable[Note]) -> None:
        """Hands the spans of one recorded request to the thread that sends them, all or none. Never waits."""
        if self._way is None:
            return
        notes = list(notes)
        if self._closed:
            self._way.dropped(CLOSED, len(notes))
            return
        if self._handed - self._way.taken + len(notes) > MOST_WAITING:  # the queue itself would push out older ones
            self._way.dropped(NO_ROOM, len(notes))
            return
        self._handed += len(notes)
        shift, id = time.time_ns() - time.monotonic_ns(), int(trace.id, 16)
        state = TraceState.from_header([trace.state]) if trace.state else _NO_STATE
        for note in notes:
            above = note.parent or trace.parent
            below = None if above is None else _context(id, above, state, remote=note.parent is None)
            self._queue.on_end(
                ReadableSpan(
                    note.name,
                    _context(id, note.id, state),
                    below,
                    self._resource,
                    _told(note.attributes),
                    [Event(name, _told(its), _ns(at, shift)) for name, at, its in note.events[-MOST_EVENTS:]],
                    kind=_KINDS[note.kind],
                    status=_WELL if note.error is None else _FAILED,
                    start_time=_ns(note.began, shift),
                    end_time=_ns(note.ended, shift),
                    instrumentation_scope=_SCOPE,
                )
            )

    def close(self) -> None:
        """Sends what is still here; as long as one export may take, for another thread than the loop's."""
        self._closed = True
        if self._way is not None:
            self._queue.shutdown()  # type: ignore[no-untyped-call]


def resource(instance: str) -> Resource:
    """What all spans and metrics of this process say of it; OTEL_RESOURCE_ATTRIBUTES adds to it."""
    name = os.environ.get("OTEL_SERVICE_NAME", "gateway")
    return Resource.create({"service.name": name, "service.instance.id": instance})


def _context(trace: int, span: str, state: TraceState, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace, int(span, 16), remote, _RECORDED, state)


def _told(attributes: Mapping[str, Value]) -> dict[str, AttributeValue]:
    """Without what is not known, and bounded."""
    return {name: _bounded(value) for name, value in attributes.items() if value is not None}


def _bounded(value: str | bool | int | float | Sequence[str]) -> AttributeValue:
    if isinstance(value, str):
        return value[:LONGEST_VALUE]
    if isinstance(value, Sequence):
        return [one[:LONGEST_VALUE] for one in value[:MOST_VALUES]]
    return value


def _ns(monotonic: float, shift: int) -> int:
    return int(monotonic * _NS) + shift
