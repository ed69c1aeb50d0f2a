"""Usage as each API tells it, in answers of its real shape; and no JSON of whatever kind that harms its reader."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Usage
from gateway.upstreams.dialects.figures import MOST, Figures
from gateway.upstreams.dialects.surface import ENDPOINTS
from gateway.upstreams.sse import Tap

CHAT, COMPLETIONS, EMBEDDINGS = "chat/completions", "completions", "embeddings"
RESPONSES, MESSAGES = "responses", "messages"


def told(endpoint: str, usage: Any) -> Usage | None:
    answer = {"id": "a", "object": "o", "model": "m", "choices": [{"index": 0}], "output": [], "usage": usage}
    return ENDPOINTS[endpoint].usage_of(json.dumps(answer).encode())


TABLE: list[tuple[str, dict[str, Any], Usage]] = [
    (  # OpenAI, everything
        CHAT,
        {
            "prompt_tokens": 1117,
            "completion_tokens": 46,
            "total_tokens": 1163,
            "prompt_tokens_details": {
                "cached_tokens": 1024,
                "cache_write_tokens": 64,
                "audio_tokens": 10,
                "image_tokens": 12,
                "text_tokens": 1095,
            },
            "completion_tokens_details": {
                "reasoning_tokens": 20,
                "audio_tokens": 6,
                "text_tokens": 20,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        Usage(
            *(1117, 46, 1024),
            cache_write_tokens=64,
            reasoning_tokens=20,
            input_audio_tokens=10,
            output_audio_tokens=6,
            input_image_tokens=12,
        ),
    ),
    (  # sound that the cache served
        CHAT,
        {
            "prompt_tokens": 100,
            "completion_tokens": 1,
            "prompt_tokens_details": {
                "cached_tokens": 90,
                "audio_tokens": 60,
                "image_tokens": 40,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 60, "image_tokens": 30},
            },
        },
        Usage(
            *(100, 1, 90),
            input_audio_tokens=60,
            input_image_tokens=40,
            cached_audio_tokens=60,
            cached_image_tokens=30,
        ),
    ),
    # xAI: reasoning comes on top of the completion, and only the sum says so
    (
        CHAT,
        {
            "prompt_tokens": 37,
            "completion_tokens": 530,
            "total_tokens": 800,
            "completion_tokens_details": {"reasoning_tokens": 233},
        },
        Usage(37, 763, reasoning_tokens=233),
    ),
    # Google's OpenAI-compatible endpoint: what was thought is in the sum alone
    (
        CHAT,
        {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623},
        Usage(20, 603, reasoning_tokens=405),
    ),
    # a sum that cannot be true says nothing
    (CHAT, {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 2**40}, Usage(20, 8)),
    (CHAT, {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 3}, Usage(20, 8)),
    # vLLM, SGLang, llama.cpp: details are null, or not there
    (
        CHAT,
        {"prompt_tokens": 5, "total_tokens": 12, "completion_tokens": 7, "prompt_tokens_details": None},
        Usage(5, 7),
    ),
    (COMPLETIONS, {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "reasoning_tokens": 0}, Usage(5, 7)),
    (CHAT, {"prompt_tokens": 5.0, "completion_tokens": 7.0}, Usage(5, 7)),
    (EMBEDDINGS, {"prompt_tokens": 8, "total_tokens": 8}, Usage(8, 0)),
    (EMBEDDINGS, {"total_tokens": 8}, Usage(8, 0)),
    (
        RESPONSES,
        {
            "input_tokens": 900,
            "input_tokens_details": {
                "cached_tokens": 512,
                "cache_write_tokens": 128,
                "cache_write_tokens_details": {"ttl_30m_tokens": 28, "ttl_12h_tokens": 100},
            },
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 64},
            "total_tokens": 987,
        },
        Usage(900, 87, 512, cache_write_tokens=128, cache_write_1h_tokens=100, reasoning_tokens=64),
    ),
    (
        RESPONSES,
        {"input_tokens": 9, "output_tokens": 8, "input_tokens_details": None, "total_tokens": 17},
        Usage(9, 8),
    ),
    (
        MESSAGES,
        {
            "input_tokens": 21,
            "cache_creation_input_tokens": 188,
            "cache_read_input_tokens": 2051,
            "cache_creation": {"ephemeral_5m_input_tokens": 88, "ephemeral_1h_input_tokens": 100},
            "output_tokens": 393,
            "server_tool_use": {"web_search_requests": 0},
            "service_tier": "standard",
        },
        Usage(2260, 393, 2051, cache_write_tokens=188, cache_write_1h_tokens=100),
    ),
    (MESSAGES, {"input_tokens": 21, "output_tokens": 393, "cache_creation": None}, Usage(21, 393)),
    (  # the split alone
        MESSAGES,
        {"input_tokens": 1, "output_tokens": 2, "cache_creation": {"ephemeral_5m_input_tokens": 4}},
        Usage(5, 2, cache_write_tokens=4),
    ),
]


@pytest.mark.parametrize(("endpoint", "usage", "expected"), TABLE)
def test_usage_of_a_whole_answer(endpoint: str, usage: dict[str, Any], expected: Usage) -> None:
    assert told(endpoint, usage) == expected


LIES: list[tuple[Any, int]] = [
    *((-1, 0), ("7", 0), (True, 0), ([], 0), ({}, 0), (-1e300, 0)),
    *((7.5, 8), (MOST + 1, MOST), (10**30, MOST), (1e300, MOST)),
]


@pytest.mark.parametrize(("lie", "count"), LIES)
@pytest.mark.parametrize(
    ("endpoint", "names"),
    [
        (CHAT, ("prompt_tokens", "completion_tokens")),
        (RESPONSES, ("input_tokens", "output_tokens")),
        (MESSAGES, ("input_tokens", "output_tokens")),
    ],
)
def test_what_cannot_be_true_is_clamped_and_marked(endpoint: str, names: tuple[str, str], lie: Any, count: int) -> None:
    made = told(endpoint, {names[0]: 5, names[1]: lie})
    assert made == Usage(5, count, absurd=True)
    made = told(endpoint, {names[0]: lie, names[1]: 5})
    assert made == Usage(count, 5, absurd=True)


WHOLE = {"prompt_tokens": 5, "completion_tokens": 1, "input_tokens": 5, "output_tokens": 1}


@pytest.mark.parametrize(
    ("endpoint", "parts", "expected"),
    [
        (CHAT, {"prompt_tokens_details": {"cached_tokens": 6}}, Usage(5, 1, 5)),
        (
            CHAT,
            {"prompt_tokens_details": {"audio_tokens": 4, "image_tokens": 2}},
            Usage(5, 1, input_audio_tokens=4, input_image_tokens=1),
        ),
        (
            CHAT,
            {"prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}},
            Usage(5, 1, 4, cache_write_tokens=1),
        ),
        (
            CHAT,
            {
                "prompt_tokens_details": {
                    "cached_tokens": 4,
                    "audio_tokens": 2,
                    "cached_tokens_details": {"audio_tokens": 3},
                }
            },
            Usage(5, 1, 4, input_audio_tokens=2, cached_audio_tokens=2),
        ),
        (CHAT, {"completion_tokens_details": {"reasoning_tokens": 9}}, Usage(5, 1, reasoning_tokens=1)),
        (RESPONSES, {"output_tokens_details": {"reasoning_tokens": 9}}, Usage(5, 1, reasoning_tokens=1)),
        (MESSAGES, {"output_tokens_details": {"thinking_tokens": 9}}, Usage(5, 1, reasoning_tokens=1)),
        (MESSAGES, {"cache_read_input_tokens": MOST}, Usage(MOST, 1, MOST)),
    ],
)
def test_parts_are_never_more_than_their_whole(endpoint: str, parts: dict[str, Any], expected: Usage) -> None:
    assert told(endpoint, {**WHOLE, **parts}) == replace(expected, absurd=True)


@pytest.mark.parametrize(
    ("said", "seconds", "odd"),
    [
        *((None, 0.0, False), (8, 8.0, False), ("8", 8.0, False), (2.5, 2.5, False), ("x", 0.0, True)),
        *((-1, 0.0, True), ("NaN", 0.0, True), ("inf", float(MOST), True), (True, 0.0, True), ([1], 0.0, True)),
        (10**400, 0.0, True),
    ],
)
def test_seconds(said: Any, seconds: float, odd: bool) -> None:
    figures = Figures()
    assert (figures.seconds(said), figures.odd) == (seconds, odd)


NAMES = sorted(
    {
        *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens"),
        *("prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details"),
        *("cache_write_tokens", "cache_write_tokens_details", "ttl_30m_tokens", "ttl_12h_tokens", "reasoning_tokens"),
        *("audio_tokens", "image_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"),
        *("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "thinking_tokens"),
    }
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.integers(0, 9)
garbage = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner), max_leaves=20
)
COUNTS = [field for field in Usage.__slots__ if field.endswith("tokens")]


def sound(usage: Usage | None) -> None:
    if usage is None:
        return
    for name in COUNTS:
        value = getattr(usage, name)
        assert type(value) is int
        assert 0 <= value <= 3 * MOST
    assert usage.cached_tokens <= usage.input_tokens
    assert usage.reasoning_tokens <= usage.output_tokens
    assert usage.input_audio_tokens + usage.input_image_tokens <= usage.input_tokens
    assert usage.output_audio_tokens + usage.output_image_tokens <= usage.output_tokens
    assert usage.cached_audio_tokens + usage.cached_image_tokens <= usage.cached_tokens


@given(st.sampled_from(sorted(ENDPOINTS)), garbage)
def test_any_json_as_usage_gives_counts(endpoint: str, usage: Any) -> None:
    sound(told(endpoint, usage))  # NaN and Infinity are what json.dumps makes of such floats: no JSON at all


@given(st.sampled_from([CHAT, RESPONSES, MESSAGES]), st.lists(garbage, max_size=3))
def test_any_json_as_usage_in_a_stream_gives_counts(endpoint: str, parts: list[Any]) -> None:
    tap = Tap(ENDPOINTS[endpoint].events, drop_usage=endpoint == CHAT)
    for usage in parts:
        frame = {"type": "message_start", "message": {"usage": usage}, "response": {"usage": usage}, "usage": usage}
        tap.feed(b"data: " + json.dumps(frame).encode() + b"\n\n")
        tap.feed(b"data: " + json.dumps({"choices": [{}], "usage": usage}).encode() + b"\n\n")
    sound(tap.usage)


@pytest.mark.parametrize("endpoint", [CHAT, RESPONSES, MESSAGES])
def test_deep_and_endless_figures_are_no_usage(endpoint: str) -> None:
    for value in (b"[" * 100_000 + b"]" * 100_000, b"9" * 10_000):
        answer = b'{"usage":{"prompt_tokens":' + value + b',"input_tokens":' + value + b"}}"
        sound(ENDPOINTS[endpoint].usage_of(answer))


def test_a_tally_is_of_the_last_figures_and_a_lie_stays_one() -> None:
    tap = Tap(ENDPOINTS[MESSAGES].events, drop_usage=False)
    parts: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": {"usage": {"input_tokens": 25, "cache_read_input_tokens": 10, "output_tokens": 1}},
        },
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 15}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 40}},
    ]
    for part in parts:
        tap.feed(f"event: {part['type']}\ndata: {json.dumps(part)}\n\n".encode())
    assert tap.usage == Usage(35, 40, 10)
    tap.feed(b'data: {"type":"message_delta","usage":{"output_tokens":2}}\n\n')  # cumulative: none becomes smaller
    assert tap.usage == Usage(35, 40, 10)
    tap.feed(b'data: {"type":"message_delta","usage":{"input_tokens":5,"cache_read_input_tokens":30}}\n\n')
    assert tap.usage == Usage(35, 40, 30)
    tap.feed(b'data: {"type":"message_delta","usage":{"input_tokens":1,"cache_read_input_tokens":1}}\n\n')
    assert tap.usage == Usage(35, 40, 30)
    tap.feed(b'data: {"type":"message_delta","usage":{"output_tokens":-3}}\n\n')
    tap.feed(b'data: {"type":"message_delta","usage":{"output_tokens":50}}\n\n')
    assert tap.usage == Usage(35, 50, 30, absurd=True)


# what the caller sees of it


CONTENT = b'data: {"id":"c", "choices":[{"delta":{"content":"a"}}], "usage":%b}\n\n'
TOLD = b'{"prompt_tokens":11,"completion_tokens":3}'


@pytest.mark.parametrize("drop", [True, False])
def test_usage_beside_content_is_not_shown_to_who_did_not_ask(drop: bool) -> None:
    tap = Tap(ENDPOINTS[CHAT].events, drop_usage=drop)
    shown = tap.feed(CONTENT % TOLD)
    bare = b'data: {"id":"c","choices":[{"delta":{"content":"a"}}]}\n\n'
    assert shown == (bare if drop else CONTENT % TOLD)
    assert tap.feed(CONTENT % b"null") == CONTENT % b"null"
    assert tap.usage == Usage(11, 3)
    assert tap.frames == 2
