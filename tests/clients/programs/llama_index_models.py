"""LlamaIndex: llama-index-llms-openai-like and llama-index-llms-anthropic."""

from __future__ import annotations

import openai
from features import ARGUMENTS, CLAUDE, KEY, LOCAL, NOWHERE, URL, V1, WEATHER, full_house, page, raises, run
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai_like import OpenAILike

HELLO = [ChatMessage(role="user", content="hello")]


def weather(city: str, days: int) -> str:
    return f"{city}: {days} days of sun"


TOOL = FunctionTool.from_defaults(weather, name=WEATHER["name"], description=WEATHER["description"])


def of_openai(model: str = "chat", key: str = KEY, **given: object) -> OpenAILike:
    known = {"is_chat_model": True, "is_function_calling_model": True, "max_retries": 0, "timeout": 20.0}
    return OpenAILike(model=model, api_base=V1, api_key=key, **{**known, **given})


def chat() -> None:
    answer = of_openai().chat(HELLO)
    assert answer.message.content
    assert answer.raw.usage.completion_tokens > 0


def stream() -> None:
    usage = {"stream_options": {"include_usage": True}}
    pieces = list(of_openai(additional_kwargs=usage).stream_chat(HELLO))
    assert pieces[-1].message.content
    assert pieces[-1].raw.usage.completion_tokens > 0


def tools() -> None:
    model = of_openai()
    answer = model.chat_with_tools([TOOL], user_msg="hello", tool_required=True)
    (call,) = model.get_tool_calls_from_response(answer)
    assert (call.tool_name, call.tool_kwargs) == ("weather", ARGUMENTS)


def messages() -> str:
    model = Anthropic(model=CLAUDE, base_url=URL, api_key=KEY, max_retries=0, timeout=20.0, max_tokens=20)
    assert model.chat(HELLO).message.content
    assert list(model.stream_chat(HELLO))[-1].message.content
    return "models must have a name of Anthropic's"


def bad_key() -> str:
    with raises(openai.AuthenticationError, 401, "invalid_key"):
        of_openai(key="wrong").chat(HELLO)
    return "openai.AuthenticationError"


def full() -> str:
    with raises(openai.RateLimitError, 429, "fleet_saturated"):
        of_openai("full").chat(HELLO)
    return "openai.RateLimitError"


def down() -> str:
    with raises(openai.InternalServerError, 503, "no_capacity"):
        of_openai("down").chat(HELLO)
    return "openai.InternalServerError"


def retries() -> None:
    with full_house():
        of_openai("busy", max_retries=3, max_tokens=2).chat(HELLO)


def header() -> None:
    of_openai(default_headers=LOCAL).chat(HELLO)
    with raises(openai.BadRequestError, 400, "residency_unknown"):
        of_openai(default_headers=NOWHERE).chat(HELLO)


run(
    {
        "chat": chat,
        "stream": stream,
        "tools": tools,
        "messages": messages,
        "401": bad_key,
        "429": full,
        "503": down,
        "retry": retries,
        "header": header,
        "page": page("LlamaIndex"),
    }
)
