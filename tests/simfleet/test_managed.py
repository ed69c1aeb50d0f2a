"""The managed API, with the official SDK."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import openai
import pytest

from loadtests.simfleet.harness import SimFleet

from .conftest import Sdk, chat
from .test_worker import WEATHER


def test_plain_chat(fleet: SimFleet, sdk: Sdk) -> None:
    api = fleet.managed[0]
    answer = sdk(api).chat.completions.create(**chat(api), max_completion_tokens=8, extra_body={"ignore_eos": True})
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len((answer.choices[0].message.content or "").split()) == 8


def test_streamed_chat_sends_several_tokens_a_chunk(fleet: SimFleet, sdk: Sdk) -> None:
    api = fleet.managed[0]
    stream = sdk(api).chat.completions.create(
        **chat(api, user="u-9"),
        max_tokens=90,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    )
    *chunks, last = list(stream)
    words = [len((chunk.choices[0].delta.content or "").split()) for chunk in chunks]
    assert sum(words) == 90
    assert max(words) > 1
    assert chunks[-1].choices[0].finish_reason == "length"
    assert last.usage is not None
    assert last.usage.completion_tokens == 90
    assert {chunk.system_fingerprint for chunk in (*chunks, last)} == {"u-9"}


def test_tools(fleet: SimFleet, sdk: Sdk) -> None:
    api = fleet.managed[0]
    with sdk(api).chat.completions.stream(**chat(api), tools=[WEATHER], tool_choice="required") as stream:
        (call,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "sim"}


def test_the_key_is_required_in_openais_shape(fleet: SimFleet, sdk: Sdk) -> None:
    api = fleet.managed[0]
    with pytest.raises(openai.AuthenticationError) as caught:
        sdk(api, key="wrong").chat.completions.create(**chat(api))
    assert caught.value.code == "invalid_api_key"


def test_unknown_and_missing_models(fleet: SimFleet, sdk: Sdk) -> None:
    api = fleet.managed[0]
    with pytest.raises(openai.NotFoundError) as caught:
        sdk(api).chat.completions.create(**chat(api) | {"model": "gpt-0"})
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        sdk(api).post("/chat/completions", body={"messages": [{"role": "user", "content": "x"}]}, cast_to=object)


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("payment_required", openai.APIStatusError, "credit_balance_exhausted"),
        ("invalid_key", openai.AuthenticationError, "invalid_api_key"),
        ("insufficient_quota", openai.RateLimitError, "insufficient_quota"),
    ],
)
def test_faults_of_our_account(
    fleet: SimFleet, sdk: Sdk, fault: str, error: type[openai.APIStatusError], code: str
) -> None:
    api = fleet.managed[0]
    fleet.config(api.name, account=fault)
    with pytest.raises(error) as caught:
        sdk(api).chat.completions.create(**chat(api))
    assert caught.value.code == code
    assert "retry-after" not in caught.value.response.headers


def test_rate_limits(fleet: SimFleet, sdk: Sdk) -> None:
    api = fleet.managed[0]
    fleet.config(api.name, rpm=2, tpm=100_000)
    client = sdk(api)
    good = [client.chat.completions.with_raw_response.create(**chat(api), max_tokens=5) for _ in range(2)]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in good] == ["1", "0"]
    assert good[0].headers["x-ratelimit-limit-tokens"] == "100000"
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(**chat(api), max_tokens=5)
    headers = caught.value.response.headers
    assert (caught.value.code, headers["x-ratelimit-limit-requests"]) == ("rate_limit_exceeded", "2")
    assert 1 <= int(headers["retry-after"]) <= 30
    assert headers["x-ratelimit-reset-requests"].endswith("s")
    fleet.config(api.name, rpm=None, tpm=None)
    free = client.chat.completions.with_raw_response.create(**chat(api), max_tokens=5)
    assert not any(name.startswith("x-ratelimit") for name in free.headers)


def test_a_client_that_leaves_stops_the_answer(fleet: SimFleet, http: httpx.Client) -> None:
    api = fleet.managed[0]
    before = fleet.state(api.name)["aborted"]
    headers = {"authorization": "Bearer sim-managed-key"}
    body = chat(api, stream=True, max_tokens=16_000, ignore_eos=True)
    with http.stream("POST", f"{api.url}/chat/completions", json=body, headers=headers):
        fleet.wait(api.name, lambda state: state["running"] == 1)
    fleet.wait(api.name, lambda state: state["running"] == 0 and state["aborted"] == before + 1)


async def test_five_hundred_streams_at_once_on_time(fleet: SimFleet) -> None:
    """Each keeps its own content, and together they end about when one alone would."""
    api = fleet.managed[0]

    async def one(nonce: str) -> int:
        body = chat(api, stream=True, max_tokens=200, ignore_eos=True, user=nonce)
        frames = await post_stream(api.port, json.dumps(body).encode())
        assert all(json.loads(frame)["system_fingerprint"] == nonce for frame in frames)
        return sum(
            len(choice["delta"].get("content", "").split()) for f in frames for choice in json.loads(f)["choices"]
        )

    began = time.monotonic()
    words = await asyncio.gather(*(one(f"n-{i}") for i in range(500)))
    assert set(words) == {200}
    assert time.monotonic() - began < 10.0


async def post_stream(port: int, body: bytes) -> list[Any]:
    """A minimal client, cheap enough for hundreds of streams: the data of every event."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer sim-managed-key\r\n"
    writer.write(f"{head}connection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    text = await reader.read()
    writer.close()
    return [line[6:] for line in text.splitlines() if line.startswith(b"data: ") and line != b"data: [DONE]"]
