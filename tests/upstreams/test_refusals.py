"""Refusals of engines in the shapes that the official SDKs read."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.dialects.refusals import LONGEST_MESSAGE, Refusal, openai_body, refusal_of
from gateway.upstreams.dialects.surface import restated

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
SGLANG = {"object": "error", "message": "too long", "type": "BadRequestError", "param": "messages", "code": 400}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (SGLANG, Refusal("too long", "BadRequestError", "messages")),
        ({**SGLANG, "code": "context_length"}, Refusal("too long", "BadRequestError", "messages", "context_length")),
        ({"error": "bad input", "error_type": "validation"}, Refusal("bad input", "validation")),  # TGI
        ({"error": "text"}, Refusal("text")),  # TensorRT-LLM's validation
        ({"detail": "Not Found"}, Refusal("Not Found")),
        (
            {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "field required", "type": "missing"}]},
            Refusal("messages.0.role: field required", param="messages.0.role"),
        ),
        ({"detail": [{"odd": 1}]}, Refusal("the worker refused the request with 400")),
        ({"error": {"code": 400}}, Refusal("the worker refused the request with 400")),
        ({"message": ""}, Refusal("the worker refused the request with 400")),
        ({"error": {"message": "m", "type": "BadRequestError", "param": None, "code": 400}}, None),  # vLLM
        ({"error": {"code": 400, "message": "m", "type": "invalid_request_error"}}, None),  # llama.cpp
        ({"type": "error", "error": {"type": "x", "message": "m"}}, None),  # Anthropic's own
    ],
)
def test_each_engines_shape(body: object, expected: Refusal | None) -> None:
    assert refusal_of(400, json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"prompt is empty", "prompt is empty"),
        (b"<html>nginx</html>", "the worker refused the request with 413"),
        (b"", "the worker refused the request with 413"),
        (b"\xff\xfe", "the worker refused the request with 413"),
        (b'{"error": ', "the worker refused the request with 413"),
    ],
)
def test_what_is_no_json(body: bytes, message: str) -> None:
    assert refusal_of(413, body) == Refusal(message)


def test_the_official_sdk_shows_the_message() -> None:
    made = restated(CHAT, 400, json.dumps(SGLANG).encode())
    assert made is not None
    answer = httpx.Response(400, content=made, headers={"content-type": "application/json"})
    client = openai.OpenAI(
        api_key="k",
        base_url="http://worker/v1",
        http_client=httpx.Client(transport=httpx.MockTransport(lambda _: answer)),
    )
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="m", messages=[])
    assert "too long" in refused.value.message
    assert (refused.value.type, refused.value.param, refused.value.code) == ("BadRequestError", "messages", None)


def test_callers_of_messages_get_their_own_shape() -> None:
    made = restated(MESSAGES, 404, json.dumps(SGLANG).encode())
    assert made is not None
    assert json.loads(made) == {"type": "error", "error": {"type": "not_found_error", "message": "too long"}}
    assert restated(MESSAGES, 400, b'{"type":"error","error":{"type":"x","message":"m"}}') is None


WORDS = st.none() | st.text(max_size=5) | st.integers() | st.lists(st.integers(), max_size=2)
BODIES: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from(["error", "message", "type", "param", "code", "detail", "error_type", "object"]),
    WORDS | st.dictionaries(st.sampled_from(["message", "code", "type", "param"]), WORDS),
)


@given(BODIES.map(json.dumps).map(str.encode) | st.binary(max_size=300))
def test_any_body_becomes_one_that_has_a_message(body: bytes) -> None:
    found = refusal_of(400, body)
    shown = json.loads(body if found is None else openai_body(found))
    assert isinstance(shown["error"]["message"], str)
    assert found is None or 0 < len(found.message) <= LONGEST_MESSAGE
