"""LangChain: langchain-openai and langchain-anthropic."""

from __future__ import annotations

import anthropic
import openai
from features import ARGUMENTS, KEY, LOCAL, NOWHERE, URL, V1, WEATHER, full_house, page, raises, run
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

TOOL = {"type": "function", "function": WEATHER}


def of_openai(model: str = "chat", key: str = KEY, **given: object) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=V1, api_key=key, **{"max_retries": 0, "timeout": 20.0, **given})


def of_anthropic(model: str = "chat", **given: object) -> ChatAnthropic:
    known = {"max_retries": 0, "timeout": 20.0, "max_tokens": 60}
    return ChatAnthropic(model=model, base_url=URL, api_key=KEY, **{**known, **given})


def chat() -> None:
    answer = of_openai().invoke("hello")
    assert answer.text
    assert answer.usage_metadata["output_tokens"] > 0


def streamed(model: ChatOpenAI | ChatAnthropic) -> None:
    whole: AIMessageChunk | None = None
    for piece in model.stream("hello"):
        whole = piece if whole is None else whole + piece
    assert whole is not None
    assert whole.text
    assert whole.usage_metadata["output_tokens"] > 0


def stream() -> None:
    streamed(of_openai(stream_usage=True))


def tools() -> None:
    (call,) = of_openai().bind_tools([TOOL], tool_choice="any").invoke("hello").tool_calls
    assert (call["name"], call["args"]) == ("weather", ARGUMENTS)


def embeddings() -> str:
    made = OpenAIEmbeddings(model="chat", base_url=V1, api_key=KEY, max_retries=0, check_embedding_ctx_length=False)
    assert len(made.embed_documents(["a", "b"])) == 2
    return "check_embedding_ctx_length=False: else it fetches a tokenizer"


def responses() -> None:
    assert of_openai(use_responses_api=True).invoke("hello").text


def messages() -> None:
    assert of_anthropic().invoke("hello").text
    streamed(of_anthropic())
    (call,) = of_anthropic().bind_tools([TOOL], tool_choice="any").invoke("hello").tool_calls
    assert (call["name"], call["args"]) == ("weather", ARGUMENTS)
    with raises(anthropic.RateLimitError, 429, "fleet_saturated"):
        of_anthropic("full").invoke("hello")


def bad_key() -> str:
    with raises(openai.AuthenticationError, 401, "invalid_key"):
        of_openai(key="wrong").invoke("hello")
    return "openai.AuthenticationError"


def full() -> str:
    with raises(openai.RateLimitError, 429, "fleet_saturated"):
        of_openai("full").invoke("hello")
    return "openai.RateLimitError"


def down() -> str:
    with raises(openai.InternalServerError, 503, "no_capacity"):
        of_openai("down").invoke("hello")
    return "openai.InternalServerError"


def retries() -> None:
    with full_house():
        of_openai("busy", max_retries=2, max_tokens=2).invoke("hello")


def header() -> None:
    of_openai(default_headers=LOCAL).invoke("hello")
    with raises(openai.BadRequestError, 400, "residency_unknown"):
        of_openai(default_headers=NOWHERE).invoke("hello")


run(
    {
        "chat": chat,
        "stream": stream,
        "tools": tools,
        "embeddings": embeddings,
        "responses": responses,
        "messages": messages,
        "401": bad_key,
        "429": full,
        "503": down,
        "retry": retries,
        "header": header,
        "page": page("LangChain"),
    }
)
