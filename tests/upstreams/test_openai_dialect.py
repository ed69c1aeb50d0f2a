"""The OpenAI wire format: what goes up, and the usage that comes back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.model import Usage
from gateway.upstreams.dialects import openai
from tests.worlds import upstream

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def fields(**body: Any) -> dict[str, Raw]:
    return msgspec.json.decode(json.dumps({"model": "public", **body}).encode(), type=dict[str, Raw])


# up


@pytest.mark.parametrize(
    ("kind", "url", "path"),
    [
        ("gpu", "http://10.0.0.1:8000", "/v1/chat/completions"),
        ("gpu", "http://10.0.0.1:8000/", "/v1/chat/completions"),
        ("gpu", "http://10.0.0.1:8000/v1", "/v1/chat/completions"),
        ("gpu", "http://10.0.0.1:8000/llm", "/llm/v1/chat/completions"),
        ("api", "https://api.example.com/v1", "/v1/chat/completions"),
        ("api", "https://api.example.com/openai/v1/", "/openai/v1/chat/completions"),
        ("api", "https://api.example.com/api/paas/v4", "/api/paas/v4/chat/completions"),
    ],
)
def test_the_path(kind: str, url: str, path: str) -> None:
    assert openai.target(upstream("u", kind, url=url), "chat/completions") == path


def test_headers_are_made_anew() -> None:
    made = dict(openai.headers(upstream("u", "gpu"), "attempt-1", False))
    assert made == {
        b"content-type": b"application/json",
        b"accept": b"application/json",
        b"accept-encoding": b"identity",
        b"x-request-id": b"attempt-1",
    }
    made = dict(
        openai.headers(upstream("u", "api", key="secret"), "attempt-2", True, [(b"traceparent", TRACEPARENT.encode())])
    )
    assert made[b"accept"] == b"text/event-stream"
    assert made[b"authorization"] == b"Bearer secret"
    assert made[b"traceparent"] == TRACEPARENT.encode()


def test_the_model_is_renamed_and_the_rest_keeps_its_bytes() -> None:
    raw = b'{"model":"public", "x": 1.0e2, "y":{"b":1,"a":[ 1 , 2]}, "z":"\\u00e9\\n"}'
    kept = msgspec.json.decode(raw, type=dict[str, Raw])
    made = openai.body(kept, "real/name", stream=False, want_usage=False, removed=())
    assert made == b'{"model":"real/name","x":1.0e2,"y":{"b":1,"a":[ 1 , 2]},"z":"\\u00e9\\n"}'


def test_a_name_is_written_as_json() -> None:
    assert json.loads(openai.body(fields(), 'a"b\\c', stream=False, want_usage=False, removed=()))["model"] == 'a"b\\c'


def test_removed_fields_are_gone() -> None:
    given = fields(store=True, n=2, user="u")
    made = openai.body(given, "n", stream=False, want_usage=False, removed=("store", "n", "absent"))
    assert json.loads(made) == {"model": "n", "user": "u"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False, "other": [1]}}, {"include_usage": True, "other": [1]}),
    ],
)
def test_usage_is_asked_for_beside_the_callers_own_options(given: dict[str, Any], expected: dict[str, Any]) -> None:
    made = openai.body(fields(stream=True, **given), "n", stream=True, want_usage=True, removed=())
    assert json.loads(made)["stream_options"] == expected


@pytest.mark.parametrize(("stream", "want"), [(True, False), (False, True)])
def test_usage_is_not_asked_for_where_it_comes_anyway(stream: bool, want: bool) -> None:
    made = json.loads(openai.body(fields(), "n", stream=stream, want_usage=want, removed=()))
    assert "stream_options" not in made


@pytest.mark.parametrize(
    ("given", "removed", "stored"),
    [({}, (), False), ({"store": None}, (), False), ({"store": True}, (), True), ({"store": True}, ("store",), False)],
)
def test_defaults_fill_in_for_what_is_left_out(given: dict[str, Any], removed: tuple[str, ...], stored: bool) -> None:
    made = openai.body(
        fields(**given), "n", stream=False, want_usage=False, removed=removed, defaults={"store": Raw(b"false")}
    )
    assert json.loads(made)["store"] is stored


def test_nothing_that_the_caller_gave_is_changed() -> None:
    given = fields(stream=True, store=True)
    before = {name: bytes(value) for name, value in given.items()}
    openai.body(given, "n", stream=True, want_usage=True, removed=("store",))
    assert {name: bytes(value) for name, value in given.items()} == before


# back


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, Usage(5, 7)),
        ({"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3}}, Usage(5, 7, 3)),
        ({"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": None}}, Usage(5, 7)),
        ({"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": None}, Usage(5, 7)),
        ({"prompt_tokens": 5, "completion_tokens": None}, Usage(5, 0)),
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(5, 0)),
        (None, None),
    ],
)
def test_usage_of_a_complete_answer(usage: dict[str, Any] | None, expected: Usage | None) -> None:
    body = json.dumps({"id": "c", "choices": [{"message": {"content": "x"}}], "usage": usage}).encode()
    assert openai.usage_of(body) == expected


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"no json", b'{"usage":"text"}', b'{"usage":[1]}'])
def test_an_answer_without_usage_has_none(body: bytes) -> None:
    assert openai.usage_of(body) is None


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}, (Usage(1, 2), True)),
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, (Usage(1, 2), True)),
        ({"choices": [{}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}, (Usage(1, 2), False)),
        ({"choices": [{}], "usage": None}, (None, False)),
        ({"choices": []}, (None, True)),
    ],
)
def test_usage_in_a_stream(frame: dict[str, Any], expected: tuple[Usage | None, bool]) -> None:
    assert openai.read_frame(json.dumps(frame).encode())[:2] == expected


@given(st.binary(max_size=100))
def test_any_frame_is_passed_over_or_understood(data: bytes) -> None:
    usage = openai.read_frame(data).usage
    assert usage is None or usage.input_tokens >= 0
