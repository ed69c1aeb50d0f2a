"""What the answers of all bought APIs have in common: JSON, a refusal, a reason in words, a kind of file."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import BadAnswer, Refused
from gateway.upstreams import answers
from gateway.upstreams.codes import code_of_reason
from gateway.upstreams.dialects.ordering import Answer, Order

_NAMES = {"videos": "video", "audio/speech": "audio"}
_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "mp3": "audio/mpeg",
    "mpeg": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "ogg": "audio/ogg",
    "pcm": "audio/pcm",
}


def page_of(answer: Answer) -> dict[str, Any]:
    """The JSON object of a success. Raises Refused for any other status, and BadAnswer."""
    if not 200 <= answer.status < 300:
        raise refusal_of(answer)
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise BadAnswer(f"answered {answer.status} without a JSON object") from None


def refusal_of(answer: Answer) -> Refused:
    """The fault of an answer that is none, its code read out of its words where it has no other."""
    fault = answers.refusal(answer.status, list(answer.headers), answer.body)
    code = fault.code or code_of_reason(words_of(_object(answer.body)))
    return fault if code == fault.code else answers.of_code(answer.status, code, fault.retry_after)


def failure(reason: Any, code: str = "") -> Refused:
    """Of an order that failed: `reason` is text, or an object that holds a message and maybe a code."""
    if isinstance(reason, dict):
        said = reason.get("code")
        code = code or (said if isinstance(said, str) else "")
    return answers.judged(_text(reason), code)


def words_of(page: dict[str, Any]) -> str:
    """What an error body says, wherever its API puts that."""
    for name in ("error", "message", "detail", "error_message", "reason"):
        if said := _text(page.get(name)):
            return said
    return ""


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


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}
