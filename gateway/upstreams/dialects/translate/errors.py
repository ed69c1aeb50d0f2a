"""An upstream's refusal in the shape of the other API."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.upstreams.dialects.anthropic import ERROR_TYPES
from gateway.upstreams.dialects.figures import ODD_JSON
from gateway.upstreams.dialects.refusals import INVALID, LONGEST_MESSAGE, Refusal, openai_body, refusal_of

_FAILED = 500


class _Error(msgspec.Struct):
    message: str = ""
    type: Any = None
    param: Any = None
    code: Any = None


class _Body(msgspec.Struct):
    error: _Error


_body = msgspec.json.Decoder(_Body)


def said(status: int, body: bytes) -> Refusal:
    """Whatever shape it has."""
    other = refusal_of(status, body)
    if other is not None:
        return other
    unsaid = f"the upstream refused the request with {status}"
    try:
        error = _body.decode(body).error
    except ODD_JSON:
        return Refusal(unsaid)
    words = [word if isinstance(word, str) and word else None for word in (error.type, error.param, error.code)]
    return Refusal(error.message[:LONGEST_MESSAGE] or unsaid, *words)


def for_chat(status: int, body: bytes) -> bytes:
    """OpenAI's."""
    return openai_body(said(status, body))


def for_messages(status: int, body: bytes) -> bytes:
    """Anthropic's, whose types go with the status."""
    refusal = said(status, body)
    kind = ERROR_TYPES.get(status, INVALID if status < _FAILED else GatewayError.type)
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": refusal.message}})
