"""Which streams another worker can go on with, and what it is asked for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from gateway.routing.capability import continues
from gateway.upstreams.dialects.continuation import cap, continuable, continued

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}


def raws(fields: dict[str, Any]) -> dict[str, Raw]:
    return {name: Raw(msgspec.json.encode(value)) for name, value in fields.items()}


def plain(fields: dict[str, Raw]) -> dict[str, Any]:
    return {name: msgspec.json.decode(raw) for name, raw in fields.items()}


@pytest.mark.parametrize(
    ("endpoint", "engine", "able"),
    [
        ("chat/completions", "vllm", True),
        ("chat/completions", "sglang", True),
        ("chat/completions", "tgi", False),
        ("chat/completions", "auto", False),
        ("chat/completions", None, False),
        ("completions", "llamacpp", True),
        ("completions", None, True),
    ],
)
def test_engines(endpoint: str, engine: str | None, able: bool) -> None:
    assert continues(endpoint, engine) is able


@pytest.mark.parametrize(
    ("endpoint", "fields", "able"),
    [
        ("chat/completions", CHAT, True),
        ("chat/completions", {**CHAT, "tools": [], "logprobs": False, "tool_choice": "none"}, True),
        ("chat/completions", {**CHAT, "response_format": {"type": "text"}, "stream_options": None}, True),
        ("chat/completions", {**CHAT, "stream_options": {"include_usage": True}, "stop": ["x"]}, True),
        ("chat/completions", {**CHAT, "tools": [{}]}, False),
        ("chat/completions", {**CHAT, "response_format": {"type": "json_object"}}, False),
        ("chat/completions", {**CHAT, "structured_outputs": {"regex": "a"}}, False),
        ("chat/completions", {**CHAT, "logprobs": True}, False),
        ("chat/completions", {**CHAT, "continue_final_message": True}, False),
        ("chat/completions", {**CHAT, "stream_options": {"continuous_usage_stats": True}}, False),
        ("chat/completions", {**CHAT, "add_generation_prompt": True, "separate_reasoning": True}, True),
        ("chat/completions", {**CHAT, "add_generation_prompt": False}, False),
        ("chat/completions", {**CHAT, "separate_reasoning": False}, False),
        ("chat/completions", {**CHAT, "stream_reasoning": False}, False),
        ("chat/completions", {**CHAT, "include_reasoning": False}, False),
        ("chat/completions", {**CHAT, "reasoning_effort": "low"}, False),
        ("chat/completions", {**CHAT, "min_tokens": "5"}, False),
        ("chat/completions", {**CHAT, "min_tokens": True}, False),
        ("chat/completions", {**CHAT, "min_tokens": 5, "max_tokens": None}, True),
        ("completions", {"prompt": "once", "max_tokens": 1.5}, False),
        ("completions", {"prompt": "once"}, True),
        ("completions", {"prompt": "once", "logprobs": 0}, False),
        ("completions", {"prompt": "once", "echo": True}, False),
        ("completions", {"prompt": "once", "suffix": "end"}, False),
        ("completions", {"prompt": [1, 2]}, False),
        ("completions", {"prompt": ["once"]}, False),
        ("responses", {"input": "x"}, False),
        ("messages", CHAT, False),
    ],
)
def test_requests(endpoint: str, fields: dict[str, Any], able: bool) -> None:
    assert continuable(endpoint, raws(fields)) is able


def test_a_chat_is_left_open() -> None:
    given = raws({**CHAT, "max_tokens": 10, "max_completion_tokens": None, "min_tokens": 3, "seed": 7, "top_p": 0.5})
    assert plain(continued("chat/completions", given, "so far", 4)) == {
        "messages": [*CHAT["messages"], {"role": "assistant", "content": "so far"}],
        "continue_final_message": True,
        "add_generation_prompt": False,
        "max_tokens": 6,
        "max_completion_tokens": None,
        "min_tokens": 0,
        "seed": 7,
        "top_p": 0.5,
    }


def test_a_completion_has_a_longer_prompt() -> None:
    given = raws({"prompt": "once ", "max_tokens": 10})
    assert plain(continued("completions", given, "upon", 1)) == {"prompt": "once upon", "max_tokens": 9}


def test_where_nothing_was_written_it_is_the_same_request() -> None:
    assert plain(continued("chat/completions", raws(CHAT), "", 0)) == CHAT


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 3}, 3),
        ({"max_tokens": None}, None),
    ],
)
def test_the_lowest_cap(fields: dict[str, Any], most: int | None) -> None:
    assert cap(raws(fields)) == most
