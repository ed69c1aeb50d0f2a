"""The endpoints, one row each, and whose errors each path shows."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.errors import GatewayError
from gateway.upstreams.dialects.anthropic import COUNT_TOKENS, ERROR_TYPES, MESSAGES
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.hearing import TRANSCRIPTIONS, TRANSLATIONS
from gateway.upstreams.dialects.media_endpoints import EDITS, IMAGES, SPEECH, VIDEOS
from gateway.upstreams.dialects.openai import CHAT, COMPLETIONS, EMBEDDINGS
from gateway.upstreams.dialects.realtime import REALTIME
from gateway.upstreams.dialects.refusals import INVALID, openai_body, refusal_of
from gateway.upstreams.dialects.responses import RESPONSES

_ROWS = (
    *(CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, MESSAGES, COUNT_TOKENS),
    *(IMAGES, EDITS, SPEECH, VIDEOS, TRANSCRIPTIONS, TRANSLATIONS, REALTIME),
)
ENDPOINTS: Mapping[str, Endpoint] = {row.name: row for row in _ROWS}
PATHS: Mapping[str, Endpoint] = {row.path: row for row in _ROWS}


def is_anthropic(path: str) -> bool:
    """Whether callers of this path expect Anthropic's shapes, also where it leads nowhere."""
    return path.startswith(MESSAGES.path) and (path == MESSAGES.path or path[len(MESSAGES.path)] == "/")


def restated(path: str, status: int, body: bytes) -> bytes | None:
    """A worker's refusal as the callers of `path` expect it; None where it is so already."""
    refusal = refusal_of(status, body)
    if refusal is None:
        return None
    if not is_anthropic(path):
        return openai_body(refusal)
    kind = ERROR_TYPES.get(status, INVALID)
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": refusal.message}})


def error_body(path: str, error: GatewayError, request_id: str) -> bytes:
    """An error of ours as the callers of `path` expect it."""
    family = MESSAGES if is_anthropic(path) else CHAT
    return family.error_body(error, request_id)
