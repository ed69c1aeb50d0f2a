"""What telemetry does for one request, timed alone in a process of its own: prints one JSON list, CPU microseconds per
request, one for each round. One request in a hundred is recorded; its spans are encoded here, as an exporter does."""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from gateway.cli.serve import GC_THRESHOLD
from gateway.edge import spans
from gateway.edge.account import Account, Attempt, Cost
from gateway.edge.services import Services
from gateway.edge.telling import tell
from gateway.model import GenRequest, Lease, Tenant, Usage
from gateway.routing.decide import decide
from gateway.telemetry import REQUEST, Telemetry, Tracing
from loadtests.bench.deciding import board
from loadtests.bench.policy import whole_policy
from loadtests.bench.wire import MODEL

REQUESTS, ROUNDS = 5_000, 15
RATIO = 0.01
_NO_PORT = 9
_HEADERS = {b"host": b"gateway", b"content-type": b"application/json"}
_ESTIMATES = ("prompt_tokens", "output_tokens", "first_token", "total")
_US = 1e6


class Encoding(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializePartialToString()
        return SpanExportResult.SUCCESS


def one_request(services: Services, chosen: Lease, rng: random.Random) -> None:
    """All that is counted and told of a streamed answer of our own worker, in the order in which it happens."""
    telemetry, upstream = services.telemetry, chosen.candidate.upstream
    id = f"{rng.getrandbits(128):032x}"
    trace = telemetry.tracing.begin(id, _HEADERS)
    REQUEST.set(id)
    telemetry.inflight.add(1)
    now = time.monotonic()
    asked = GenRequest(
        id, "chat/completions", MODEL, Tenant("t"), b"", stream=True, arrived=now, ready=now, trace=trace
    )
    attempt = Attempt(upstream.name, id, now, now + 0.5, "answered", 200, lease=chosen, span=spans.new_span(trace))
    attempt.first, attempt.last, attempt.streamed, attempt.tokens = now + 0.1, now + 0.5, True, 64
    attempt.usage = Usage(500, 64)
    spans.headers(trace, attempt, upstream)
    account = Account(asked, "v1", lease=chosen, attempts=[attempt], asked=now, first_byte=now + 0.1)
    account.usage, account.cost, account.decision = attempt.usage, Cost(12, "amortised"), chosen.decision
    telemetry.count_attempt(upstream.name, attempt.result)
    telemetry.count_usage(upstream.backend, "amortised", 0.000012, 500, 64)
    telemetry.count_slo("chat", True)
    telemetry.count_vote(upstream.backend, MODEL, True)
    for what in _ESTIMATES:
        telemetry.estimated(what, 0.1, 1.0, 1.1)
    telemetry.count_request(upstream.backend, account.outcome, chosen.group.reason)
    telemetry.duration.observe(0.5)
    telemetry.overhead.observe(0.0003)
    telemetry.queue.observe(0.0)
    telemetry.ttft.observe(0.1)
    tell(services, account)
    telemetry.inflight.add(-1)


def without(chosen: Lease, rng: random.Random) -> None:
    """The objects of the same request, which it makes anyway."""
    id, now = f"{rng.getrandbits(128):032x}", time.monotonic()
    asked = GenRequest(id, "chat/completions", MODEL, Tenant("t"), b"", stream=True, arrived=now, ready=now)
    attempt = Attempt("w", id, now, now + 0.5, "answered", 200, lease=chosen)
    attempt.first, attempt.last, attempt.streamed, attempt.tokens = now + 0.1, now + 0.5, True, 64
    attempt.usage = Usage(500, 64)
    account = Account(asked, "v1", lease=chosen, attempts=[attempt], asked=now, first_byte=now + 0.1)
    account.usage, account.cost, account.decision = attempt.usage, Cost(12, "amortised"), chosen.decision


def main() -> None:
    gc.set_threshold(GC_THRESHOLD)
    seen = board(lambda folder: whole_policy(folder, _NO_PORT))
    rng = random.Random(1)
    asked = GenRequest("r1", "chat/completions", MODEL, Tenant("t"), b"", prompt_bytes=2_000, max_tokens=64)
    decision = decide(asked, seen, rng)
    group = decision.primary[0]
    chosen = Lease("id", next(iter(group.candidates)), group, "u@0", decision, 0.5)
    telemetry = Telemetry(Tracing(RATIO, exporter=Encoding(), instance="bench"))
    told: Any = SimpleNamespace(
        policy=seen.policy,
        telemetry=telemetry,
        view=SimpleNamespace(current=seen.snapshot),
        settings=SimpleNamespace(access_log=False),
    )
    services = cast(Services, told)
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()  # of all threads: the one that encodes is among them
        for _ in range(REQUESTS):
            one_request(services, chosen, rng)
        middle = time.process_time()
        for _ in range(REQUESTS):
            without(chosen, rng)
        found.append((2 * middle - began - time.process_time()) / REQUESTS * _US)
    telemetry.tracing.close()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
