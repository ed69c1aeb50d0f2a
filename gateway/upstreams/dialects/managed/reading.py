"""What the answers of job APIs have in common: a reason for a failure, a kind of file, its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import Refused
from gateway.upstreams import answers
from gateway.upstreams.codes import code_of_reason
from gateway.upstreams.dialects.figures import ODD_JSON
from gateway.upstreams.dialects.managed.parts import read
from gateway.upstreams.dialects.ordering import Answer, Order

_SAID = ("error", "message", "detail", "error_message", "reason")
"""Where an error body may have its words."""
_NAMES = {"videos": "video", "audio/speech": "audio"}
_RPC: Mapping[int, tuple[int, str]] = {
    3: (400, "INVALID_ARGUMENT"),
    5: (404, "NOT_FOUND"),
    7: (403, "PERMISSION_DENIED"),
    8: (429, "RESOURCE_EXHAUSTED"),
    9: (400, "FAILED_PRECONDITION"),
    13: (500, "INTERNAL"),
    14: (503, "UNAVAILABLE"),
    16: (401, "UNAUTHENTICATED"),
}
"""google.rpc.Code, which is all that an operation's error has for a code -> HTTP status and its name."""
_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mpeg": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "ogg": "audio/ogg",
    "pcm": "audio/pcm",
}


def page_of(answer: Answer) -> dict[str, Any]:
    """As `read`, of an API that may say in words alone why it refuses."""
    try:
        return read(answer)
    except Refused as fault:
        said = "" if fault.code else code_of_reason(_words(answer.body))
        raise answers.of_code(answer.status, said, fault.retry_after) if said else fault from None


def _words(body: bytes) -> str:
    try:
        page = msgspec.json.decode(body, type=dict[str, Any])
    except ODD_JSON:
        return ""
    return next((said for name in _SAID if (said := _text(page.get(name)))), "")


def failure(reason: Any, code: str = "") -> Refused:
    """Of an order that failed: `reason` is text, or an object that holds a message and maybe a code."""
    if isinstance(reason, dict):
        said = reason.get("code")
        code = code or (said if isinstance(said, str) else "")
    return answers.judged(_text(reason), code)


def operation_failure(error: Mapping[str, Any]) -> Refused:
    """Of one of Google's long-running operations. Its words first: what is refused for its content comes as an invalid
    argument."""
    told, number = failure(error.get("message")), error.get("code")
    known = _RPC.get(number) if isinstance(number, int) else None
    return told if told.code or known is None else answers.of_code(*known)


def media_type(asked: str | None, url: str, otherwise: str) -> str:
    """Of a file: by its address, else by the format that was asked for."""
    suffix = url.partition("?")[0].rpartition(".")[2].lower()
    return _TYPES.get(suffix) or _TYPES.get((asked or "").lower()) or otherwise


def piece_name(order: Order, i: int) -> str:
    """As in `Artefact`, of the i-th result."""
    name = _NAMES.get(order.endpoint)
    return f"image-{i}" if name is None else name if i == 0 else f"{name}-{i}"


def _text(said: Any) -> str:
    if isinstance(said, dict):
        said = said.get("message") or said.get("error") or said.get("detail")
    return said if isinstance(said, str) else ""
