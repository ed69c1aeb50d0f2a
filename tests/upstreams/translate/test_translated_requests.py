"""Requests of chat/completions and of Messages, construct by construct, both ways."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import ConfigDict, TypeAdapter, with_config

from gateway.errors import InvalidRequest
from gateway.upstreams.dialects.translate.requests_to_chat import to_chat
from gateway.upstreams.dialects.translate.requests_to_messages import to_messages

PNG, PDF = "data:image/png;base64,aGk=", "data:application/pdf;base64,aGk="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
HELLO = [{"role": "user", "content": "hello"}]
FUNCTION = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
TOOL = {"name": "f", "description": "d", "input_schema": SCHEMA}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Köln", "n": 1.50}'}}
USE = {"type": "tool_use", "id": "call_1", "name": "f", "input": {"city": "Köln", "n": 1.5}}
RESULT = {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}


def raw(fields: Mapping[str, Any]) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(json.dumps(fields), type=dict[str, msgspec.Raw])


def plain(fields: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(dict(fields)))


def messages_of(**chat: Any) -> dict[str, Any]:
    return plain(to_messages(raw({"messages": HELLO, **chat})))


def chat_of(**asked: Any) -> dict[str, Any]:
    return plain(to_chat(raw({"messages": HELLO, "max_tokens": 9, **asked})))


@pytest.mark.parametrize(
    ("chat", "made"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"max_tokens": None}, {}),
        ({"temperature": 0.0, "top_p": 0.9, "top_k": 4}, {"temperature": 0.0, "top_p": 0.9, "top_k": 4}),
        ({"temperature": 1}, {"temperature": 1}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"stop": None, "seed": None, "logprobs": False, "n": 1, "presence_penalty": 0.0, "logit_bias": {}}, {}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"user": "u", "safety_identifier": "s"}, {"metadata": {"user_id": "s"}}),
        ({"metadata": {"data_residency": "eu"}, "prompt_cache_key": "k", "store": False}, {}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"service_tier": "flex"}, {}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort": "minimal"}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ({"reasoning_effort": "max"}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}),
        ({"response_format": {"type": "text"}}, {}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": SCHEMA, "strict": True},
                }
            },
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        ),
        ({"tools": [], "tool_choice": "auto"}, {}),
        ({"tools": [FUNCTION]}, {"tools": [TOOL]}),
        ({"tools": [FUNCTION], "tool_choice": "auto"}, {"tools": [TOOL], "tool_choice": {"type": "auto"}}),
        ({"tools": [FUNCTION], "tool_choice": "none"}, {"tools": [TOOL], "tool_choice": {"type": "none"}}),
        ({"tools": [FUNCTION], "tool_choice": "required"}, {"tools": [TOOL], "tool_choice": {"type": "any"}}),
        (
            {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}},
        ),
        (
            {"tools": [FUNCTION], "parallel_tool_calls": False},
            {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        (
            {"tools": [FUNCTION], "tool_choice": "none", "parallel_tool_calls": False},
            {"tools": [TOOL], "tool_choice": {"type": "none"}},
        ),
        ({"tools": [FUNCTION], "parallel_tool_calls": True}, {"tools": [TOOL]}),
        (
            {"tools": [{"type": "function", "function": {"name": "g", "strict": True}}]},
            {"tools": [{"name": "g", "input_schema": {"type": "object", "properties": {}}, "strict": True}]},
        ),
    ],
    ids=str,
)
def test_fields_of_a_chat(chat: dict[str, Any], made: dict[str, Any]) -> None:
    found = messages_of(**chat)
    assert found == {"messages": HELLO, **made}
    anthropics(found)


@pytest.mark.parametrize(
    ("chat", "system", "made"),
    [
        ([{"role": "system", "content": "s"}, *HELLO], "s", HELLO),
        ([{"role": "developer", "content": [{"type": "text", "text": "s"}]}, *HELLO], "s", HELLO),
        (
            [{"role": "system", "content": "a"}, {"role": "system", "content": "b"}, *HELLO],
            [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            HELLO,
        ),
        ([*HELLO, {"role": "system", "content": "later"}], None, [*HELLO, {"role": "system", "content": "later"}]),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": PNG}}],
                }
            ],
            None,
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                    ],
                }
            ],
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}],
            None,
            [
                {
                    "role": "user",
                    "content": [{"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}],
                }
            ],
        ),
        (
            [{"role": "user", "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}]}],
            None,
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                            "title": "a.pdf",
                        }
                    ],
                }
            ],
        ),
        (
            [
                *HELLO,
                {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
                {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "sun"}]},
                *HELLO,
            ],
            None,
            [
                *HELLO,
                {"role": "assistant", "content": [USE, {**USE, "id": "call_2"}]},
                {
                    "role": "user",
                    "content": [
                        RESULT,
                        {**RESULT, "tool_use_id": "call_2", "content": [{"type": "text", "text": "sun"}]},
                    ],
                },
                *HELLO,
            ],
        ),
        (
            [
                *HELLO,
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{**CALL, "function": {"name": "f", "arguments": ""}}],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
            ],
            None,
            [*HELLO, {"role": "assistant", "content": [{**USE, "input": {}}]}, {"role": "user", "content": [RESULT]}],
        ),
        (
            [*HELLO, {"role": "assistant", "content": "a", "reasoning_content": "hm", "refusal": None}, *HELLO],
            None,
            [*HELLO, {"role": "assistant", "content": "a"}, *HELLO],
        ),
    ],
)
def test_conversations_of_a_chat(chat: list[Any], system: Any, made: list[Any]) -> None:
    found = messages_of(messages=chat)
    assert found == {"messages": made} | ({} if system is None else {"system": system})
    anthropics(found)


def test_a_tools_arguments_keep_their_bytes() -> None:
    chat = [
        *HELLO,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": ""},
    ]
    assert CALL["function"]["arguments"].encode() in msgspec.json.encode(to_messages(raw({"messages": chat})))  # type: ignore[index]


@pytest.mark.parametrize(
    ("chat", "param"),
    [
        ({"n": 2}, "n"),
        ({"messages": [{"role": "user", "content": "Hi", "name": "anna"}]}, "messages"),
        ({"seed": 1}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"temperature": 1.01}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"guided_json": "{}"}, "guided_json"),
        ({"ignore_eos": True}, "ignore_eos"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": "f"}, "tools"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}, "messages"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]}, "messages"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:image/bmp;base64,x"}}],
                    }
                ]
            },
            "messages",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///a"}}]}]},
            "messages",
        ),
        ({"messages": [*HELLO, {"role": "assistant", "content": "The"}]}, "messages"),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}, *HELLO]}, "messages"),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "[1"}}]},
                    *HELLO,
                ]
            },
            "messages",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "x", "type": "custom"}]}, *HELLO]}, "messages"),
    ],
    ids=str,
)
def test_what_a_chat_may_ask_and_messages_cannot(chat: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        messages_of(**chat)
    assert (refused.value.param, f"`{param}`" in refused.value.message) == (param, True)


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ({"temperature": 0.5, "top_p": 0.1, "top_k": 3}, {"temperature": 0.5, "top_p": 0.1, "top_k": 3}),
        ({"stop_sequences": ["a"]}, {"stop": ["a"]}),
        ({"stop_sequences": []}, {}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"metadata": {"data_residency": "eu"}}, {}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"cache_control": {"type": "ephemeral"}, "container": None}, {}),
        ({"stream": True, "ignore_eos": True}, {"stream": True, "ignore_eos": True}),
        ({"thinking": {"type": "disabled"}}, {}),
        ({"thinking": {"type": "adaptive"}}, {}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 8192}}, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 9000}}, {"reasoning_effort": "high"}),
        ({"output_config": {"effort": "xhigh"}}, {"reasoning_effort": "xhigh"}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ({"tools": [TOOL]}, {"tools": [FUNCTION]}),
        ({"tools": [{**TOOL, "type": "custom", "cache_control": {"type": "ephemeral"}}]}, {"tools": [FUNCTION]}),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, {"tools": [FUNCTION], "tool_choice": "required"}),
        ({"tools": [TOOL], "tool_choice": {"type": "none"}}, {"tools": [FUNCTION], "tool_choice": "none"}),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}},
            {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            {"tools": [FUNCTION], "tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
    ids=str,
)
def test_fields_of_messages(asked: dict[str, Any], made: dict[str, Any]) -> None:
    assert chat_of(**asked) == {"messages": HELLO, "max_tokens": 9, **made}


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ({"system": "s"}, [{"role": "system", "content": "s"}, *HELLO]),
        (
            {
                "system": [
                    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": "b"},
                ]
            },
            [{"role": "system", "content": "a\nb"}, *HELLO],
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}, HELLO),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}},
                            {
                                "type": "document",
                                "title": "a.pdf",
                                "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                            },
                        ],
                    }
                ]
            },
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": PNG}},
                        {"type": "text", "text": "t"},
                        {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
                    ],
                }
            ],
        ),
        (
            {
                "messages": [
                    *HELLO,
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "hm", "signature": "s"},
                            {"type": "text", "text": "a"},
                        ],
                    },
                    *HELLO,
                ]
            },
            [*HELLO, {"role": "assistant", "content": "a"}, *HELLO],
        ),
        (
            {
                "messages": [
                    *HELLO,
                    {"role": "assistant", "content": [USE]},
                    {
                        "role": "user",
                        "content": [
                            {**RESULT, "is_error": True},
                            {
                                "type": "tool_result",
                                "tool_use_id": "call_2",
                                "content": [
                                    {"type": "text", "text": "seen"},
                                    {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
                                ],
                            },
                            {"type": "text", "text": "and now?"},
                        ],
                    },
                ]
            },
            [
                *HELLO,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {**CALL, "function": {"name": "f", "arguments": json.dumps(USE["input"], ensure_ascii=False)}}
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "Error: rain"},
                {"role": "tool", "tool_call_id": "call_2", "content": "seen"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "With the result of call_2:"},
                        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
                        {"type": "text", "text": "and now?"},
                    ],
                },
            ],
        ),
    ],
)
def test_conversations_of_messages(asked: dict[str, Any], made: list[Any]) -> None:
    body = json.dumps({"messages": HELLO, "max_tokens": 9, **asked}, ensure_ascii=False)
    found = plain(to_chat(msgspec.json.decode(body, type=dict[str, msgspec.Raw])))
    assert found == {"messages": made, "max_tokens": 9}
    openais(found)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"container": "c"}, "container"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "sometimes"}}, "tool_choice"),
        ({"output_config": {"format": {"type": "grammar"}}}, "output_config"),
        ({"system": [{"type": "image"}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "The"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, "messages"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            "messages",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "u"}}]}]},
            "messages",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "x"}]}, *HELLO]},
            "messages",
        ),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"max_completion_tokens": 100_000}, "max_completion_tokens"),
        ({"n": 5}, "n"),
        ({"best_of": 5}, "best_of"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"functions": [{"name": "f"}]}, "functions"),
    ],
    ids=str,
)
def test_what_messages_may_ask_and_a_chat_cannot(asked: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chat_of(**asked)
    assert refused.value.param == param


def test_a_chats_own_fields_that_mean_nothing_are_left_out() -> None:
    assert chat_of(n=1, logprobs=False, modalities=["text"], audio=None, functions=[]) == chat_of()


SECRET = "a prompt that nobody may read in a log"


@pytest.mark.parametrize("way", [to_messages, to_chat])
@pytest.mark.parametrize("odd", [{"messages": {"x": SECRET}}, {"messages": [{"role": 1, "content": SECRET}]}], ids=str)
def test_a_refusal_never_quotes_the_prompt(way: Any, odd: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        way(raw(odd))
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


# there and back

texts = st.text(min_size=1, max_size=20)
parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.just({"type": "image_url", "image_url": {"url": PNG}}),
    st.just({"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}),
    st.just({"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}),
)
arguments = st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts, max_size=3).map(
    lambda made: json.dumps(made, separators=(",", ":"))
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Of the common subset, in the form that a way back gives it."""
    made: list[dict[str, Any]] = [{"role": "system", "content": draw(texts)}] * draw(st.booleans())
    for _ in range(draw(st.integers(0, 3))):
        made.append({"role": "user", "content": draw(texts | st.lists(parts, min_size=2, max_size=3))})
        calls = [
            {"id": f"call_{len(made)}_{n}", "type": "function", "function": {"name": "f", "arguments": draw(arguments)}}
            for n in range(draw(st.integers(0, 3)))
        ]
        content = draw(texts | st.none()) if calls else draw(texts)
        made.append({"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {}))
        made += [{"role": "tool", "tool_call_id": call["id"], "content": draw(texts)} for call in calls]
    return [*made, {"role": "user", "content": draw(texts)}]


chats = st.fixed_dictionaries(
    {"messages": conversations()},
    optional={
        "max_tokens": st.integers(1, 9999),
        "temperature": st.floats(0, 1),
        "top_p": st.floats(0, 1),
        "stop": st.lists(texts, min_size=1, max_size=3),
        "user": texts,
        "service_tier": st.sampled_from(["auto", "default"]),
        "stream": st.booleans(),
        "reasoning_effort": st.sampled_from(["low", "medium", "high", "xhigh", "max"]),
        "tools": st.just([FUNCTION]),
    },
)


@given(chats, st.sampled_from(["auto", "none", "required", {"type": "function", "function": {"name": "f"}}]))
def test_a_chat_there_and_back_means_the_same(chat: dict[str, Any], choice: Any) -> None:
    if "tools" in chat:
        chat = {**chat, "tool_choice": choice}
    there = to_messages(raw(chat))
    anthropics(plain(there))
    assert plain(to_chat(there)) == chat


OLDER = frozenset({"temperature", "top_p", "top_k"})
"""What the version that we name has and the SDK's own, newer one has no more."""


def anthropics(body: dict[str, Any]) -> None:
    """Is what the SDK's own types allow, to the innermost part."""
    kept = {name: value for name, value in body.items() if name not in OLDER and name != "stream"}
    walk(_MESSAGES.validate_python({"model": "m", "max_tokens": 1, **kept}))


def openais(body: dict[str, Any]) -> None:
    walk(_CHATS.validate_python({"model": "m", **body}))


def walk(found: Any) -> None:
    """pydantic looks at what is only said to be iterable when somebody does."""
    if isinstance(found, str):
        return
    for each in found.values() if isinstance(found, dict) else found if isinstance(found, Iterable) else ():
        walk(each)


def closed(shape: Any) -> TypeAdapter[Any]:
    """Keys that the type does not have are refused."""
    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(shape))


_MESSAGES, _CHATS = closed(MessageCreateParamsNonStreaming), closed(CompletionCreateParamsNonStreaming)
