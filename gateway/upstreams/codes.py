"""The words of error bodies: where each API puts its code, and which codes are about our account, load or content.

Codes and shapes: the providers' own documentation and SDKs as of November 2026. A code that is in none of the sets says
no more than the status it came with.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

SPEND_CODES = frozenset(
    {
        # OpenAI and those that copy it, 429 or 400
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "account_deactivated",
        # Anthropic: 402, and 400 or 429 with the code in `error.details`
        "billing_error",
        "enforced_spend_limit_reached",
        # Alibaba DashScope, 400
        "Arrearage",
        # ElevenLabs, 401
        "quota_exceeded",
        # MiniMax, inside a 200: key, balance
        "base_resp_1004",
        "base_resp_1008",
    }
)
"""Codes that no waiting mends, whatever the status: they are about our account."""
STUCK_IN_QUEUE = "stuck_in_queue"
"""Ours, of an order that an API took and never began: GMI accepts model ids that are dead, and does not bill them."""
OVERLOAD_CODES = frozenset(
    {
        STUCK_IN_QUEUE,
        "server_is_overloaded",  # OpenAI, 503
        "slow_down",  # OpenAI, 429 or 503
        "overloaded_error",  # Anthropic, 529
        "UNAVAILABLE",  # Google, 503
        "RESOURCE_EXHAUSTED",  # Google, 429
        "system_busy",  # ElevenLabs, 429
        "too_many_concurrent_requests",
        "Throttling",  # DashScope, 429
        "Throttling.RateQuota",
        "Throttling.AllocationQuota",
        "base_resp_1002",  # MiniMax, inside a 200
    }
)
"""Documented codes of a refusal before any work: safe to send elsewhere, even when paid."""
CONTENT_CODES = frozenset(
    {
        "content_filter",  # Azure, 400
        "content_policy_violation",
        "moderation_blocked",
        "responsible_ai_policy_violation",
        "DataInspectionFailed",  # DashScope
        "data_inspection_failed",
        "SAFETY",
        "base_resp_1026",  # MiniMax
    }
)
"""A refusal of what was asked, also where a proxy makes a 5xx of it: nobody's failure, and the same everywhere."""
HIDDEN_STATUSES = frozenset({400, 404, 422})
"""Of the caller's own errors, those under which APIs also hide that our money is spent."""
_SECONDS = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s\Z", re.ASCII)


class _Error(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None
    status: str | None = None
    details: Any = None


class _BaseResp(msgspec.Struct):
    status_code: int = 0


class _Body(msgspec.Struct):
    """All shapes in one. OpenAI, Anthropic and Google have an object `error`; DashScope a `code` beside the message,
    fal an `error_type`, ElevenLabs an object `detail`, MiniMax a `base_resp`; GMI a text `error` and no code."""

    error: Any = None
    code: Any = None
    error_type: Any = None
    detail: Any = None
    base_resp: Any = None


class _Answer(msgspec.Struct):
    choices: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_answer = msgspec.json.Decoder(_Answer)
_body = msgspec.json.Decoder(_Body)


def code_of(body: bytes) -> str:
    """The machine-readable code of an error body; "" where there is none."""
    found = _read(body)
    if found is None:
        return ""
    error = _as(found.error, _Error)
    if error is not None:
        return _of_object(error)
    detail = found.detail.get("status") if isinstance(found.detail, dict) else None
    words = (found.code, detail, found.error_type)
    base = _as(found.base_resp, _BaseResp)
    if base is not None and base.status_code:
        return f"base_resp_{base.status_code}"
    return next((word for word in words if isinstance(word, str) and word), "")


def holds_answer(body: bytes) -> bool:
    """Whether it is a JSON object that has any of the places where the APIs put what their model wrote."""
    try:
        found = _answer.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return any(part is not msgspec.UNSET for part in (found.choices, found.data, found.content, found.output))


def delay_of(body: bytes) -> float | None:
    """Seconds that Google's `RetryInfo` asks for; None where there is none. Others say it in a header."""
    found = _read(body)
    error = None if found is None else _as(found.error, _Error)
    if error is None or not isinstance(error.details, list):
        return None
    for row in error.details:
        said = row.get("retryDelay") if isinstance(row, dict) else None
        if isinstance(said, str) and (seconds := _SECONDS.match(said)):
            return float(seconds[1])
    return None


def _of_object(error: _Error) -> str:
    """The most telling word of it: Anthropic's code lies in its details."""
    inner = error.details.get("error_code") if isinstance(error.details, dict) else None
    if isinstance(error.code, str):
        return error.code
    return next((word for word in (inner, error.status, error.type) if isinstance(word, str) and word), "")


def _read(body: bytes) -> _Body | None:
    try:
        return _body.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _as(value: Any, shape: Any) -> Any:
    try:
        return None if value is None else msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return None
