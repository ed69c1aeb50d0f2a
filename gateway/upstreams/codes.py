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
        # Alibaba DashScope, 400 and 403
        "Arrearage",
        "AccessDenied.Unpurchased",
        "PrepaidBillOverdue",
        "PostpaidBillOverdue",
        # Volcengine Ark, 403 and 429: balance, a limit of ours, a free quota that is used up, a model not opened
        "AccountOverdueError",
        "OperationDenied.ServiceOverdue",
        "OperationDenied.ServiceNotOpen",
        "SetLimitExceeded",
        "QuotaExceeded",
        "ModelNotOpen",
        # ElevenLabs, 401
        "quota_exceeded",
        # MiniMax, inside a 200: key, balance
        "base_resp_1004",
        "base_resp_1008",
        "base_resp_2049",
        # Kling, 429: in arrears, and a resource pack that is used up
        "kling_1101",
        "kling_1102",
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
        "Throttling.BurstRate",
        "ServerOverloaded",  # Ark, 429
        "RateLimitExceeded.EndpointRPMExceeded",
        "RateLimitExceeded.EndpointTPMExceeded",
        "ModelAccountRpmRateLimitExceeded",
        "ModelAccountTpmRateLimitExceeded",
        "ModelAccountIpmRateLimitExceeded",
        "RequestBurstTooFast",
        "rate_limit_exceeded",
        "base_resp_1002",  # MiniMax, inside a 200: requests, tokens, connections
        "base_resp_1039",
        "base_resp_1041",
        "kling_1302",  # Kling, 429: requests, tasks at once
        "kling_1303",
        "runner_scheduling_failure",  # fal, 503: nothing has begun
        "runner_connection_refused",
        "E003",  # Replicate, in the text of a failed prediction: high demand
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
        "IPInfringementSuspect",
        "SensitiveContentDetected",  # Ark, 400, and in the record of a task
        "SensitiveContentDetected.SevereViolation",
        "SensitiveContentDetected.Violence",
        "InputTextSensitiveContentDetected",
        "InputImageSensitiveContentDetected",
        "InputVideoSensitiveContentDetected",
        "InputAudioSensitiveContentDetected",
        "OutputTextSensitiveContentDetected",
        "OutputImageSensitiveContentDetected",
        "OutputVideoSensitiveContentDetected",
        "OutputAudioSensitiveContentDetected",
        "InputTextRiskDetection",
        "InputImageRiskDetection",
        "OutputImageRiskDetection",
        "OutputVideoRiskDetection",
        "base_resp_1026",  # MiniMax: of what goes in, of what comes out
        "base_resp_1027",
        "kling_1300",
        "kling_1301",
        "E005",  # Replicate
    }
)
"""A refusal of what was asked, also where a proxy makes a 5xx of it: nobody's failure, and the same everywhere."""
GONE_CODES = frozenset(
    {
        "model_not_found",
        "ModelNotFound",  # DashScope, 404
        "Model.AccessDenied",
        "InvalidEndpointOrModel.NotFound",  # Ark, 404
        "InvalidEndpointOrModel.ModelIDAccessDisabled",
        "InvalidEndpoint.NotFound",
        "InvalidEndpoint.ClosedEndpoint",
        "ShutdownModel",
        "DeploymentNotFound",  # Azure, 404
        "NOT_FOUND",  # Google, 404
    }
)
"""No such model there, or no more: nothing was done, and another upstream may have it."""
HIDDEN_STATUSES = frozenset({400, 404, 422})
"""Of the caller's own errors, those under which APIs also hide that our money is spent."""
_REASONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), code)
    for pattern, code in (
        (r"rate.?limit|too many requests", "rate_limit_exceeded"),
        (
            r"insufficient.{0,20}(balance|credit|fund|quota)|payment required|out of credit|arrear|overdue",
            "insufficient_quota",
        ),
        (
            r"generation rejected|content.{0,12}(policy|filter|safety|moderat|violat)|safety (filter|system)|moderation"
            r"|sensitive (content|information|word)|usage guidelines|responsible ai|nsfw|inappropriate content"
            r"|risk control",
            "content_policy_violation",
        ),
        (
            r"model.{0,60}(not (be )?found|does not exist|not supported|deprecated|retired)|unknown model",
            "model_not_found",
        ),
        (r"overload|at capacity|no capacity|temporarily unavailable|service unavailable", "server_is_overloaded"),
        (r"backend error \(4(00|13|15|22)\)|invalid (parameter|argument|request|input)", "invalid_request"),
    )
)
"""Words of APIs that give a reason and no code (GMI, and Google's operations), the first that is found."""
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
    fal an `error_type`, or a list `detail` of what is wrong where, ElevenLabs an object `detail`, MiniMax a
    `base_resp`; GMI a text `error` and no code."""

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
_bodies = msgspec.json.Decoder(list[_Body])


def code_of(body: bytes) -> str:
    """The machine-readable code of an error body; "" where there is none."""
    found = _read(body)
    if found is None:
        return ""
    error = _as(found.error, _Error)
    if error is not None:
        return _of_object(error)
    words = (found.code, _of_detail(found.detail), found.error_type)
    base = _as(found.base_resp, _BaseResp)
    if base is not None and base.status_code:
        return f"base_resp_{base.status_code}"
    told = next((word for word in words if isinstance(word, str) and word), "")
    return told or (code_of_reason(found.error) if isinstance(found.error, str) else "")


def code_of_reason(reason: str) -> str:
    """A code of the sets above, or `invalid_request`, for a reason in plain words; "" where they say neither."""
    return next((code for pattern, code in _REASONS if pattern.search(reason)), "")


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


def _of_detail(detail: Any) -> Any:
    """ElevenLabs' `status` (its newer errors have a `code`), or the type of fal's first complaint."""
    if isinstance(detail, dict):
        return detail.get("status") or detail.get("code")
    first = detail[0] if isinstance(detail, list) and detail else None
    return first.get("type") if isinstance(first, dict) else None


def _read(body: bytes) -> _Body | None:
    """Google's OpenAI-compatible endpoint puts its error into a list."""
    try:
        return _body.decode(body) if body[:1] != b"[" else _first(_bodies.decode(body))
    except (msgspec.DecodeError, RecursionError):
        return None


def _first(bodies: list[_Body]) -> _Body | None:
    return bodies[0] if bodies else None


def _as(value: Any, shape: Any) -> Any:
    try:
        return None if value is None else msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return None
