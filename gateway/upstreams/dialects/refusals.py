"""What a worker says when it refuses the caller's request, in the shape that the caller's SDK reads.

The engines have shapes of their own: SGLang and TensorRT-LLM a flat `{"object": "error", "message", "type", "param",
"code"}`, TGI `{"error": "text", "error_type"}`, FastAPI `{"detail": "text"}` or a list of what is wrong where, others
plain text. Bought APIs: `{"detail": {"message"}}` (ElevenLabs), `{"base_resp": {"status_msg"}}` (MiniMax), a list with
the error in it (Google). vLLM and llama.cpp have OpenAI's own, with the status as `code`; what has it already stays as
it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

LONGEST_MESSAGE = 2_000
INVALID = "invalid_request_error"
_NESTED = ("message", "type", "param", "code")


class Refusal(NamedTuple):
    """What it said. `type` and `code` are the engine's own words, None where it has none; `code` that only repeats the
    status is none."""

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None


class _Where(msgspec.Struct):
    msg: str
    loc: list[str | int] = []


class _Body(msgspec.Struct):
    """All shapes in one."""

    error: Any = None
    message: Any = None
    type: Any = None
    param: Any = None
    code: Any = None
    error_type: Any = None
    detail: Any = None
    base_resp: Any = None


_body = msgspec.json.Decoder(_Body)
_bodies = msgspec.json.Decoder(list[_Body])


def refusal_of(status: int, body: bytes) -> Refusal | None:
    """None where the body has OpenAI's (and Anthropic's) `error.message` already."""
    try:
        found = _decoded(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Refusal(_plain(status, body))
    error = found.error
    if isinstance(error, dict):
        if isinstance(error.get("message"), str) and body[:1] != b"[":
            return None
        found = msgspec.convert({name: error.get(name) for name in _NESTED}, _Body)
    elif isinstance(error, str):
        found.message, found.type = error, found.error_type or found.type
    elif found.detail is not None:
        return _of_detail(status, found.detail)
    elif isinstance(found.base_resp, dict):
        found.message = found.base_resp.get("status_msg")
    message = found.message if isinstance(found.message, str) and found.message else _unsaid(status)
    return Refusal(message[:LONGEST_MESSAGE], _word(found.type), _word(found.param), _word(found.code))


def _decoded(body: bytes) -> _Body:
    """Google's OpenAI-compatible endpoint puts its error into a list. Raises MsgspecError and its like."""
    if body[:1] != b"[":
        return _body.decode(body)
    found = _bodies.decode(body)
    return found[0] if found else _Body()


def _of_detail(status: int, detail: Any) -> Refusal:
    """FastAPI's: a text, or each fault with where it is. ElevenLabs': an object."""
    if isinstance(detail, dict):
        detail = detail.get("message") or ""
    if isinstance(detail, str):
        return Refusal(detail[:LONGEST_MESSAGE] or _unsaid(status))
    try:
        faults = msgspec.convert(detail, list[_Where])
    except msgspec.ValidationError:
        faults = []
    if not faults:
        return Refusal(_unsaid(status))
    places = [".".join(str(part) for part in fault.loc if part != "body") for fault in faults]
    said = "; ".join(f"{place}: {one.msg}" if place else one.msg for place, one in zip(places, faults, strict=True))
    return Refusal(said[:LONGEST_MESSAGE] or _unsaid(status), param=places[0] or None)


def _plain(status: int, body: bytes) -> str:
    """A text as it is; a page for browsers says nothing to a program."""
    try:
        said = body[: 4 * LONGEST_MESSAGE].decode().strip()
    except UnicodeDecodeError:
        return _unsaid(status)
    return said[:LONGEST_MESSAGE] if said and said[:1] not in "<{[" else _unsaid(status)


def _unsaid(status: int) -> str:
    return f"the worker refused the request with {status}"


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def openai_body(refusal: Refusal) -> bytes:
    """In OpenAI's shape."""
    return msgspec.json.encode({"error": {**refusal._asdict(), "type": refusal.type or INVALID}})
