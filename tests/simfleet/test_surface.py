"""The other text endpoints of the simulated servers, with the official SDKs straight at them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from loadtests.simfleet.harness import Server, SimFleet

from .conftest import Sdk

EXACT: dict[str, Any] = {"ignore_eos": True}
HELLO: Any = [{"role": "user", "content": "hello"}]


def servers(fleet: SimFleet) -> tuple[Server, Server]:
    return fleet.workers[0], fleet.managed[0]


@pytest.fixture
def claude(fleet: SimFleet) -> Iterator[anthropic.Anthropic]:
    client = anthropic.DefaultHttpxClient(trust_env=False)
    with anthropic.Anthropic(base_url=fleet.workers[0].url, api_key="k", max_retries=0, http_client=client) as made:
        yield made


def test_responses_whole_and_streamed_say_the_same(fleet: SimFleet, sdk: Sdk) -> None:
    for server in servers(fleet):
        asked: dict[str, Any] = {"model": server.model, "input": "hello", "max_output_tokens": 7, "extra_body": EXACT}
        whole = sdk(server).responses.create(**asked)
        events = list(sdk(server).responses.create(**asked, stream=True))
        assert [event.sequence_number for event in events] == list(range(len(events)))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        last = events[-1]
        assert last.type == "response.incomplete"
        assert (len(text.split()), last.response.output_text) == (7, text)
        for response in (whole, last.response):
            assert response.usage is not None
            assert (response.usage.output_tokens, len(response.output_text.split())) == (7, 7)


def test_embeddings_count_their_prompt_only(fleet: SimFleet, sdk: Sdk) -> None:
    for server in servers(fleet):
        made = sdk(server).embeddings.create(model=server.model, input=["one", "two"])
        assert [row.embedding[0] for row in made.data] == [1.0, 2.0]
        seen = fleet.requests(server.name)[-1]
        assert (seen["prompt_tokens"], seen["completion_tokens"]) == (made.usage.prompt_tokens, 0)


def test_messages_are_the_engines_alone(fleet: SimFleet, claude: anthropic.Anthropic, http: httpx.Client) -> None:
    worker, api = servers(fleet)
    message = claude.messages.create(model=worker.model, messages=HELLO, max_tokens=5, extra_body=EXACT)
    assert (message.usage.output_tokens, message.stop_reason) == (5, "max_tokens")
    counted = claude.messages.count_tokens(model=worker.model, messages=HELLO)
    assert counted.input_tokens == message.usage.input_tokens
    refused = http.post(f"{api.url}/messages", json={}, headers={"authorization": "Bearer sim-managed-key"})
    assert refused.status_code == 404


def test_errors_on_messages_have_anthropics_shape(fleet: SimFleet, claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        claude.messages.create(model="nonesuch", messages=HELLO, max_tokens=5)
    assert json.loads(caught.value.response.text)["type"] == "error"


def test_a_tool_call_cut_short_is_still_json(fleet: SimFleet, claude: anthropic.Anthropic, sdk: Sdk) -> None:
    worker = fleet.workers[0]
    schema: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
    message = claude.messages.create(
        model=worker.model,
        messages=HELLO,
        max_tokens=1,
        tools=[{"name": "weather", "input_schema": schema}],
        tool_choice={"type": "tool", "name": "weather"},
    )
    assert message.stop_reason == "max_tokens"
    tool: Any = {"type": "function", "name": "weather", "parameters": schema, "strict": False}
    choice: Any = {"type": "function", "name": "weather"}
    response = sdk(worker).responses.create(model=worker.model, input="x", tools=[tool], tool_choice=choice)
    assert isinstance(response, openai.types.responses.Response)
    assert response.output[0].type == "function_call"
