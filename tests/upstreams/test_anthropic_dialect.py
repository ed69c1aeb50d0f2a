"""/v1/messages: usage in parts, the end of a stream, errors in Anthropic's shape."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, InvalidRequest, UpstreamFailed
from gateway.model import Usage
from gateway.upstreams.dialects.anthropic import COUNT_TOKENS, MESSAGES, error_body, error_event, reader, usage_of
from gateway.upstreams.sse import Tap
from tests.test_docs import tree

NAMES = {  # as in the API reference; 503 has no name there, 529 is its nearest
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    507: "api_error",
}


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more}, ensure_ascii=False)}\n\n".encode()


def start(**usage: Any) -> bytes:
    return event("message_start", message={"id": "m", "content": [], "usage": usage})


def delta(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


STOP = event("message_stop")
PING = event("ping")


def told(*frames: bytes) -> Tap:
    tap = Tap(MESSAGES.events, drop_usage=False)
    stream = b"".join(frames)
    assert tap.feed(stream) == stream
    return tap


def test_the_whole_prompt_is_the_sum_of_its_parts() -> None:
    usage = {"input_tokens": 5, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 100, "output_tokens": 7}
    assert usage_of(json.dumps({"type": "message", "usage": usage}).encode()) == Usage(
        115, 7, 100, cache_write_tokens=10
    )
    nulls = {"input_tokens": 5, "cache_creation_input_tokens": None, "output_tokens": 7}
    assert usage_of(json.dumps({"usage": nulls}).encode()) == Usage(5, 7)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"no json", b'{"usage":"text"}'])
def test_an_answer_without_usage_has_none(body: bytes) -> None:
    assert usage_of(body) is None


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([start(input_tokens=5, output_tokens=1), event("message_delta", usage={"output_tokens": 9})], Usage(5, 9)),
        (  # cumulative: the last one counts, they are not added
            [
                start(input_tokens=5, output_tokens=1),
                event("message_delta", usage={"output_tokens": 9}),
                event("message_delta", usage={"output_tokens": 12}),
            ],
            Usage(5, 12),
        ),
        (  # as vLLM does: the prompt is known at the end only
            [
                start(input_tokens=0, output_tokens=0),
                event("message_delta", usage={"input_tokens": 8, "output_tokens": 2}),
            ],
            Usage(8, 2),
        ),
        (  # what a part leaves out stays as it was
            [
                start(input_tokens=1, cache_creation_input_tokens=2, cache_read_input_tokens=4, output_tokens=1),
                event("message_delta", usage={"input_tokens": 3, "output_tokens": 5}),
            ],
            Usage(9, 5, 4, cache_write_tokens=2),
        ),
        ([start(input_tokens=5, output_tokens=1)], Usage(5, 1)),
    ],
)
def test_usage_is_put_together(frames: list[bytes], expected: Usage) -> None:
    assert told(*frames, STOP).usage == expected


def test_each_stream_has_a_tally_of_its_own() -> None:
    told(start(input_tokens=100, output_tokens=1), STOP)
    assert told(event("message_delta", usage={"output_tokens": 2})).usage == Usage(0, 2)


_deltas = st.lists(st.text(max_size=10) | st.sampled_from(['"usage":{"output_tokens":1}', "message_stop", '"error"']))


@given(_deltas, st.lists(st.integers(0, 10_000), max_size=30), st.sampled_from([b"", b"data: [DONE]\n\n"]))
def test_any_split_gives_the_same_bytes_and_the_same_usage(texts: list[str], places: list[int], after: bytes) -> None:
    ending = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9})
    stream = b"".join([start(input_tokens=5, output_tokens=0), PING, *map(delta, texts), ending, STOP, after])
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    tap = Tap(MESSAGES.events, drop_usage=False)
    assert b"".join([tap.feed(stream[a:b]) for a, b in pairwise(edges)]) == stream
    assert (tap.usage, tap.done, tap.failed) == (Usage(5, 9), True, False)
    assert len(texts) <= tap.frames <= len(texts) + 1


def test_an_error_event_after_200_is_a_failure() -> None:
    tap = told(
        start(input_tokens=5, output_tokens=1), event("error", error={"type": "overloaded_error", "message": "m"})
    )
    assert (tap.failed, tap.done) == (True, False)


def test_counting_tokens_uses_nothing() -> None:
    assert COUNT_TOKENS.usage_of(b'{"input_tokens": 2095}') == Usage(0, 0)


@pytest.mark.parametrize("kind", list(tree(GatewayError)), ids=lambda kind: kind.code)
def test_every_error_of_ours_has_a_name_of_theirs(kind: type[GatewayError]) -> None:
    error = kind("what happened")
    made = json.loads(error_body(error, "r-1"))
    assert (made["type"], made["request_id"]) == ("error", "r-1")
    assert error.message.startswith("what happened")
    assert made["error"] == {
        "type": NAMES[kind.status],
        "message": error.message,
        "details": {"error_code": kind.code},
    }


def test_the_field_at_fault_is_named_and_the_event_holds_the_same() -> None:
    error = InvalidRequest("`max_tokens` is missing", param="max_tokens")
    assert json.loads(error_body(error, "r"))["error"]["details"]["param"] == "max_tokens"
    event = error_event(UpstreamFailed("broke"), "r", b"")
    assert event == b"event: error\ndata: " + error_body(UpstreamFailed("broke"), "r") + b"\n\n"
    assert told(event).failed


@given(st.binary(max_size=100))
def test_any_frame_is_passed_over_or_understood(data: bytes) -> None:
    assert reader()(data).usage is None
