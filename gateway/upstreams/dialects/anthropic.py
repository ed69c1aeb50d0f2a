"""Anthropic's /v1/messages and count_tokens, which vLLM speaks too: usage in parts, errors in a shape of their own.

`input_tokens` leaves out what the cache served or took in; the whole prompt is the sum of the three figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.model import Usage
from gateway.upstreams.dialects.endpoint import ADDRESSED, Endpoint, words
from gateway.upstreams.dialects.figures import ODD_JSON, Figures, nested
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


class _Message(msgspec.Struct):
    usage: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    message: _Message | None = None
    usage: Any = None


_message = msgspec.json.Decoder(_Message)
_event = msgspec.json.Decoder(_Event)


@dataclass(slots=True)
class Tally:
    """The usage of one answer, put together: `message_start` tells the prompt, each `message_delta` the output so far,
    and whatever else it repeats. Figures are cumulative: none becomes smaller."""

    figures: Figures = field(default_factory=Figures)
    fresh: int = 0
    written: int = 0
    hourly: int = 0
    """Of those written to the cache, the ones that are kept for an hour."""
    read: int = 0
    output: int = 0
    thought: int = 0

    def take(self, part: Any) -> Usage | None:
        """The usage so far; None where this part tells nothing."""
        if not isinstance(part, dict):
            return None
        self._take_prompt(part)
        self.output = max(self.output, self._newer(part, "output_tokens", 0))
        self.thought = max(self.thought, self._newer(nested(part, "output_tokens_details"), "thinking_tokens", 0))
        return Usage(
            self.figures.count(self.fresh + self.written + self.read),
            self.output,
            self.read,
            cache_write_tokens=self.written,
            cache_write_1h_tokens=min(self.hourly, self.written),
            reasoning_tokens=min(self.thought, self.output),
            absurd=self.figures.odd or self.thought > self.output,
        )

    def _take_prompt(self, part: Mapping[str, Any]) -> None:
        """All of it or nothing: later figures may say that what was fresh came from the cache, not that it was less."""
        fresh = self._newer(part, "input_tokens", self.fresh)
        read = self._newer(part, "cache_read_input_tokens", self.read)
        written, hourly = self._newer(part, "cache_creation_input_tokens", self.written), self.hourly
        kept = nested(part, "cache_creation")
        if kept:
            hourly = self._newer(kept, "ephemeral_1h_input_tokens", hourly)
            written = max(written, hourly + self._newer(kept, "ephemeral_5m_input_tokens", 0))
        if fresh + read + written >= self.fresh + self.read + self.written:
            self.fresh, self.read, self.written, self.hourly = fresh, read, written, hourly

    def _newer(self, part: Mapping[str, Any], name: str, before: int) -> int:
        told = part.get(name)
        return before if told is None else self.figures.count(told)


def usage_of(answer: bytes) -> Usage | None:
    """Usage of a complete answer; None where it has none or is not JSON."""
    try:
        return Tally().take(_message.decode(answer).usage)
    except ODD_JSON:
        return None


def nothing_used(_: bytes) -> Usage:
    """Counting tokens is free and keeps no GPU busy."""
    return Usage(0, 0)


def reader() -> Reader:
    tally = Tally()

    def read_frame(data: bytes) -> Note:
        try:
            event = _event.decode(data)
        except ODD_JSON:
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
    media=words(*ADDRESSED, "document", "file", "container_upload"),
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
