"""Whatever is sent, by callers or upstreams: a translation, a refusal of its caller, or a fault of its upstream."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadAnswer, InvalidRequest
from gateway.upstreams.dialects.translate import answers_to_chat, answers_to_messages, errors
from gateway.upstreams.dialects.translate.requests_to_chat import thinks, to_chat
from gateway.upstreams.dialects.translate.requests_to_messages import to_messages
from gateway.upstreams.dialects.translate.streams_to_chat import ToChat
from gateway.upstreams.dialects.translate.streams_to_messages import ToMessages

NAMES = [
    *("messages", "system", "tools", "tool_choice", "stop", "stop_sequences", "thinking", "output_config", "metadata"),
    *("max_tokens", "temperature", "response_format", "reasoning_effort", "n", "logit_bias", "user", "service_tier"),
]
KEYS = [
    *(
        "role",
        "content",
        "type",
        "text",
        "image_url",
        "url",
        "file",
        "file_data",
        "tool_calls",
        "id",
        "function",
        "name",
    ),
    *("arguments", "tool_use_id", "input", "source", "data", "media_type", "parameters", "input_schema", "schema"),
    *("format", "effort", "budget_tokens", "delta", "index", "choices", "message", "content_block", "usage", "error"),
    *("finish_reason", "stop_reason", "json_schema", "model", "partial_json", "is_error", "thinking", "user_id"),
]
WORDS = [
    *("user", "assistant", "system", "tool", "text", "image", "image_url", "tool_use", "tool_result", "function", "{"),
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "stop"),
    *(
        "message_stop",
        "input_json_delta",
        "text_delta",
        "thinking",
        "document",
        "json_schema",
        "data:image/png;base64,",
    ),
]
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(NAMES), values, max_size=5))
def test_any_request(body: dict[str, Any]) -> None:
    fields = msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw])
    for way in (to_messages, to_chat, thinks):
        with suppress(InvalidRequest):
            msgspec.json.encode(way(fields))


@given(st.lists(values, max_size=5))
def test_any_stream(events: list[Any]) -> None:
    for machine in (ToChat(1, include_usage=True), ToMessages(("stop",), thinking=True)):
        with suppress(BadAnswer):
            for event in events:
                machine.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
            machine.end()


@given(values | st.binary(max_size=20))
def test_any_answer(answer: Any) -> None:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    with suppress(BadAnswer):
        answers_to_chat.to_chat(body, 1)
    with suppress(BadAnswer):
        answers_to_messages.to_messages(body, (), thinking=True)
    for way in (errors.for_chat, errors.for_messages):
        assert json.loads(way(400, body))["error"]["message"]


@pytest.mark.parametrize("depth", [100_000])
def test_what_is_nested_too_deeply(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for body in (b'{"content":%b}' % deep, b'{"choices":%b}' % deep):
        for way in (
            lambda body: answers_to_chat.to_chat(body, 1),
            lambda body: answers_to_messages.to_messages(body, (), thinking=True),
        ):
            with pytest.raises(BadAnswer):
                way(body)
    with pytest.raises(BadAnswer):
        ToChat(1, include_usage=True).feed(b"data: " + deep + b"\n\n")


def test_bytes_that_are_no_text() -> None:
    odd = b'{"content":[{"type":"tool_use","id":"t","name":"f","input":{"a":"\xff"}}]}'
    with pytest.raises(BadAnswer):
        answers_to_chat.to_chat(odd, 1)
