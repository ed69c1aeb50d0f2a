"""The LiteLLM SDK, by its prefixes `openai/` and `anthropic/`."""

from __future__ import annotations

import base64
import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches a price list when it is imported

import litellm
from features import ARGUMENTS, HELLO, KEY, LOCAL, NOWHERE, URL, V1, WEATHER, full_house, page, raises, run

TOOL = {"type": "function", "function": WEATHER}


def ask(model: str = "chat", key: str = KEY, **given: object) -> litellm.ModelResponse:
    known = {"max_retries": 0, "timeout": 20.0, "messages": HELLO}
    return litellm.completion(f"openai/{model}", api_base=V1, api_key=key, **{**known, **given})


def chat() -> None:
    answer = ask()
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens > 0


def stream() -> None:
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage.completion_tokens > 0


def tools() -> None:
    (call,) = ask(tools=[TOOL], tool_choice="required").choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)


def embeddings() -> None:
    made = litellm.embedding("openai/chat", input=["a", "b"], api_base=V1, api_key=KEY, encoding_format="float")
    assert len(made.data) == 2


def images() -> None:
    made = litellm.image_generation("a fox", "openai/pic", size="512x512", api_base=V1, api_key=KEY)
    assert base64.b64decode(made.data[0].b64_json).startswith(b"\x89PNG")


def responses() -> None:
    assert litellm.responses(model="openai/chat", input="hello", api_base=V1, api_key=KEY).output


def messages() -> None:
    answer = litellm.completion("anthropic/chat", messages=HELLO, api_base=URL, api_key=KEY, max_tokens=20)
    assert answer.choices[0].message.content


def bad_key() -> str:
    with raises(litellm.AuthenticationError, 401):
        ask(key="wrong")
    return "AuthenticationError"


def full() -> str:
    with raises(litellm.RateLimitError, 429):
        ask("full")
    return "RateLimitError"


def down() -> str:
    with raises(litellm.ServiceUnavailableError, 503):
        ask("down")
    return "ServiceUnavailableError"


def retries() -> str:
    with full_house():
        ask("busy", max_retries=2, max_tokens=2)
    return "max_retries"


def header() -> None:
    ask(extra_headers=LOCAL)
    with raises(litellm.BadRequestError, 400, "atlantis"):
        ask(extra_headers=NOWHERE)


run(
    {
        "chat": chat,
        "stream": stream,
        "tools": tools,
        "embeddings": embeddings,
        "images": images,
        "responses": responses,
        "messages": messages,
        "401": bad_key,
        "429": full,
        "503": down,
        "retry": retries,
        "header": header,
        "page": page("LiteLLM SDK"),
    }
)
