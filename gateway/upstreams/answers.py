"""What an upstream's status means: the table by which an answer is passed on, or becomes a fault of the upstream."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time
from typing import Literal

from gateway.errors import BadAnswer, Refused, UpstreamFault
from gateway.model import Kind
from gateway.upstreams.codes import (
    CONTENT_CODES,
    GONE_CODES,
    HIDDEN_STATUSES,
    OVERLOAD_CODES,
    SPEND_CODES,
    code_of,
    code_of_reason,
    delay_of,
    holds_answer,
)

Meaning = Literal["answer", "account", "busy", "failed"]

_MEANING: dict[int, Meaning] = {
    401: "account",
    402: "account",
    403: "account",
    407: "account",
    408: "failed",
    424: "failed",
    429: "busy",
    501: "answer",
    503: "busy",
    529: "busy",
}
"""Any other 2xx or 4xx is an answer (a 4xx is the caller's affair); a redirect, which is never followed, and any other
5xx mean that the upstream failed.
424 is TGI's "generation failed"; 501 is about what was asked for, such as embeddings of a server started without
them; 529 is Anthropic's "overloaded"; a vLLM whose queue is capped says 503."""

_WRONG = frozenset({400, 413, 415, 422})
UNPAID_STATUSES = frozenset({429, 529})
REFUSED, FAILED = 400, 500
_LONGEST_RETRY_AFTER = 120.0
_STATUSES = (
    (CONTENT_CODES | {"invalid_request", "InvalidParameter"}, 400),
    (SPEND_CODES, 402),
    (GONE_CODES, 404),
    (OVERLOAD_CODES, 429),
)


def meaning(status: int) -> Meaning:
    return _MEANING.get(status, "answer" if status < 300 or 400 <= status < 500 else "failed")


def error_code(body: bytes) -> str:
    """The machine-readable code of an error body; "" where there is none."""
    return code_of(body)


def refusal(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Refused:
    """The fault that a complete, non-answer response stands for. Its text holds the status and code, never the body."""
    code = error_code(body)
    content = code in CONTENT_CODES
    account = (meaning(status) == "account" and not content) or code in SPEND_CODES
    shown = f" ({code})" if code.isidentifier() else ""
    wait = retry_after(headers)
    if wait is None and (said := delay_of(body)) is not None:
        wait = min(said, _LONGEST_RETRY_AFTER)
    return Refused(status, f"answered {status}{shown}", code=code, retry_after=wait, account=account)


def judged(reason: str, code: str = "") -> Refused:
    """The fault of an order that was taken and failed, by the code it came with, else by its reason in words; those go
    no further than here."""
    known = code if code and _status_of(code) != FAILED else code_of_reason(reason) or code
    return of_code(_status_of(known), known)


def of_code(status: int, code: str, retry_after: float | None = None) -> Refused:
    """A refusal that is known by its code alone."""
    content = code in CONTENT_CODES
    account = (meaning(status) == "account" and not content) or code in SPEND_CODES
    shown = f" ({code})" if code.replace(".", "_").isidentifier() else ""
    return Refused(status, f"refused{shown}", code=code, retry_after=retry_after, account=account)


def _status_of(code: str) -> int:
    """What a code would have come with, had it come as an answer of its own."""
    for codes, status in _STATUSES:
        if code in codes:
            return status
    return FAILED


def disguised(
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    holds: Callable[[bytes], bool] = holds_answer,
) -> UpstreamFault | None:
    """The fault in what looks like an answer. A 4xx that an API also gives when our money is spent; a success with the
    code of an error in it, as MiniMax has it, or with nothing that one could read: who says so is the fastest of all,
    and the least busy."""
    code = error_code(body)
    if status >= 400:
        return refusal(status, headers, body) if status in HIDDEN_STATUSES and code in SPEND_CODES else None
    if code:
        return refusal(status, headers, body)
    return None if holds(body) else BadAnswer(f"answered {status} without an answer")


def busy(kind: Kind, fault: Refused) -> bool:
    """Whether a worker of ours refused because its queue is full, which is no failure. That of a bought API's is told
    by its rate limits, and one that goes on for long is a failure."""
    return kind == "local" and not fault.account and meaning(fault.status) == "busy"


def about_content(fault: UpstreamFault) -> bool:
    """Whether what was asked for was refused: it would be anywhere, and says nothing about the upstream."""
    return isinstance(fault, Refused) and fault.code in CONTENT_CODES


def about_request(fault: UpstreamFault) -> bool:
    """Whether an order was taken and then failed for what was asked, as a 4xx to its submit would have said."""
    return isinstance(fault, Refused) and fault.status in _WRONG and not (fault.account or about_content(fault))


def retryable(kind: Kind, fault: UpstreamFault) -> bool:
    """Whether the same request may be sent to another upstream, given that the client has seen nothing yet.

    Never where its content was refused. Our own workers: after any other fault. A bought API: only where it surely did
    no paid work, that is when it cannot have seen the request, or refused it in words that mean so; an unknown outcome
    is not bought twice.
    """
    if about_content(fault):
        return False
    if kind == "local" or not fault.processed:
        return True
    return isinstance(fault, Refused) and (
        fault.account or fault.status in UNPAID_STATUSES or fault.code in OVERLOAD_CODES or fault.code in GONE_CODES
    )


def unpaid(fault: UpstreamFault) -> bool:
    """Whether nothing can have been charged: no paid work was done, or a 4xx says that this is not taken."""
    refused = isinstance(fault, Refused) and REFUSED <= fault.status < FAILED
    return retryable("managed", fault) or (refused and about_content(fault)) or about_request(fault)


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
