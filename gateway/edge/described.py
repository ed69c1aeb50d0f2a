"""What `/openapi.json` says of the paths that FastAPI does not know: the generations are raw ASGI (`middleware.py`).

Their bodies are not described again: they are OpenAI's and Anthropic's, whose references say what goes into them, and
the gateway passes on what it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from itertools import groupby
from typing import Any

from gateway import errors
from gateway.errors import GatewayError
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.hearing import HEARING
from gateway.upstreams.dialects.realtime import REALTIME
from gateway.upstreams.dialects.surface import PATHS, is_anthropic

JsonObject = dict[str, Any]

_TEXT: JsonObject = {"type": "string"}
_AMOUNT: JsonObject = {"type": "number", "minimum": 0}
HEADERS: Mapping[str, tuple[JsonObject, str]] = {
    "X-Data-Residency": (_TEXT, "Where the data must stay: `local`, or zones with commas; nothing loosens it."),
    "X-Gateway-Priority": (
        {"type": "string", "enum": ["interactive", "standard", "batch"]},
        "The class that it runs in, at most the key's.",
    ),
    "X-Gateway-Session": (_TEXT, "Requests of one conversation have the same."),
    "X-Gateway-Max-Wait-Ms": (_AMOUNT, "Shortens how long it waits for room."),
    "X-Gateway-Deadline-Ms": (_AMOUNT, "When it must be over."),
    "X-Gateway-Max-Cost-Usd": (_AMOUNT, "Nothing that might cost more is bought for it."),
    "X-Gateway-Pipeline": (
        {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"},
        "Named in the ledger, for reports and budgets.",
    ),
    "X-Request-Id": ({"type": "string", "maxLength": 128}, "The caller's own id: comes back as X-Client-Request-Id."),
    "traceparent": (_TEXT, "W3C trace context."),
}
"""Of every generation, as docs/headers.md has them."""
OF_JOBS: Mapping[str, tuple[JsonObject, str]] = {
    "X-Gateway-Webhook": ({"type": "string", "format": "uri"}, "An https address that is told how the job ended."),
    "Idempotency-Key": ({"type": "string", "minLength": 1, "maxLength": 256}, "The same again makes no second job."),
}

SECURITY: list[JsonObject] = [{"key": []}, {"apiKey": []}]
_SCHEMES: JsonObject = {
    "key": {"type": "http", "scheme": "bearer", "description": "The caller's key, or a token of an issuer."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "The same, as Anthropic's SDK."},
    "adminKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "GATEWAY_ADMIN_KEY; of workers and agents: theirs.",
    },
}

_REFUSALS = (
    errors.InvalidRequest,
    errors.ResidencyUnknown,
    errors.InvalidKey,
    errors.BudgetExceeded,
    errors.MaxCostExceeded,
    errors.ModelNotAllowed,
    errors.ResidencyRefused,
    errors.ModelNotFound,
    errors.NotFound,
    errors.MethodNotAllowed,
    errors.RequestTooLarge,
    errors.UnsupportedMedia,
    errors.FleetSaturated,
    errors.RateLimited,
    GatewayError,
    errors.UpstreamFailed,
    errors.NoCapacity,
    errors.AuditUnavailable,
    errors.ShuttingDown,
    errors.DeadlineExceeded,
)
"""Of every generation, by status."""
_OF_JOBS = (errors.JobConflict, errors.ArtefactsFull)
_OF_RESPONSES = (errors.StateElsewhere,)
_OF_SESSIONS = (errors.SessionExpired,)

OPENAI = "OpenAI's API reference (platform.openai.com/docs/api-reference)"
ANTHROPIC = "Anthropic's API reference (docs.anthropic.com/en/api)"


def described(schema: Mapping[str, Any]) -> JsonObject:
    """`schema`, FastAPI's own OpenAPI 3.1 document, with every path of PATHS, and who may call what."""
    made: JsonObject = deepcopy(dict(schema))
    parts = made.setdefault("components", {})
    parts["securitySchemes"] = deepcopy(_SCHEMES)
    parts.setdefault("schemas", {}).update(OpenAIError=_error_schema(), AnthropicError=_anthropic_schema())
    paths: JsonObject = made.setdefault("paths", {})
    for path, methods in paths.items():
        for operation in methods.values():
            if path.startswith("/admin/"):
                operation["security"] = [{"adminKey": []}]
            elif path.startswith("/v1/"):
                operation["security"] = deepcopy(SECURITY)
    for path, endpoint in PATHS.items():
        paths.setdefault(path, {}).update(_generation(path, endpoint))
    return made


def _generation(path: str, endpoint: Endpoint) -> JsonObject:
    """The path's own method."""
    session, jobs = endpoint is REALTIME, endpoint.jobs != "never"
    family, whose = ("anthropic", ANTHROPIC) if is_anthropic(path) else ("openai", OPENAI)
    operation: JsonObject = {
        "tags": [family],
        "summary": "A conversation over one WebSocket" if session else f"A generation: {endpoint.name}",
        "description": f"What goes in and comes out is on {whose}; what the gateway adds is in its headers.",
        "operationId": "generate_" + endpoint.name.replace("/", "_"),
        "security": deepcopy(SECURITY),
        "parameters": _parameters({**HEADERS, **OF_JOBS} if jobs else HEADERS),
        "responses": _answers(path, endpoint),
    }
    if session:
        asked = {"name": "model", "in": "query", "required": True, "schema": _TEXT}
        return {"get": {**operation, "parameters": [asked, *operation["parameters"]]}}
    return {"post": {**operation, "requestBody": {"required": True, "content": _bodies(endpoint, whose)}}}


def _parameters(headers: Mapping[str, tuple[JsonObject, str]]) -> list[JsonObject]:
    return [
        {"name": name, "in": "header", "required": False, "schema": dict(shape), "description": said}
        for name, (shape, said) in headers.items()
    ]


def _bodies(endpoint: Endpoint, whose: str) -> JsonObject:
    hears = endpoint.name in HEARING
    kinds = ["multipart/form-data"] if hears else ["application/json", *["multipart/form-data"] * endpoint.forms]
    required = ["model", *(["file"] if hears else endpoint.needs)]
    shape = {"type": "object", "required": required, "additionalProperties": True, "description": f"As on {whose}."}
    return {kind: {"schema": {**shape, "properties": {"model": dict(_TEXT)}}} for kind in kinds}


def _answers(path: str, endpoint: Endpoint) -> JsonObject:
    """By status; an error's description names its codes (docs/errors.md)."""
    more = (
        *(_OF_JOBS if endpoint.jobs != "never" else ()),
        *(_OF_RESPONSES if endpoint.name == "responses" else ()),
        *(_OF_SESSIONS if endpoint is REALTIME else ()),
    )
    shape = "AnthropicError" if is_anthropic(path) else "OpenAIError"
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
    fine: JsonObject = {"101": {"description": "The WebSocket is open."}}
    if endpoint is not REALTIME:
        kinds = ["audio/*"] if endpoint.name == "audio/speech" else ["application/json"]
        said: JsonObject = {kind: {} for kind in [*kinds, *["text/event-stream"] * endpoint.streams]}
        fine = {"200": {"description": "The answer, or its stream.", "content": said}}
    refused = {
        str(status): {"description": ", ".join(f"`{code}`" for code in codes), "content": deepcopy(content)}
        for status, codes in _by_status((*_REFUSALS, *more))
    }
    return {**fine, **refused}


def _by_status(kinds: Iterable[type[GatewayError]]) -> list[tuple[int, list[str]]]:
    ordered = sorted(kinds, key=lambda kind: kind.status)
    return [(status, [kind.code for kind in same]) for status, same in groupby(ordered, lambda kind: kind.status)]


def _error_schema() -> JsonObject:
    told = {
        "message": _TEXT,
        "type": _TEXT,
        "param": {"type": ["string", "null"]},
        "code": {"type": ["string", "null"]},
    }
    return _object(error=_object(**deepcopy(told)))


def _anthropic_schema() -> JsonObject:
    return _object(type={"const": "error"}, error=_object(type=dict(_TEXT), message=dict(_TEXT)))


def _object(**properties: JsonObject) -> JsonObject:
    return {"type": "object", "required": list(properties), "properties": properties}
