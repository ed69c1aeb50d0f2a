"""The same wish in both official SDKs: what one sends, translated, is field by field what the other one sends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import anthropic
import msgspec
import openai
import pytest
from pydantic import BaseModel

from gateway.model import Upstream
from gateway.upstreams.dialects.openai import headers
from gateway.upstreams.dialects.translate.requests_to_chat import to_chat
from gateway.upstreams.dialects.translate.requests_to_messages import to_messages
from gateway.upstreams.dialects.translate.table import MESSAGES, headers_up
from tests.worlds import upstream

PNG = "iVBORw0KGgo="
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "description": "It.", "parameters": SCHEMA}}
TOOL: Any = {"name": "weather", "description": "It.", "input_schema": SCHEMA}
ARGUMENTS = '{"city":"Ulm"}'
CALL: Any = {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
USE: Any = {"id": "toolu_1", "type": "tool_use", "name": "weather", "input": {"city": "Ulm"}}


class Answer(BaseModel):
    city: str


class Recorder(HTTPServer):
    """Refuses everything, and keeps it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(400)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def from_openai(recorder: Recorder, **asked: Any) -> dict[str, Any]:
    plain = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=f"{recorder.url}/v1", api_key="k", http_client=plain, max_retries=0) as client:
        make = (
            client.chat.completions.parse
            if isinstance(asked.get("response_format"), type)
            else client.chat.completions.create
        )
        with pytest.raises(openai.BadRequestError):
            make(model="m", **asked)
    return recorder.seen[-1][2]


def from_anthropic(recorder: Recorder, **asked: Any) -> dict[str, Any]:
    plain = anthropic.DefaultHttpxClient(trust_env=False)
    with anthropic.Anthropic(base_url=recorder.url, api_key="k", http_client=plain, max_retries=0) as client:
        make = client.messages.parse if "output_format" in asked else client.messages.create
        with pytest.raises(anthropic.BadRequestError):
            make(model="m", **asked)
    return recorder.seen[-1][2]


def translated(way: Any, body: dict[str, Any]) -> dict[str, Any]:
    fields = msgspec.json.decode(msgspec.json.encode(body), type=dict[str, msgspec.Raw])
    return {"model": body["model"], **json.loads(msgspec.json.encode(way(fields)))}


HELLO: Any = [{"role": "user", "content": "hello"}]
WISHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"messages": HELLO, "max_tokens": 9}, {"messages": HELLO, "max_tokens": 9}),
    "streamed": (
        {"messages": HELLO, "max_tokens": 9, "stream": True, "stop": ["a", "b"]},
        {"messages": HELLO, "max_tokens": 9, "stream": True, "stop_sequences": ["a", "b"]},
    ),
    "instructed": (
        {"messages": [{"role": "system", "content": "be brief"}, *HELLO], "max_tokens": 9, "user": "u"},
        {"messages": HELLO, "system": "be brief", "max_tokens": 9, "metadata": {"user_id": "u"}},
    ),
    "seen": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "what is it?"},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
                    ],
                }
            ],
            "max_tokens": 9,
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "what is it?"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                        {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
                    ],
                }
            ],
            "max_tokens": 9,
        },
    ),
    "with tools": (
        {
            "messages": [
                *HELLO,
                {"role": "assistant", "content": "let me see", "tool_calls": [CALL, {**CALL, "id": "toolu_2"}]},
                {"role": "tool", "tool_call_id": "toolu_1", "content": "rain"},
                {"role": "tool", "tool_call_id": "toolu_2", "content": "sun"},
            ],
            "max_tokens": 9,
            "tools": [FUNCTION],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "parallel_tool_calls": False,
        },
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "let me see"}, USE, {**USE, "id": "toolu_2"}],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"},
                        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "sun"},
                    ],
                },
            ],
            "max_tokens": 9,
            "tools": [TOOL],
            "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        },
    ),
}


@pytest.mark.parametrize("name", WISHES)
def test_what_a_chat_sends_becomes_what_messages_send(recorder: Recorder, name: str) -> None:
    chat, messages = WISHES[name]
    assert translated(to_messages, from_openai(recorder, **chat)) == from_anthropic(recorder, **messages)


@pytest.mark.parametrize("name", WISHES)
def test_what_messages_send_becomes_what_a_chat_sends(recorder: Recorder, name: str) -> None:
    chat, messages = WISHES[name]
    assert translated(to_chat, from_anthropic(recorder, **messages)) == from_openai(recorder, **chat)


def test_an_answer_in_a_shape_as_each_sdk_asks_for_it(recorder: Recorder) -> None:
    """Each makes a schema of the same class in its own way: its place is the same."""
    chat = translated(to_messages, from_openai(recorder, messages=HELLO, max_tokens=9, response_format=Answer))
    messages = from_anthropic(recorder, messages=HELLO, max_tokens=9, output_format=Answer)
    theirs, ours = messages["output_config"]["format"], chat["output_config"]["format"]
    assert chat.pop("stream") is False
    assert chat | {"output_config": 0} == messages | {"output_config": 0}
    assert (ours.keys(), ours["type"]) == (theirs.keys(), theirs["type"])
    assert (ours["schema"]["properties"], ours["schema"]["required"]) == (
        theirs["schema"]["properties"],
        theirs["schema"]["required"],
    )


def test_headers_of_a_bought_api(recorder: Recorder) -> None:
    from_anthropic(recorder, messages=HELLO, max_tokens=9)
    path, theirs, _ = recorder.seen[-1]
    one: Upstream = upstream("claude", "api", dialect="anthropic", key="sk", url="https://api.example.com/v1")
    ours = dict(headers(one, "id", False, headers_up(MESSAGES, one, {})))
    assert path == "/v1/messages"
    assert (ours[b"x-api-key"], ours[b"anthropic-version"], b"authorization" in ours) == (b"sk", b"2023-06-01", False)
    assert {"anthropic-version", "content-type", "accept"} <= theirs.keys()
    assert ours.keys() - {b"x-api-key", b"x-request-id"} <= {name.encode() for name in theirs}


@pytest.mark.parametrize(
    ("kind", "given", "sent"),
    [
        ("api", {}, {b"anthropic-version": b"2023-06-01"}),
        ("api", {b"anthropic-version": b"2026-10-21"}, {b"anthropic-version": b"2026-10-21"}),
        (
            "api",
            {b"anthropic-beta": b"x", b"cookie": b"c"},
            {b"anthropic-version": b"2023-06-01", b"anthropic-beta": b"x"},
        ),
        ("gpu", {}, {}),
    ],
)
def test_which_of_the_callers_headers_go_up(kind: str, given: dict[bytes, bytes], sent: dict[bytes, bytes]) -> None:
    assert dict(headers_up(MESSAGES, upstream("u", kind), given)) == sent
