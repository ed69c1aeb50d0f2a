"""The official OpenAI client for Python."""

from __future__ import annotations

import base64
import json

import openai
from features import ARGUMENTS, HELLO, KEY, LOCAL, MODELS, NOWHERE, V1, WEATHER, full_house, page, raises, run

client = openai.OpenAI(base_url=V1, api_key=KEY, max_retries=0, timeout=20.0)
TOOL = {"type": "function", "function": WEATHER}


def chat() -> None:
    answer = client.chat.completions.create(model="chat", messages=HELLO, max_tokens=5)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens > 0


def stream() -> None:
    usage = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="chat", messages=HELLO, stream=True, stream_options=usage))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage.completion_tokens > 0


def tools() -> None:
    answer = client.chat.completions.create(model="chat", messages=HELLO, tools=[TOOL], tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)


def embeddings() -> None:
    assert len(client.embeddings.create(model="chat", input=["a", "b"]).data) == 2


def images() -> None:
    made = client.images.generate(model="pic", prompt="a fox", size="512x512")
    assert base64.b64decode(made.data[0].b64_json).startswith(b"\x89PNG")


def responses() -> None:
    assert client.responses.create(model="chat", input="hello").output_text


def models() -> None:
    assert {model.id for model in client.models.list()} == MODELS


def bad_key() -> str:
    with raises(openai.AuthenticationError, 401, "invalid_key"):
        client.with_options(api_key="wrong").chat.completions.create(model="chat", messages=HELLO)
    return "AuthenticationError"


def full() -> str:
    with raises(openai.RateLimitError, 429, "fleet_saturated"):
        client.chat.completions.create(model="full", messages=HELLO)
    return "RateLimitError"


def down() -> str:
    with raises(openai.InternalServerError, 503, "no_capacity"):
        client.chat.completions.create(model="down", messages=HELLO)
    return "InternalServerError"


def retries() -> None:
    with full_house():
        client.with_options(max_retries=2).chat.completions.create(model="busy", messages=HELLO, max_tokens=2)


def header() -> None:
    client.chat.completions.create(model="chat", messages=HELLO, extra_headers=LOCAL)
    with raises(openai.BadRequestError, 400, "residency_unknown"):
        client.with_options(default_headers=NOWHERE).chat.completions.create(model="chat", messages=HELLO)


run(
    {
        "chat": chat,
        "stream": stream,
        "tools": tools,
        "embeddings": embeddings,
        "images": images,
        "responses": responses,
        "models": models,
        "401": bad_key,
        "429": full,
        "503": down,
        "retry": retries,
        "header": header,
        "page": page("OpenAI for Python"),
    }
)
