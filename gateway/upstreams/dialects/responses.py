"""OpenAI's /v1/responses: named events, of which the last one holds the whole response and its usage."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import GatewayError
from gateway.model import Usage
from gateway.upstreams.dialects import openai
from gateway.upstreams.dialects.endpoint import ADDRESSED, Endpoint, words
from gateway.upstreams.dialects.figures import ODD_JSON, Figures, nested, prompt_parts
from gateway.upstreams.sse import Events, Note, Reader

ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""The API's own endings; no `[DONE]` follows. An `error` event ends the stream too, without a response."""
_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*(\d{1,18})')


class _Response(msgspec.Struct):
    usage: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    response: _Response | None = None


_response = msgspec.json.Decoder(_Response)
_event = msgspec.json.Decoder(_Event)


def usage_of(answer: bytes) -> Usage | None:
    """Usage of a complete answer; None where it has none or is not JSON."""
    try:
        return _usage(_response.decode(answer).usage)
    except ODD_JSON:
        return None


def read_frame(data: bytes) -> Note:
    """What one event says."""
    try:
        event = _event.decode(data)
    except ODD_JSON:
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


def _usage(found: Any) -> Usage | None:
    """What is written to a cache for twelve hours counts as what Anthropic keeps for one: the longer of two kinds."""
    if not isinstance(found, dict):
        return None
    figures = Figures()
    prompt, output = figures.count(found.get("input_tokens")), figures.count(found.get("output_tokens"))
    read, made = nested(found, "input_tokens_details"), nested(found, "output_tokens_details")
    kept = nested(read, "cache_write_tokens_details")
    brief, long = figures.count(kept.get("ttl_30m_tokens")), figures.count(kept.get("ttl_12h_tokens"))
    written = max(figures.count(read.get("cache_write_tokens")), brief + long)
    parts = prompt_parts(figures, read, prompt, written)
    return Usage(
        prompt,
        output,
        parts.cached,
        cache_write_tokens=parts.written,
        cache_write_1h_tokens=min(long, parts.written),
        reasoning_tokens=figures.part(made.get("reasoning_tokens"), output),
        input_audio_tokens=parts.sound,
        input_image_tokens=parts.pictures,
        cached_audio_tokens=parts.cached_sound,
        cached_image_tokens=parts.cached_pictures,
        absurd=figures.odd,
    )


RESPONSES = Endpoint(
    name="responses",
    prompt=("instructions", "input", "tools", "text"),
    media=words(*ADDRESSED, "input_file", "input_audio", "image_generation"),
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
