"""What an upstream's status means: the table by which an answer is passed on, or becomes a fault of the upstream."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from math import isfinite
from time import time
from typing import Literal

import msgspec

from gateway.errors import Refused, UpstreamFault
from gateway.model import Kind

Meaning = Literal["answer", "account", "busy", "failed"]

_MEANING: dict[int, Meaning] = {
    401: "account",
    402: "account",
    403: "account",
    407: "account",
    408: "failed",
    429: "busy",
    503: "busy",
    529: "busy",
}
"""Any other 2xx or 4xx is an answer (a 4xx is the caller's affair); a redirect, which is never followed, and any other
5xx mean that the upstream failed.
529 is Anthropic's "overloaded"; a vLLM whose queue is capped says 503."""

SPEND_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    }
)
"""429 codes that no waiting mends: they are about our account."""
OVERLOAD_CODES = frozenset({"server_is_overloaded", "slow_down", "overloaded_error"})
"""Documented codes of a 503 or 529 that was refused before any work: safe to send elsewhere, even when paid."""
UNPAID_STATUSES = frozenset({429, 529})
_LONGEST_RETRY_AFTER = 120.0


class _Error(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None


class _Body(msgspec.Struct):
    error: _Error | None = None


def meaning(status: int) -> Meaning:
    return _MEANING.get(status, "answer" if status < 300 or 400 <= status < 500 else "failed")


def error_code(body: bytes) -> str:
    """The machine-readable code of an error body in OpenAI's or Anthropic's shape; "" where there is none."""
    try:
        error = msgspec.json.decode(body, type=_Body).error
    except msgspec.DecodeError:
        return ""
    if error is None:
        return ""
    return error.code if isinstance(error.code, str) else error.type or ""


def refusal(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Refused:
    """The fault that a complete, non-answer response stands for. Its text holds the status and code, never the body."""
    code = error_code(body)
    account = meaning(status) == "account" or code in SPEND_CODES
    shown = f" ({code})" if code.isidentifier() else ""
    return Refused(status, f"answered {status}{shown}", code=code, retry_after=retry_after(headers), account=account)


def retryable(kind: Kind, fault: UpstreamFault) -> bool:
    """Whether the same request may be sent to another upstream, given that the client has seen nothing yet.

    Our own workers: after any fault. A bought API: only where it surely did no paid work, that is when it cannot have
    seen the request, or refused it in words that mean so; an unknown outcome is not bought twice.
    """
    if kind == "local" or not fault.processed:
        return True
    return isinstance(fault, Refused) and (
        fault.account or fault.status in UNPAID_STATUSES or fault.code in OVERLOAD_CODES
    )


def retry_after(headers: list[tuple[bytes, bytes]]) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after` (a number or an HTTP date), bounded; None where absent or odd."""
    said = dict(headers)
    try:
        if b"retry-after-ms" in said:
            seconds = float(said[b"retry-after-ms"]) / 1000
        elif b"retry-after" in said:
            text = said[b"retry-after"].decode("latin-1").strip()
            seconds = float(text) if text[:1].isdigit() else parsedate_to_datetime(text).timestamp() - time()
        else:
            return None
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER) if isfinite(seconds) else None
