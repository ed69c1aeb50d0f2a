"""chat/completions and Messages translated into each other, with both official SDKs as they are, over real sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from loadtests.simproviders.anthropic import KEY as CLAUDE_KEY
from loadtests.simproviders.anthropic import Anthropic, Fault, Running, listening
from tests.gateways import KEY, WEIGHTS, Lane, Site, serve

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
EXACT = {"ignore_eos": True}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
ARGUMENTS = {"city": "sim", "days": 1}
TOOL: Any = {"name": "weather", "description": "The weather.", "input_schema": SCHEMA}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
PRICE = {"input_per_1m": 3.0, "output_per_1m": 15.0, "cached_input_per_1m": 0.3, "cache_write_per_1m": 3.75}
FAULTS = {
    "overloaded": Fault(status=529),
    "limited": Fault(status=429, retry_after=7),
    "refused": Fault(status=400),
    "cut": Fault(cut_after=6),
    "close": Fault(close_after=6),
    "error": Fault(error_after=6),
}
"""Each is met at an account of its own: one that failed is left alone for a while."""
SOON = {"after": "50ms", "budget": 0.9}
CALLS = [
    {"type": "text", "text": "I look it up."},
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Köln"}},
    {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
]


@pytest.fixture(scope="module")
def claude_api() -> Iterator[Running]:
    with listening(Anthropic()) as running:
        yield running


@pytest.fixture(scope="module")
def site(claude_api: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    def bought(files: dict[str, Any]) -> dict[str, Any]:
        for name in ("claude", *(f"claude-{fault}" for fault in FAULTS)):
            account = {"name": name, "url": claude_api.url, "key": CLAUDE_KEY}
            backend = {"name": name, "kind": "managed", "zone": "us", "simulated": True, "dialect": "anthropic"}
            files["backends.yaml"]["backends"].append({**backend, "upstreams": [account]})
            served = [{"backend": name, "as": "claude-opus-5-5", "price": PRICE}]
            files["models.yaml"]["models"].append({"name": name, "modality": "text", "served_by": served})
            rule = {"name": name, "match": {"model": name}, "route": {"backends": [name]}}
            files["routing.yaml"]["rules"].append(rule)
        plain = next(one for one in files["models.yaml"]["models"] if one["name"] == "plain")
        plain["served_by"].append({"backend": "claude", "as": "claude-opus-5-5", "price": PRICE})
        return files

    lanes = [
        Lane("plain", seats=8, cloud=False, worker={"engine": "openai"}, route={"fallback": ["claude"]}),
        Lane("late", workers=2, cloud=False, worker={"engine": "openai"}, route={"hedge": SOON}),
        Lane("cut", cloud=False, worker={"engine": "openai"}, route={"attempts": 1, "rescue": True}),
    ]
    place: Path = tmp_path_factory.mktemp("translation")
    with serve(place, lanes, written=bought) as made:
        made.fleet.config("cut-1", drop_mid_stream={"share": 1.0, "after_frames": 3})
        yield made


@pytest.fixture
def api(claude_api: Running) -> Iterator[Anthropic]:
    """As it is when nothing was said beforehand."""
    fresh, api = Anthropic(), claude_api.api
    api.content, api.stop_reason, api.stop_sequence = fresh.content, fresh.stop_reason, None
    api.faults.clear()
    api.seen.clear()
    api.heard.clear()
    yield api
    assert not api.faults, "a fault that nothing met"


@pytest.fixture
def client(site: Site) -> Iterator[openai.OpenAI]:
    with site.sdk() as made:
        yield made


@pytest.fixture
def claude(site: Site) -> Iterator[anthropic.Anthropic]:
    with site.anthropic_sdk() as made:
        yield made


# OpenAI's SDK, served by Anthropic's API


def test_a_chat_is_served_by_anthropics_api(site: Site, client: openai.OpenAI, api: Anthropic) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="claude", messages=[{"role": "system", "content": "be brief"}, *HELLO], temperature=0.5, stop="END"
    )
    answer = raw.parse()
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason, answer.model) == ("one two three", "stop", "claude-opus-5-5")
    usage = answer.usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details.cached_tokens) == (36, 42, 20)
    (seen,) = api.seen
    assert seen.body == {
        "model": "claude-opus-5-5",
        "max_tokens": 4096,
        "system": "be brief",
        "messages": HELLO,
        "temperature": 0.5,
        "stop_sequences": ["END"],
    }
    assert (seen.headers["anthropic-version"], "authorization" in seen.headers) == ("2023-06-01", False)
    receipt = site.receipt(raw.headers["x-request-id"])
    counted = receipt["usage"]
    assert (counted["input_tokens"], counted["output_tokens"], counted["estimated"]) == (36, 42, False)
    assert receipt["attempts"][0]["asked_at"] == "messages"
    assert receipt["cost"]["usd"] == pytest.approx((11 * 3 + 5 * 3.75 + 20 * 0.3 + 42 * 15) / 1e6, abs=1e-6)


@pytest.mark.parametrize("usage", [True, False])
def test_a_streamed_chat_is_served_by_anthropics_api(
    site: Site, client: openai.OpenAI, api: Anthropic, usage: bool
) -> None:
    options: Any = {"include_usage": True} if usage else openai.omit
    with client.chat.completions.with_streaming_response.create(
        model="claude", messages=HELLO, max_completion_tokens=50, stream=True, stream_options=options
    ) as raw:
        chunks = list(raw.parse())
        request_id = raw.headers["x-request-id"]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert [(one.prompt_tokens, one.completion_tokens) for chunk in chunks if (one := chunk.usage)] == [
        (36, 42)
    ] * usage
    assert api.seen[0].body["max_tokens"] == 50
    assert site.receipt(request_id)["usage"]["output_tokens"] == 42


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_of_a_chat_there_and_back(client: openai.OpenAI, api: Anthropic, streamed: bool) -> None:
    """Two calls in one answer, then their results in one turn."""
    api.content, api.stop_reason = CALLS, "tool_use"
    asked: dict[str, Any] = {"model": "claude", "messages": HELLO, "tools": [CHAT_TOOL], "tool_choice": "required"}
    if streamed:
        with client.chat.completions.stream(**asked) as stream:
            choice: Any = stream.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(**asked).choices[0]
    calls = choice.message.tool_calls
    assert [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("toolu_1", "weather", {"city": "Köln"}),
        ("toolu_2", "now", {}),
    ]
    assert (choice.message.content, choice.finish_reason) == ("I look it up.", "tool_calls")
    api.content, api.stop_reason = [{"type": "text", "text": "Rain."}], "end_turn"
    said = choice.message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"})
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"of {call.id}"} for call in calls]
    client.chat.completions.create(model="claude", messages=[*HELLO, said, *results], tools=[CHAT_TOOL])
    assert api.seen[-1].body["messages"] == [
        *HELLO,
        {"role": "assistant", "content": CALLS},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "of toolu_1"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "of toolu_2"},
            ],
        },
    ]


def test_thinking_is_shown_beside_a_chats_answer(client: openai.OpenAI, api: Anthropic) -> None:
    api.content = [{"type": "thinking", "thinking": "Hm, hm, hm.", "signature": "s"}, {"type": "text", "text": "Yes."}]
    asked: Any = {"model": "claude", "messages": HELLO, "reasoning_effort": "high"}
    message = client.chat.completions.create(**asked).choices[0].message.to_dict()
    assert (message["content"], message["reasoning_content"]) == ("Yes.", "Hm, hm, hm.")
    chunks = [chunk.choices[0].delta.to_dict() for chunk in client.chat.completions.create(stream=True, **asked)]
    assert "".join(str(chunk.get("reasoning_content", "")) for chunk in chunks) == "Hm, hm, hm."
    assert api.seen[0].body["output_config"] == {"effort": "high"}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"n": 2}, "n"),
        ({"temperature": 1.5}, "temperature"),
        ({"seed": 7}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"extra_body": {"min_tokens": 3}}, "min_tokens"),
    ],
)
def test_what_cannot_be_translated_is_refused_by_name(
    client: openai.OpenAI, api: Anthropic, asked: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="claude", messages=HELLO, **asked)
    assert refused.value.param == param
    assert not api.seen


def test_who_speaks_the_callers_words_takes_what_cannot_be_translated(
    site: Site, client: openai.OpenAI, api: Anthropic
) -> None:
    raw = client.chat.completions.with_raw_response.create(model="plain", messages=HELLO, max_tokens=2, n=2)
    assert raw.headers["x-gateway-upstream"] == "plain-1"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("overloaded", openai.InternalServerError),
        ("limited", openai.RateLimitError),
        ("refused", openai.BadRequestError),
    ],
)
def test_refusals_of_anthropics_api_as_openais_sdk_knows_them(
    client: openai.OpenAI, api: Anthropic, fault: str, error: type[openai.APIStatusError]
) -> None:
    api.faults.append(FAULTS[fault])
    with pytest.raises(error) as refused:
        client.chat.completions.create(model=f"claude-{fault}", messages=HELLO)
    assert refused.value.response.json()["error"]["message"]
    if fault == "refused":
        assert (refused.value.type, "Simulated" in refused.value.message) == ("invalid_request_error", True)


@pytest.mark.parametrize("fault", ["cut", "close", "error"])
def test_a_chat_that_breaks_off_keeps_its_text_and_raises(
    site: Site, client: openai.OpenAI, api: Anthropic, fault: str
) -> None:
    api.content = [{"type": "text", "text": "a long text that is cut somewhere in its middle"}]
    api.faults.append(FAULTS[fault])
    text: list[str] = []

    def words(stream: Any) -> Iterator[str]:
        for chunk in stream:
            yield chunk.choices[0].delta.content or ""
            if "".join(text).endswith("is c"):
                api.heard.set()

    stream = client.chat.completions.create(model=f"claude-{fault}", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        text.extend(words(stream))
    assert "".join(text) == "a long text that is c"
    receipt = site.receipt(str(stream.response.headers["x-request-id"]))
    assert (receipt["attempts"][0]["result"], receipt["usage"]["estimated"]) == ("broke_off", True)


# Anthropic's own SDK and its own API: nothing is translated


def test_messages_pass_as_they_are(site: Site, claude: anthropic.Anthropic, api: Anthropic) -> None:
    asked: Any = {"model": "claude", "messages": HELLO, "max_tokens": 9, "thinking": {"type": "adaptive"}}
    message = claude.messages.create(**asked)
    assert message.content[0].to_dict() == {"type": "text", "text": "one two three"}
    assert api.seen[0].body == {**asked, "model": "claude-opus-5-5"}
    assert "asked_at" not in site.receipt(str(message._request_id))["attempts"][0]
    assert api.seen[0].headers["anthropic-version"] == claude.default_headers["anthropic-version"]
    assert claude.messages.count_tokens(model="claude", messages=HELLO).input_tokens == 17
    plain = site.http.post("/v1/messages", json=asked, headers={"x-api-key": KEY})
    assert plain.status_code == 200
    assert api.seen[-1].headers["anthropic-version"] == "2023-06-01"


# Anthropic's SDK, served by a worker that speaks only chat/completions


def test_a_message_is_served_by_a_worker_that_only_chats(site: Site, claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(model="plain", messages=HELLO, system="be brief", max_tokens=5, extra_body=EXACT)
    block = message.content[0]
    assert block.type == "text"
    assert len(block.text.split()) == 5
    assert (message.stop_reason, message.model, message.usage.output_tokens) == ("max_tokens", WEIGHTS, 5)
    assert message.usage.input_tokens > 0
    receipt = site.receipt(str(message._request_id))
    counted = (receipt["usage"]["input_tokens"], receipt["usage"]["output_tokens"], receipt["usage"]["estimated"])
    assert counted == (message.usage.input_tokens, 5, False)
    assert site.fleet.requests("plain-1")[-1]["path"] == "/v1/chat/completions"


def test_a_streamed_message_is_served_by_a_worker_that_only_chats(site: Site, claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model="plain", messages=HELLO, max_tokens=6, extra_body=EXACT) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
        request_id = stream.request_id
    block = final.content[0]
    assert block.type == "text"
    assert len(block.text.split()) == 6
    assert (final.usage.output_tokens, final.stop_reason) == (6, "max_tokens")
    assert (kinds[0], kinds[-1], kinds.count("content_block_stop")) == ("message_start", "message_stop", 1)
    usage = site.receipt(str(request_id))["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (final.usage.input_tokens, 6)


def test_message_tools_plain_and_streamed(claude: anthropic.Anthropic) -> None:
    asked: Any = {
        "model": "plain",
        "messages": HELLO,
        "max_tokens": 60,
        "tools": [TOOL],
        "tool_choice": {"type": "any"},
    }
    plain = claude.messages.create(**asked)
    with claude.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    for message in (plain, streamed):
        block: Any = message.content[0]
        assert block.type == "tool_use"
        assert (block.name, block.input, message.stop_reason) == ("weather", ARGUMENTS, "tool_use")
    result = {"type": "tool_result", "tool_use_id": plain.content[0].to_dict()["id"], "content": "rain"}
    turns = [*HELLO, {"role": "assistant", "content": plain.content}, {"role": "user", "content": [result]}]
    assert claude.messages.create(model="plain", messages=turns, max_tokens=3, tools=[TOOL]).content


def test_tokens_are_counted_by_nobody_else(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.count_tokens(model="cut", messages=HELLO)


def test_a_message_that_cannot_be_translated(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(
            model="cut", messages=HELLO, max_tokens=3, tools=[{"type": "web_search_20250305", "name": "web_search"}]
        )
    assert (refused.value.type, refused.value.error_code) == ("invalid_request_error", "invalid_request")
    assert "web_search_20250305" in refused.value.message


def test_a_worker_that_dies_while_it_speaks_for_anthropic(site: Site, claude: anthropic.Anthropic) -> None:
    """It is not gone on with, though its rule says `rescue`: what was translated is not kept."""
    text: list[str] = []
    with (
        claude.messages.stream(model="cut", messages=HELLO, max_tokens=100, extra_body=EXACT) as stream,
        pytest.raises(anthropic.APIStatusError) as broke,
    ):
        text.extend(stream.text_stream)
    assert (broke.value.type, broke.value.error_code, len(text)) == ("api_error", "upstream_error", 3)
    attempts = site.receipt(str(broke.value.request_id))["attempts"]
    assert [one["result"] for one in attempts] == ["broke_off"]


def test_a_late_one_is_hedged_and_each_attempt_has_a_way_back_of_its_own(
    site: Site, claude: anthropic.Anthropic
) -> None:
    asked: Any = {"model": "late", "messages": HELLO, "max_tokens": 4, "extra_body": EXACT}
    for _ in range(6):
        claude.messages.create(**asked)  # saves up for a hedge
    site.fleet.config("late-1", hang=True)
    roles: set[str] = set()
    deadline = time.monotonic() + 10
    while "hedge" not in roles:
        assert time.monotonic() < deadline
        with claude.messages.stream(**asked) as stream:
            final = stream.get_final_message()
        assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 4)
        attempts = site.receipt(str(stream.request_id))["attempts"]
        assert {one["asked_at"] for one in attempts} == {"chat/completions"}
        roles |= {one.get("role", "asked") for one in attempts}
    site.fleet.config("late-1", hang=False)


def test_a_refusal_of_a_worker_in_anthropics_words(site: Site, claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(model="plain", messages=[], max_tokens=5)
    assert (refused.value.type, "messages" in refused.value.message) == ("invalid_request_error", True)
