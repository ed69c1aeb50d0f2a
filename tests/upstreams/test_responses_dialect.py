"""/v1/responses: usage in the last event, the ends of a stream, the error event."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamFailed
from gateway.model import Usage
from gateway.upstreams.dialects.responses import ENDS, RESPONSES, error_event, read_frame, usage_of
from gateway.upstreams.sse import Tap

USAGE = {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14, "input_tokens_details": {"cached_tokens": 4}}
SEEN = Usage(11, 3, 4)


def event(kind: str, number: int, **more: Any) -> bytes:
    data = json.dumps({"type": kind, "sequence_number": number, **more}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def response(usage: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"id": "r", "error": None, "output": [{"content": [{"text": "response.completed"}]}], "usage": usage}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE, SEEN),
        ({"input_tokens": 5, "output_tokens": 7}, Usage(5, 7)),
        ({"input_tokens": 5, "output_tokens": 7, "input_tokens_details": None}, Usage(5, 7)),
        ({"input_tokens": 5, "output_tokens": 7, "input_tokens_details": {}}, Usage(5, 7)),
        (None, None),
    ],
)
def test_usage_of_a_complete_answer(usage: dict[str, Any] | None, expected: Usage | None) -> None:
    assert usage_of(json.dumps(response(usage)).encode()) == expected


@pytest.mark.parametrize("body", [b"", b"[]", b"no json", b'{"usage":"text"}'])
def test_an_answer_without_usage_has_none(body: bytes) -> None:
    assert usage_of(body) is None


@given(
    st.sampled_from(sorted(ENDS)),
    st.lists(st.text(max_size=12) | st.sampled_from(['"usage":{"input_tokens":9}', "response.completed", '"error"'])),
    st.lists(st.integers(0, 10_000), max_size=30),
)
def test_any_split_gives_the_same_bytes_and_the_same_usage(end: str, texts: list[str], places: list[int]) -> None:
    deltas = [event("response.output_text.delta", i + 1, delta=text) for i, text in enumerate(texts)]
    first = event("response.created", 0, response=response())
    stream = b"".join([first, *deltas, event(end, len(texts) + 1, response=response(USAGE))])
    tap = Tap(RESPONSES.events, drop_usage=False)
    out = b"".join([tap.feed(piece) for piece in cut(stream, places)])
    assert out == stream
    assert (tap.usage, tap.done, tap.failed, tap.frames) == (SEEN, True, False, len(texts))


def test_an_error_event_ends_it_as_a_failure() -> None:
    tap = Tap(RESPONSES.events, drop_usage=False)
    error = event("error", 1, code="server_error", message="m", param=None)
    assert tap.feed(event("response.created", 0, response=response()) + error).endswith(error)
    assert (tap.failed, tap.done) == (True, False)
    assert tap.feed(event("response.output_text.delta", 2, delta="late")) == b""


@pytest.mark.parametrize(
    ("last", "number"),
    [
        (b"", 0),
        (event("response.created", 0), 1),
        (event("a", 41) + event("b", 42), 43),
        (b'{"sequence_number" : 7}', 8),
    ],
)
def test_the_error_event_is_numbered_after_the_last_one(last: bytes, number: int) -> None:
    name, data = error_event(UpstreamFailed("broke"), "r", last).decode().rstrip().split("\n")
    made = json.loads(data.removeprefix("data: "))
    assert (name, made["type"], made["code"], made["message"]) == ("event: error", "error", "upstream_error", "broke")
    assert made["sequence_number"] == number
    assert read_frame(data.removeprefix("data: ").encode()).failed


@given(st.binary(max_size=100))
def test_any_frame_is_passed_over_or_understood(data: bytes) -> None:
    assert read_frame(data).usage is None
