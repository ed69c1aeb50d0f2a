"""Answers as vLLM 0.32 writes them, typed off a real one (`make engine-test`): what differs from the APIs it speaks."""

from __future__ import annotations

import pytest

from gateway.model import Usage
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.openai import CHAT, COMPLETIONS
from gateway.upstreams.dialects.surface import ENDPOINTS
from gateway.upstreams.sse import Tap

MESSAGES, RESPONSES, COUNT_TOKENS = (ENDPOINTS[name] for name in ("messages", "responses", "messages/count_tokens"))
CHUNK = (
    'data: {"id":"chatcmpl-81f7","object":"chat.completion.chunk","created":1795319200,"model":"tiny",'
    '"choices":[{"index":0,"delta":{"content":"%s"},"logprobs":null,"finish_reason":%s,"token_ids":null}]}\n\n'
)
CHAT_USAGE = (
    'data: {"id":"chatcmpl-81f7","object":"chat.completion.chunk","created":1795319200,"model":"tiny","choices":[],'
    '"usage":{"prompt_tokens":21,"total_tokens":25,"completion_tokens":4},"system_fingerprint":"vllm-0.32.0-fbe8"}\n\n'
)
TEXT_CHUNK = (
    'data: {"id":"cmpl-8050","object":"text_completion","created":1795319200,"model":"tiny",'
    '"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":null,"stop_reason":null,"token_ids":null}]}\n\n'
)
DONE = "data: [DONE]\n\n"
RESPONSE = (
    'event: response.%s\ndata: {"response":{"id":"resp_a1b3","created_at":1795319200,"incomplete_details":%s,'
    '"object":"response","output":[],"status":"%s","usage":%s},"sequence_number":%d,"type":"response.%s"}\n\n'
)
RESPONSE_USAGE = (
    '{"input_tokens":21,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"input_tokens_per_turn":[],'
    '"cached_tokens_per_turn":[]},"output_tokens":4,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":25}'
)
CUT_SHORT = RESPONSE % ("completed", '{"reason":"max_output_tokens"}', "incomplete", RESPONSE_USAGE, 1, "completed")
"""The event says completed, the response incomplete: there is no `response.incomplete`."""
START = (
    'event: message_start\ndata: {"type":"message_start","message":{"id":"chatcmpl-ac1e","type":"message",'
    '"role":"assistant","content":[],"model":"tiny","usage":{"input_tokens":21,"output_tokens":0}}}\n\n'
)
DELTA = (
    'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},'
    '"usage":{"input_tokens":21,"output_tokens":4}}\n\n'
)
STOP = 'event: message_stop\ndata: {"type":"message_stop"}\n\n'
DEAD = (
    'data: {"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "param": null,'
    ' "code": 500}}\n\n'
)
"""From json.dumps, spaces and all, where everything else is written without; a [DONE] follows."""
CLAUDE_DEAD = (
    'event: error\ndata: {"type":"error","error":{"type":"internal_error","message":"1 validation error"}}\n\n'
)


@pytest.mark.parametrize(
    ("endpoint", "sent", "usage"),
    [
        (CHAT, [CHUNK % ("", "null"), CHUNK % ("x", '"length"'), CHAT_USAGE, DONE], Usage(21, 4)),
        (COMPLETIONS, [TEXT_CHUNK, CHAT_USAGE, DONE], Usage(21, 4)),
        (RESPONSES, [RESPONSE % ("created", "null", "in_progress", "null", 0, "created"), CUT_SHORT], Usage(21, 4)),
        (MESSAGES, [START, DELTA, STOP], Usage(21, 4)),  # no text at all: a token that is half a letter shows nothing
    ],
    ids=lambda value: value.name if isinstance(value, Endpoint) else None,
)
def test_streams_to_their_end(endpoint: Endpoint, sent: list[str], usage: Usage) -> None:
    tap = Tap(endpoint.events, drop_usage=False)
    stream = "".join(sent).encode()
    assert tap.feed(stream) == stream
    assert (tap.usage, tap.done, tap.failed) == (usage, True, False)


@pytest.mark.parametrize(
    ("endpoint", "sent", "shown"),
    [(CHAT, [CHUNK % ("x", "null"), DEAD, DONE], 2), (MESSAGES, [START, CLAUDE_DEAD], 2)],
    ids=["chat", "messages"],
)
def test_a_dying_engines_own_error_ends_the_stream(endpoint: Endpoint, sent: list[str], shown: int) -> None:
    tap = Tap(endpoint.events, drop_usage=False)
    assert tap.feed("".join(sent).encode()) == "".join(sent[:shown]).encode()
    assert (tap.failed, tap.done) == (True, False)


def test_counted_tokens_are_nobodys_usage() -> None:
    answer = b'{"input_tokens":21,"context_management":{"original_input_tokens":21}}'
    assert COUNT_TOKENS.usage_of(answer) == Usage(0, 0)
