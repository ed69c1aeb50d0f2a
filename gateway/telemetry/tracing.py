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

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from gateway.model import Trace
from gateway.telemetry.context import FOLLOWED_PER_SECOND, Sampling

Dropped = Callable[[str, int], None]
DROPS = NO_ROOM, NOT_TAKEN = "no_room", "not_taken"
"""Why spans go nowhere: the queue is full, or the collector did not take them."""
Value = str | bool | int | float | Sequence[str] | None
Kind = Literal["server", "client", "consumer"]
MOST_WAITING = 2048
"""Spans on their way out, about 3 KB each; those of a request that do not fit are dropped."""
BATCH, LINGER_MS = 512, 1000.0
LONGEST_VALUE, MOST_ATTRIBUTES, MOST_EVENTS = 256, 64, 16
_NS = 1_000_000_000
_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "consumer": SpanKind.CONSUMER}
_RECORDED = TraceFlags(TraceFlags.SAMPLED)


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


class _Given(IdGenerator):
    """The ids were drawn when they went up to the upstreams."""

    trace = span = 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


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
        self._given, self._handed = _Given(), 0
        self._way: _Counted | None = None
        if exporter is not None:
            self._way = _Counted(exporter)
            self._provider = _opened(self._way, self._given, instance)
            self._tracer = self._provider.get_tracer("gateway")

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
        if self._handed - self._way.taken + len(notes) > MOST_WAITING:  # the queue itself would push out older ones
            self._way.dropped(NO_ROOM, len(notes))
            return
        self._handed += len(notes)
        shift = time.time_ns() - time.monotonic_ns()
        self._given.trace, state = int(trace.id, 16), TraceState.from_header([trace.state] if trace.state else [])
        for note in notes:
            above = note.parent or trace.parent
            self._given.span = int(note.id, 16)
            span = self._tracer.start_span(
                note.name,
                _below(int(trace.id, 16), above, note.parent is None, state),
                _KINDS[note.kind],
                {name: value for name, value in note.attributes.items() if value is not None},
                start_time=_ns(note.began, shift),
            )
            for name, at, attributes in note.events:
                told = {key: value for key, value in attributes.items() if value is not None}
                span.add_event(name, told, _ns(at, shift))
            if note.error is not None:
                span.set_status(Status(StatusCode.ERROR))
            span.end(_ns(note.ended, shift))

    def close(self) -> None:
        """Sends what is still here; as long as one export may take, for another thread than the loop's."""
        if self._way is not None:
            self._provider.shutdown()


def _opened(exporter: SpanExporter, given: _Given, instance: str) -> TracerProvider:
    provider = TracerProvider(
        sampler=ALWAYS_ON,  # `begin` has decided
        resource=resource(instance),
        id_generator=given,
        span_limits=SpanLimits(
            max_span_attributes=MOST_ATTRIBUTES,
            max_events=MOST_EVENTS,
            max_span_attribute_length=LONGEST_VALUE,
        ),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter, max_queue_size=MOST_WAITING, schedule_delay_millis=LINGER_MS, max_export_batch_size=BATCH
        )
    )
    return provider


def resource(instance: str) -> Resource:
    """What all spans and metrics of this process say of it; OTEL_RESOURCE_ATTRIBUTES adds to it."""
    name = os.environ.get("OTEL_SERVICE_NAME", "gateway")
    return Resource.create({"service.name": name, "service.instance.id": instance})


def _below(trace_id: int, parent: str | None, remote: bool, state: TraceState) -> Context:
    if parent is None:
        return Context()
    context = SpanContext(trace_id, int(parent, 16), is_remote=remote, trace_flags=_RECORDED, trace_state=state)
    return api.set_span_in_context(NonRecordingSpan(context), Context())


def _ns(monotonic: float, shift: int) -> int:
    return int(monotonic * _NS) + shift
