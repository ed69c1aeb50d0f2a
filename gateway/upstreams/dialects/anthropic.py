"""Anthropic's /v1/messages and count_tokens, which vLLM speaks too: usage in parts, errors in a shape of their own.

`input_tokens` leaves out what the cache served or took in; the whole prompt is the sum of the three figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from gateway.errors import GatewayError
from gateway.model import Usage
from gateway.upstreams.dialects.endpoint import Endpoint, words
from gateway.upstreams.sse import Events, Note, Reader

ERROR_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Status of an error of ours -> the API's name; other 4xx are `invalid_request_error`, other 5xx `api_error`."""


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None


class _Message(msgspec.Struct):
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    type: str = ""
    message: _Message | None = None
    usage: _Usage | None = None


_message = msgspec.json.Decoder(_Message)
_event = msgspec.json.Decoder(_Event)


@dataclass(slots=True)
class Tally:
    """The usage of one answer, put together: `message_start` tells the prompt, each `message_delta` the output so far,
    and whatever else it repeats. Figures are cumulative: the last one counts."""

    fresh: int = 0
    written: int = 0
    read: int = 0
    output: int = 0

    def take(self, part: _Usage | None) -> Usage | None:
        """The usage so far; None where this part tells nothing."""
        if part is None:
            return None
        self.fresh = _newer(part.input_tokens, self.fresh)
        self.written = _newer(part.cache_creation_input_tokens, self.written)
        self.read = _newer(part.cache_read_input_tokens, self.read)
        self.output = _newer(part.output_tokens, self.output)
        return Usage(self.fresh + self.written + self.read, self.output, self.read)


def _newer(told: int | None, before: int) -> int:
    return before if told is None else told


def usage_of(answer: bytes) -> Usage | None:
    """Usage of a complete answer; None where it has none or is not JSON."""
    try:
        return Tally().take(_message.decode(answer).usage)
    except msgspec.DecodeError:
        return None


def nothing_used(_: bytes) -> Usage:
    """Counting tokens is free and keeps no GPU busy."""
    return Usage(0, 0)


def reader() -> Reader:
    tally = Tally()

    def read_frame(data: bytes) -> Note:
        try:
            event = _event.decode(data)
        except msgspec.DecodeError:
            return Note()
        usage = tally.take(event.message.usage if event.message is not None else event.usage)
        return Note(usage, end=event.type == "message_stop", failed=event.type == "error")

    return read_frame


def error_body(error: GatewayError, request_id: str) -> bytes:
    """Our own code is `error.details.error_code`, where this API keeps its codes."""
    details = {"error_code": error.code, **({"param": error.param} if error.param is not None else {})}
    usual = "invalid_request_error" if error.status < 500 else "api_error"
    shown = {"type": ERROR_TYPES.get(error.status, usual), "message": error.message, "details": details}
    return msgspec.json.encode({"type": "error", "error": shown, "request_id": request_id})


def error_event(error: GatewayError, request_id: str, _: bytes) -> bytes:
    return b"event: error\ndata: " + error_body(error, request_id) + b"\n\n"


MESSAGES = Endpoint(
    name="messages",
    prompt=("system", "messages", "tools"),
    media=words("image", "document", "file", "container_upload"),
    caps=("max_tokens",),
    needs=("max_tokens",),
    headers=(b"anthropic-version", b"anthropic-beta"),
    usage_of=usage_of,
    events=Events(reader, marks=(b"message_stop", b'"error"'), token=b'"delta":'),
    error_body=error_body,
    error_event=error_event,
)
COUNT_TOKENS = replace(
    MESSAGES, name="messages/count_tokens", prompt=(), caps=(), needs=(), streams=False, usage_of=nothing_used
)
