"""What is said of a request when it is over: figures by the GenAI conventions, its spans, its line in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from gateway.edge import spans
from gateway.edge.account import Account, Attempt
from gateway.edge.calls import Call
from gateway.edge.services import Services
from gateway.model import Upstream
from gateway.telemetry import ACCESS, OWN_WORKERS, PROVIDERS, Series
from gateway.telemetry.context import recorded
from gateway.upstreams.dialects.endpoint import Endpoint

UNKNOWN = "unknown"
"""A model that the policy does not know: its name is the caller's text."""
_access = logging.getLogger(ACCESS)
_MS = 1000.0


def tell(services: Services, account: Account) -> None:
    """Once, when everything is over."""
    request, telemetry, now = account.request, services.telemetry, time.monotonic()
    model = request.model if request.model in services.policy.models else UNKNOWN
    told = [tell_attempt(services, request.endpoint, model, one) for one in account.attempts]
    series, last = answered_by(account, told)
    if series is None:
        series = telemetry.genai.series(request.endpoint, "", model, "")
    first, each = pace(account, last)
    series.request(now - request.arrived, account.left or account.error or "", first, each)
    if request.trace is not None and request.trace.span is not None:
        whose = [one.who for one in told]
        notes = spans.notes(account, model, series.who, whose, telemetry.genai.conventions)
        telemetry.tracing.write(request.trace, notes)
    if services.settings.access_log:
        _access.info("request", extra={"fields": line(account, model, now)})


def tell_attempt(services: Services, endpoint: str, model: str, attempt: Attempt) -> Series:
    lease, usage = attempt.lease, attempt.usage
    if lease is None:
        return services.telemetry.genai.series(endpoint, "", model, "")
    one = lease.candidate
    series = services.telemetry.genai.series(endpoint, provider(services, one.upstream), model, one.served.name)
    error = "" if attempt.result in spans.WELL else attempt.result
    first = None if attempt.first is None else attempt.first - attempt.began
    series.attempt(attempt.ended - attempt.began, error, first)
    if usage is not None:
        series.used(
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
        )
    return series


def answered_by(account: Account, told: Sequence[Series]) -> tuple[Series | None, Attempt | None]:
    """The attempt that answered, else the last one."""
    if len(told) < 2:
        return (told[0], account.attempts[0]) if told else (None, None)
    for series, attempt in zip(told, account.attempts, strict=True):
        if attempt.lease is account.lease:
            return series, attempt
    return told[-1], account.attempts[-1]


def tell_refused(
    services: Services, call: Call, endpoint: Endpoint, error: str | None, *, traced: bool = False
) -> None:
    """Of a call that never was a request, because of an error; or that was taken as a job. `traced`: as of errors."""
    if traced and call.trace is not None and call.trace.span is None:
        call = call._replace(trace=recorded(call.trace))
    note = spans.refused(call, endpoint, error)
    if note is not None and call.trace is not None:
        services.telemetry.tracing.write(call.trace, [note])
    if services.settings.access_log:
        outcome = "accepted" if error is None else "refused"
        total = round((time.monotonic() - call.started) * _MS, 2)
        fields = {"request_id": call.id, "path": endpoint.path, "outcome": outcome, "error": error, "total_ms": total}
        _access.info("request", extra={"fields": fields})


def provider(services: Services, upstream: Upstream) -> str:
    """A worker's engine, as it was found or is said to be; whose API it is else."""
    if upstream.kind == "managed":
        return PROVIDERS.get(upstream.dialect, upstream.dialect)
    state = services.view.current.states.get(upstream.name)
    found = state.reading.engine if state is not None and state.reading is not None else None
    return found or upstream.engine or OWN_WORKERS


def pace(account: Account, attempt: Attempt | None) -> tuple[float | None, float | None]:
    """Of a streamed answer: seconds from the arrival to its first byte, and of each token after the first."""
    first = account.first_token
    if attempt is None or attempt.first is None or attempt.last is None or first is None:
        return None, None
    tokens = attempt.tokens if attempt.usage is None else attempt.usage.output_tokens
    each = (attempt.last - attempt.first) / (tokens - 1) if tokens > 1 else None
    return first, each


def line(account: Account, model: str, now: float) -> dict[str, object]:
    """Its line in the log: what the receipt tells, as far as it is bounded."""
    request, lease, usage, cost = account.request, account.lease, account.usage, account.cost
    first = account.first_token
    return {
        "request_id": request.id,
        "path": f"/v1/{request.endpoint}",
        "tenant": request.tenant.name,
        "model": model,
        "policy": account.policy,
        "rule": account.rule,
        "outcome": account.outcome,
        "reason": lease.group.reason if lease is not None else None,
        "upstream": lease.candidate.upstream.name if lease is not None else None,
        "attempts": len(account.attempts),
        "error": account.left or account.error,
        "input_tokens": usage.input_tokens if usage is not None else None,
        "output_tokens": usage.output_tokens if usage is not None else None,
        "usd": cost.usd if cost is not None else None,
        "queue_ms": round(account.visit.waited * _MS, 2),
        "ttft_ms": None if first is None else round(first * _MS, 2),
        "total_ms": round((now - request.arrived) * _MS, 2),
        "trace_id": request.trace.id if request.trace is not None and request.trace.span is not None else None,
    }
