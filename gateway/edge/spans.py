"""The spans of one request, made of its account when it is over (docs/tracing.md). Names of the policy's and words of
ours: nothing here looks at a prompt, a body, a key or a header's value."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from gateway.edge.account import LOST, MAX_MODEL_NAME, RESCUED, Account, Attempt, OrderCall
from gateway.edge.calls import Call
from gateway.model import Trace, Upstream, Usage
from gateway.telemetry import Note, Value, Who, operation
from gateway.telemetry.context import SPAN_DIGITS, span_id
from gateway.telemetry.genai import Conventions
from gateway.upstreams.dialects.endpoint import Endpoint

MOST_CALLS = 32
"""Spans of the calls of one order; a film is looked at hundreds of times."""
WELL = frozenset({"answered", RESCUED, LOST})
"""Results of attempts that are nobody's failure."""
_MS = 1000.0
_OUTPUTS = {
    "images/generations": "image",
    "images/edits": "image",
    "audio/speech": "speech",
    "videos": None,  # the conventions have no word for it
    "embeddings": None,
    "messages/count_tokens": None,
}
Attributes = dict[str, Value]


def new_span(trace: Trace | None) -> str:
    return "" if trace is None or trace.span is None else span_id()


def headers(trace: Trace | None, attempt: Attempt, upstream: Upstream) -> tuple[tuple[bytes, bytes], ...]:
    """What goes up with an attempt. `tracestate` is the caller's own text: it goes to our own workers alone."""
    if trace is None:
        return ()
    parent = (b"traceparent", trace.header(attempt.span or attempt.id[:SPAN_DIGITS]).encode())
    if trace.state is None or upstream.kind != "local":
        return (parent,)
    return (parent, (b"tracestate", trace.state.encode()))


def called(attempt: Attempt, method: str, began: float, status: int | None) -> None:
    """One call of an order is over. What comes after its result is known fetches it."""
    if len(attempt.calls) == MOST_CALLS:
        attempt.more_calls += 1
        return
    first = not attempt.calls and method not in ("GET", "DELETE")
    known = attempt.usage is not None
    step = "cancel" if method == "DELETE" else "submit" if first else "fetch" if known else "poll"
    attempt.calls.append(OrderCall(step, began, time.monotonic(), status))  # type: ignore[arg-type]


def notes(account: Account, model: str, who: Who, whose: Sequence[Who], named: Conventions) -> Iterator[Note]:
    """`model`: as the policy calls it, or `unknown`; `who` answered, `whose` says it of each attempt.
    `named`: by which conventions what was renamed is told."""
    trace, request, now = account.request.trace, account.request, time.monotonic()
    if trace is None or trace.span is None:
        return
    error = account.left or account.error
    yield Note(
        f"{who[0]} {model}",
        "consumer" if account.job else "server",
        trace.span,
        request.arrived,
        now,
        attributes=_whole(account, model) | _who(who, named) | _usage(account.usage, named) | _failed(error),
        events=_events(account),
        error=error,
    )
    for attempt, its in zip(account.attempts, whose, strict=True):
        if attempt.span:
            yield _attempt(attempt, trace.span, its, named)
            yield from [_order_call(attempt, call) for call in attempt.calls]


def refused(call: Call, endpoint: Endpoint, error: str | None) -> Note | None:
    """Of a call that never became a request, or that became a job."""
    if call.trace is None or call.trace.span is None:
        return None
    told: Attributes = {"gen_ai.operation.name": operation(endpoint.name), "http.route": endpoint.path}
    told |= {"gateway.request_id": call.id, "gateway.outcome": "accepted" if error is None else "refused"}
    name = f"{told['gen_ai.operation.name']}"
    return Note(
        name, "server", call.trace.span, call.started, time.monotonic(), attributes=told | _failed(error), error=error
    )


def _whole(account: Account, model: str) -> Attributes:
    request, lease, cost = account.request, account.lease, account.cost
    group = lease.group if lease is not None else None
    return {
        "gen_ai.request.model": model[:MAX_MODEL_NAME],
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.stream": request.stream,
        "gen_ai.request.choice.count": request.n if request.n > 1 else None,
        "gen_ai.output.type": _OUTPUTS.get(request.endpoint, "text"),
        "http.route": f"/v1/{request.endpoint}",
        "gateway.request_id": request.id,
        "gateway.tenant": request.tenant.name,
        "gateway.priority": request.priority,
        "gateway.policy": account.policy,
        "gateway.rule": account.rule,
        "gateway.outcome": account.outcome,
        "gateway.reason": group.reason if group is not None else None,
        "gateway.backend": group.backend if group is not None else None,
        "gateway.upstream": lease.candidate.upstream.name if lease is not None else None,
        "gateway.spilled": account.outcome == "spilled",
        "gateway.kept_by": account.visit.kept,
        "gateway.attempts": len(account.attempts),
        "gateway.queue_ms": account.visit.waited * _MS,
        "gateway.overhead_ms": account.overhead() * _MS,
        "gateway.ttft_ms": None if (first := account.first_token) is None else first * _MS,
        "gateway.cost_usd": cost.usd if cost is not None else None,
        "gateway.cost_basis": cost.basis if cost is not None else None,
    }


def _who(who: Who, named: Conventions) -> Attributes:
    """Operation, provider and the model that answered; none of the latter two where nobody was asked."""
    told: Attributes = {
        "gen_ai.operation.name": who[0],
        "gen_ai.provider.name": who[1] or None,
        "gen_ai.response.model": who[3] or None,
    }
    return told | {"gen_ai.system": who[1] or None} if named != "new" else told


def _usage(usage: Usage | None, named: Conventions) -> Attributes:
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None if named != "new" else None,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write_tokens or None if named != "old" else None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
    }


def _failed(error: str | None) -> Attributes:
    return {"error.type": error}


def _events(account: Account) -> list[tuple[str, float, Attributes]]:
    request = account.request
    made: list[tuple[str, float, Attributes]] = []
    if account.visit.waited:
        asked = request.ready + account.visit.waited
        made.append(("gateway.queued", request.ready, {"gateway.expected_ms": _ms(account.visit.expected)}))
        made.append(("gateway.admitted", asked, {"gateway.queue_ms": account.visit.waited * _MS}))
    if account.first_byte is not None:
        made.append(("gateway.first_byte", account.first_byte, {}))
    return made


def _attempt(attempt: Attempt, parent: str, who: Who, named: Conventions) -> Note:
    lease, error = attempt.lease, None if attempt.result in WELL else attempt.result
    url = urlsplit(lease.candidate.upstream.url) if lease is not None else None
    told: Attributes = {
        "gen_ai.request.model": who[2],
        "gen_ai.request.stream": attempt.streamed,
        "gen_ai.response.time_to_first_chunk": None if attempt.first is None else attempt.first - attempt.began,
        "server.address": url.hostname if url is not None else None,
        "server.port": url.port if url is not None else None,
        "http.response.status_code": attempt.status,
        "gateway.attempt.id": attempt.id,
        "gateway.attempt.result": attempt.result,
        "gateway.attempt.role": attempt.role,
        "gateway.upstream": attempt.upstream,
        "gateway.backend": lease.group.backend if lease is not None else None,
        "gateway.asked_at": attempt.asked_at,
        "gateway.order.calls": len(attempt.calls) + attempt.more_calls or None,
        "gateway.cost_usd": attempt.cost.usd if attempt.cost is not None else None,
    }
    marks = (("gateway.first_token", attempt.first), ("gateway.held_back", attempt.held_at))
    return Note(
        f"{who[0]} {who[2]}",
        "client",
        attempt.span,
        attempt.began,
        attempt.ended or time.monotonic(),
        parent,
        told | _who(who, named) | _usage(attempt.usage, named) | _failed(error),
        [(name, at, {}) for name, at in marks if at is not None],
        error,
    )


def _order_call(attempt: Attempt, call: OrderCall) -> Note:
    error = "no_answer" if call.status is None else str(call.status) if call.status >= 400 else None
    told: Attributes = {"gateway.upstream": attempt.upstream, "http.response.status_code": call.status}
    return Note(
        f"order {call.step}",
        "client",
        span_id(),
        call.began,
        call.ended,
        attempt.span,
        told | _failed(error),
        error=error,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * _MS
