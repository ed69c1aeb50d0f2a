"""What is measured: each case is one kind of load, run against every peer in turn, round after round (A B A B)."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvloop

from loadtests.bench import proc
from loadtests.bench.load import Outcome, closed_loop, open_loop
from loadtests.bench.peers import Running
from loadtests.bench.wire import EVENTS, request

WARM_SECONDS = 0.3
_US, _MS = 1e6, 1e3


@dataclass(frozen=True, slots=True)
class Case:
    """`unit`: what CPU time is divided by; `per_answer` of them come in one answer."""

    name: str
    title: str
    unit: str
    run: Callable[[int, float], Awaitable[Outcome]]
    per_answer: int = 1
    least_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one case on one peer. CPU in microseconds per unit, latencies in milliseconds."""

    case: str
    peer: str
    cpu_us: float
    store_us: float
    per_second: float
    p50_ms: float
    p99_ms: float
    failures: int
    why: str


def _closed(size: int, wires: int) -> Callable[[int, float], Awaitable[Outcome]]:
    sent = request(size)
    return lambda port, seconds: closed_loop(port, sent, events=0, wires=wires, seconds=seconds)


def _streams(*, gap: bool, wires: int = 16) -> Callable[[int, float], Awaitable[Outcome]]:
    sent = request(2_000, stream=True, gap=gap)
    return lambda port, seconds: closed_loop(port, sent, events=EVENTS, wires=wires, seconds=seconds)


def _rate(rate: float) -> Callable[[int, float], Awaitable[Outcome]]:
    sent = request(2_000)
    return lambda port, seconds: open_loop(port, sent, rate=rate, seconds=seconds)


CASES = (
    Case("small", "2 KB request, 32 connections", "request", _closed(2_000, 32)),
    Case("large", "200 KB request, 32 connections", "request", _closed(200_000, 32)),
    Case("events", "stream, 10 ms gaps, 16 streams", "event", _streams(gap=True), EVENTS, 2.0),
    Case("gapless", f"stream of {EVENTS} events without gaps, 16 streams", "stream", _streams(gap=False)),
    Case("rate", "2 KB request, 100 a second", "request", _rate(100.0), 1, 2.0),
)


def measure(case: Case, peer: str, running: Running, seconds: float) -> Sample:
    """A short warm-up, then one round. CPU covers what was under way at the end, too."""
    uvloop.run(_run(case, running.port, WARM_SECONDS))
    own, stores = running.pids()
    before, store_before = proc.cpu_seconds(own), proc.cpu_seconds(stores)
    outcome = uvloop.run(_run(case, running.port, max(seconds, case.least_seconds)))
    used, store_used = proc.cpu_seconds(own) - before, proc.cpu_seconds(stores) - store_before
    units = max(1, len(outcome.latencies) * case.per_answer)
    return Sample(
        case=case.name,
        peer=peer,
        cpu_us=used / units * _US,
        store_us=store_used / units * _US,
        per_second=units / outcome.seconds,
        p50_ms=percentile(outcome.latencies, 0.50) * _MS,
        p99_ms=percentile(outcome.latencies, 0.99) * _MS,
        failures=outcome.failures,
        why=outcome.why,
    )


async def _run(case: Case, port: int, seconds: float) -> Outcome:
    return await case.run(port, seconds)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; not a number where there are no values."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else math.nan
