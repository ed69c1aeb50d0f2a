"""OpenAI's /v1/responses: named events, of which the last one holds the whole response and its usage."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from gateway.errors import GatewayError
from gateway.model import Usage
from gateway.upstreams.dialects import openai
from gateway.upstreams.dialects.endpoint import Endpoint, words
from gateway.upstreams.sse import Events, Note, Reader

ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""The API's own endings; no `[DONE]` follows. An `error` event ends the stream too, without a response."""
_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*(\d{1,18})')


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Details | None = None


class _Response(msgspec.Struct):
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    type: str = ""
    response: _Response | None = None


_response = msgspec.json.Decoder(_Response)
_event = msgspec.json.Decoder(_Event)


def usage_of(answer: bytes) -> Usage | None:
    """Usage of a complete answer; None where it has none or is not JSON."""
    try:
        return _usage(_response.decode(answer).usage)
    except msgspec.DecodeError:
        return None


def read_frame(data: bytes) -> Note:
    """What one event says."""
    try:
        event = _event.decode(data)
    except msgspec.DecodeError:
        return Note()
    usage = _usage(event.response.usage) if event.response is not None else None
    return Note(usage, end=event.type in ENDS, failed=event.type == "error")


def reader() -> Reader:
    """Only the last event tells usage: nothing is remembered."""
    return read_frame


def error_event(error: GatewayError, request_id: str, last: bytes) -> bytes:
    """The API's `error` event, numbered after the last one forwarded. The SDK raises for its `error` key alone."""
    numbers = _SEQUENCE.findall(last)
    shown = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    event = {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "sequence_number": int(numbers[-1]) + 1 if numbers else 0,
        "error": shown,
    }
    return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"


def _usage(found: _Usage | None) -> Usage | None:
    if found is None:
        return None
    details = found.input_tokens_details
    return Usage(found.input_tokens, found.output_tokens, (details.cached_tokens or 0) if details is not None else 0)


RESPONSES = Endpoint(
    name="responses",
    prompt=("instructions", "input", "tools", "text"),
    media=words("input_image", "input_file", "input_audio", "image_url", "image_generation"),
    caps=("max_output_tokens",),
    cap="max_output_tokens",
    # The API keeps every response unless told not to, and what it keeps could not be asked for here.
    defaults={"store": Raw(b"false")},
    usage_of=usage_of,
    events=Events(
        reader, marks=(b"response.completed", b"response.incomplete", b"response.failed", b'"error"'), token=b'"delta":'
    ),
    error_body=openai.error_body,
    error_event=error_event,
)
