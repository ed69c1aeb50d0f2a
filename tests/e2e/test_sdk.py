"""The official SDK, as it is, against the gateway: what every client relies on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.gateways import NARROW_KEY, Lane, Site

LANES = [
    Lane("chat", workers=2),
    Lane("large", sim={"num_gpu_blocks": 80_000, "max_model_len": 1_200_000, "prefill_chunk": 1 << 21}, cloud=False),
    Lane("slow", sim={"step_ms": 200.0}, cloud=False),
    Lane("full", seats=1, cloud=False, sim={"step_ms": 50.0}, route={"max_wait": 0}),
]
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}


@pytest.fixture
def client(site: Site) -> Iterator[openai.OpenAI]:
    with site.sdk() as made:
        yield made


def test_a_plain_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="chat", messages=HELLO, max_tokens=5, extra_body={"ignore_eos": True})
    assert len((answer.choices[0].message.content or "").split()) == 5
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


def test_a_stream_without_usage_has_no_frame_of_ours(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="chat", messages=HELLO, max_tokens=6, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason is not None


def test_a_stream_with_usage_ends_with_its_frame(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="chat", messages=HELLO, max_tokens=6, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == sum(bool(c.choices and c.choices[0].delta.content) for c in chunks)


@pytest.mark.parametrize("asked", [None, {"include_usage": False}, {"include_usage": True}], ids=str)
def test_usage_is_on_the_receipt_of_a_stream_asked_for_or_not(site: Site, asked: dict[str, bool] | None) -> None:
    body: dict[str, Any] = {"max_tokens": 6, "ignore_eos": True, **({"stream_options": asked} if asked else {})}
    with site.stream("chat", **body) as (answer, lines):
        frames = list(lines)
    assert frames[-1] == "[DONE]"
    told = [frame for frame in frames[:-1] if json.loads(frame).get("usage")]
    assert len(told) == (1 if asked and asked["include_usage"] else 0)
    usage = site.receipt(answer)["usage"]
    assert (usage["output_tokens"], usage["estimated"]) == (6, False)


def test_tools_plain_and_streamed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="chat", messages=HELLO, tools=[WEATHER], tool_choice="required", max_tokens=50
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "weather"
    assert json.loads(calls[0].function.arguments) == {"city": "sim", "days": 1}
    with client.chat.completions.stream(
        model="chat", messages=HELLO, tools=[WEATHER], tool_choice="required", max_tokens=50
    ) as stream:
        final = stream.get_final_completion()
    streamed = final.choices[0].message.tool_calls
    assert streamed is not None
    assert json.loads(streamed[0].function.arguments) == {"city": "sim", "days": 1}


def test_the_completions_endpoint(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="chat", prompt="hello", max_tokens=3)
    assert answer.choices[0].text
    pieces = list(client.completions.create(model="chat", prompt="hello", max_tokens=3, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces)


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {lane.name for lane in LANES}
    assert client.models.retrieve("chat").id == "chat"
    with pytest.raises(openai.NotFoundError) as failed:
        client.models.retrieve("nonesuch")
    assert failed.value.code == "model_not_found"


@pytest.mark.parametrize("size", [200_000, 2_000_000])
def test_large_prompts_arrive_whole(client: openai.OpenAI, size: int) -> None:
    answer = client.chat.completions.create(
        model="large", messages=[{"role": "user", "content": "word " * (size // 5)}], max_tokens=1
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == pytest.approx(size / 4.2, rel=0.01)


def test_a_client_timeout_closes_the_upstream(site: Site, client: openai.OpenAI) -> None:
    aborted = site.fleet.state("slow-1")["aborted"]
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(model="slow", messages=HELLO, max_tokens=100)
    site.fleet.wait("slow-1", lambda state: state["aborted"] == aborted + 1 and state["running"] == 0)
    site.quiet("slow")


def test_an_aborted_stream_closes_the_upstream(site: Site, client: openai.OpenAI) -> None:
    aborted = site.fleet.state("slow-1")["aborted"]
    stream = client.chat.completions.create(model="slow", messages=HELLO, max_tokens=100, stream=True)
    next(iter(stream))
    stream.close()
    site.fleet.wait("slow-1", lambda state: state["aborted"] == aborted + 1 and state["running"] == 0)
    site.quiet("slow")


async def test_async_plain_stream_and_abort(site: Site) -> None:
    async with site.async_sdk() as client:
        answer = await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=3)
        assert answer.choices[0].message.content
        stream = await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=3, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text
        async with await client.chat.completions.create(
            model="slow", messages=HELLO, max_tokens=100, stream=True
        ) as cut:
            async for _ in cut:
                break
        with pytest.raises(openai.APITimeoutError):
            await client.with_options(timeout=0.3).chat.completions.create(model="slow", messages=HELLO, max_tokens=9)
    site.fleet.wait("slow-1", lambda state: state["running"] == 0)
    site.quiet("chat", "slow")


def test_errors_have_the_classes_of_the_sdk(site: Site, client: openai.OpenAI) -> None:
    with site.sdk(key="nobody") as stranger, pytest.raises(openai.AuthenticationError) as unknown:
        stranger.chat.completions.create(model="chat", messages=HELLO)
    assert (unknown.value.status_code, unknown.value.code) == (401, "invalid_key")
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nonesuch", messages=HELLO)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="chat", messages=HELLO, max_tokens=0)
    assert (bad.value.code, bad.value.param) == ("invalid_request", "max_tokens")
    with site.sdk(key=NARROW_KEY) as narrow, pytest.raises(openai.PermissionDeniedError) as denied:
        narrow.chat.completions.create(model="chat", messages=HELLO)
    assert denied.value.code == "model_not_allowed"


def test_a_full_fleet_is_a_rate_limit_with_retry_after(site: Site, client: openai.OpenAI) -> None:
    with site.occupied("full"):
        with pytest.raises(openai.RateLimitError) as busy:
            client.chat.completions.create(model="full", messages=HELLO, max_tokens=1)
        assert busy.value.code == "fleet_saturated"
        assert int(busy.value.response.headers["retry-after"]) >= 1
        assert busy.value.request_id is not None
    site.quiet("full")


def test_an_upstreams_own_refusal_of_the_request_passes_through(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="chat", messages=HELLO, max_tokens=1_000_000)
    assert "maximum context length" in refused.value.message
