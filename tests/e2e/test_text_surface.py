"""Every text endpoint through a real gateway, with the official SDKs as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from openai.types.responses import FunctionToolParam

from tests.gateways import HASTY, KEY, NARROW_KEY, Lane, Site

LANES = [
    Lane("home", workers=2, seats=16),
    Lane("spill", seats=1),
    Lane("full", seats=1, cloud=False, route={"max_wait": 0}),
    Lane("bought", route={"backends": ["bought-api"], "spill": None}),
    Lane("plain", worker={"engine": "openai"}),
    Lane("said", backend={"endpoints": ["chat/completions"]}, cloud=False),
    Lane("claimed", route={"backends": ["claimed-api"], "spill": None}, managed={"endpoints": ["messages"]}),
    Lane("broken", cloud=False, route={"attempts": 1}),
    Lane("last", cloud=False),
]
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
EXACT = {"ignore_eos": True}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
ARGUMENTS = {"city": "sim", "days": 1}
OPENAI_TOOL = FunctionToolParam(type="function", name="weather", parameters=dict(SCHEMA), strict=False)
TOOL: Any = {"name": "weather", "description": "The weather.", "input_schema": SCHEMA}


@pytest.fixture
def client(site: Site) -> Iterator[openai.OpenAI]:
    with site.sdk() as made:
        yield made


@pytest.fixture
def claude(site: Site) -> Iterator[anthropic.Anthropic]:
    with site.anthropic_sdk() as made:
        yield made


def usage_on_receipt(site: Site, request_id: str | None) -> tuple[int, int, bool]:
    assert request_id is not None
    usage = site.receipt(request_id)["usage"]
    return usage["input_tokens"], usage["output_tokens"], usage["estimated"]


# responses


def test_a_response(site: Site, client: openai.OpenAI) -> None:
    raw = client.responses.with_raw_response.create(
        model="home", input="hello", instructions="be brief", max_output_tokens=5, extra_body=EXACT
    )
    response = raw.parse()
    assert len(response.output_text.split()) == 5
    assert (response.status, response.usage and response.usage.output_tokens) == ("incomplete", 5)
    assert response.usage is not None
    assert usage_on_receipt(site, raw.headers["x-request-id"]) == (response.usage.input_tokens, 5, False)
    assert float(raw.headers["x-gateway-cost-usd"]) > 0


def test_a_streamed_response_is_passed_event_by_event(site: Site, client: openai.OpenAI) -> None:
    with client.responses.with_streaming_response.create(
        model="home", input="hello", max_output_tokens=6, stream=True, extra_body=EXACT
    ) as raw:
        events = list(raw.parse())
        request_id = raw.headers["x-request-id"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds.count("response.output_text.delta") == 6
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.usage is not None
    assert usage_on_receipt(site, request_id) == (last.response.usage.input_tokens, 6, False)


def test_the_sdks_own_accumulation_of_a_streamed_response(client: openai.OpenAI) -> None:
    with client.responses.stream(model="home", input="hello") as stream:
        final = stream.get_final_response()
    assert final.status == "completed"
    assert final.output_text
    with client.responses.stream(model="home", input="hello", tools=[OPENAI_TOOL], tool_choice="required") as stream:
        call = stream.get_final_response().output[0]
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("weather", ARGUMENTS)


def test_a_response_spills(site: Site, client: openai.OpenAI) -> None:
    with site.occupied("spill"):
        raw = client.responses.with_raw_response.create(model="spill", input="hello", max_output_tokens=4)
        assert raw.headers["x-gateway-outcome"] == "spilled"
        with client.responses.with_streaming_response.create(
            model="spill", input="hello", max_output_tokens=4, stream=True
        ) as streamed:
            assert streamed.headers["x-gateway-outcome"] == "spilled"
            assert [event.type for event in streamed.parse()][-1] in ("response.completed", "response.incomplete")
            request_id = streamed.headers["x-request-id"]
    receipt = site.receipt(request_id)
    assert receipt["cost"]["basis"] == "list"
    assert receipt["usage"]["estimated"] is False


@pytest.mark.parametrize("given", [{}, {"store": None}, {"store": False}], ids=str)
@pytest.mark.parametrize("lane", ["home", "bought"])
def test_nothing_is_stored_unless_asked(client: openai.OpenAI, lane: str, given: dict[str, Any]) -> None:
    """Left out, the API would keep the response: the simulated servers tell what they would do."""
    response = client.responses.create(model=lane, input="hello", max_output_tokens=2, extra_body=given)
    assert response.to_dict()["store"] is False


def test_asked_to_store_is_a_known_field(site: Site, client: openai.OpenAI) -> None:
    raw = client.responses.with_raw_response.create(model="home", input="hello", max_output_tokens=2, store=True)
    assert raw.parse().to_dict()["store"] is False
    assert site.receipt(raw.headers["x-request-id"])["removed"] == ["store"]
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="bought", input="hello", store=True)
    assert refused.value.param == "store"


@pytest.mark.parametrize("state", [{"previous_response_id": "resp_1"}, {"conversation": "c"}, {"background": True}])
def test_state_that_one_upstream_holds_is_refused(client: openai.OpenAI, state: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="home", input="hello", **state)
    assert refused.value.param == next(iter(state))


# embeddings


def test_embeddings_come_as_base64_and_as_floats(site: Site, client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(model="home", input=["one", "two"], dimensions=4)
    made = raw.parse()
    assert [row.embedding for row in made.data] == [[1.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]]
    assert usage_on_receipt(site, raw.headers["x-request-id"]) == (made.usage.prompt_tokens, 0, False)
    plain = client.embeddings.create(model="home", input="one", encoding_format="float")
    assert plain.data[0].embedding[0] == 1.0


@pytest.mark.parametrize("given", ["text", ["a", "b"], [1, 2, 3], [[1, 2], [3]]], ids=str)
@pytest.mark.parametrize("lane", ["home", "bought", "plain"])
def test_every_kind_of_input_everywhere(client: openai.OpenAI, lane: str, given: Any) -> None:
    assert client.embeddings.create(model=lane, input=given).data


def test_the_most_that_embeddings_can_cost_is_known(client: openai.OpenAI) -> None:
    made = client.embeddings.with_raw_response.create(
        model="bought", input="hello", extra_headers={"X-Gateway-Max-Cost-Usd": "0.001"}
    )
    assert float(made.headers["x-gateway-cost-usd"]) < 0.001


# messages


def test_a_message(site: Site, claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(model="home", messages=HELLO, system="be brief", max_tokens=5, extra_body=EXACT)
    block = message.content[0]
    assert block.type == "text"
    assert len(block.text.split()) == 5
    assert message.stop_reason == "max_tokens"
    assert usage_on_receipt(site, message._request_id) == (message.usage.input_tokens, 5, False)


def test_a_streamed_message(site: Site, claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model="home", messages=HELLO, max_tokens=6, extra_body=EXACT) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
        request_id = stream.request_id
    assert len(text.split()) == 6
    assert (final.usage.output_tokens, final.stop_reason) == (6, "max_tokens")
    assert usage_on_receipt(site, request_id) == (final.usage.input_tokens, 6, False)


def test_message_tools_plain_and_streamed(claude: anthropic.Anthropic) -> None:
    asked: Any = {"model": "home", "messages": HELLO, "max_tokens": 60, "tools": [TOOL], "tool_choice": {"type": "any"}}
    plain = claude.messages.create(**asked)
    with claude.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    for message in (plain, streamed):
        block: Any = message.content[0]
        assert block.type == "tool_use"
        assert (block.name, block.input, message.stop_reason) == ("weather", ARGUMENTS, "tool_use")


def test_counting_tokens_costs_nothing(site: Site, claude: anthropic.Anthropic) -> None:
    raw = claude.messages.with_raw_response.count_tokens(model="home", messages=HELLO)
    assert raw.parse().input_tokens > 0
    receipt = site.receipt(raw.headers["request-id"])
    assert (receipt["usage"]["input_tokens"], receipt["cost"]["usd"]) == (0, 0.0)


def test_only_its_own_headers_go_up(site: Site, claude: anthropic.Anthropic) -> None:
    claude.with_options(default_headers={"anthropic-beta": "a,b", "Cookie": "c=d"}).messages.create(
        model="last", messages=HELLO, max_tokens=1
    )
    (seen,) = site.fleet.requests("last-1")
    assert {"anthropic-version", "anthropic-beta"} <= set(seen["header_names"])
    assert not {"cookie", "x-api-key", "authorization", "x-stainless-lang", "user-agent"} & set(seen["header_names"])


def test_either_way_to_send_the_key(site: Site) -> None:
    body = {"model": "home", "messages": HELLO, "max_tokens": 1}
    for given in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
        assert site.http.post("/v1/messages", json=body, headers={"authorization": "", **given}).status_code == 200


# errors


def test_errors_have_the_classes_of_anthropics_sdk(site: Site, claude: anthropic.Anthropic) -> None:
    with site.anthropic_sdk(key="nobody") as stranger, pytest.raises(anthropic.AuthenticationError) as unknown:
        stranger.messages.create(model="home", messages=HELLO, max_tokens=1)
    assert (unknown.value.type, unknown.value.error_code) == ("authentication_error", "invalid_key")
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(model="nonesuch", messages=HELLO, max_tokens=1)
    assert (missing.value.type, missing.value.error_code) == ("not_found_error", "model_not_found")
    with site.anthropic_sdk(key=NARROW_KEY) as narrow, pytest.raises(anthropic.PermissionDeniedError) as denied:
        narrow.messages.create(model="home", messages=HELLO, max_tokens=1)
    assert (denied.value.type, denied.value.error_code) == ("permission_error", "model_not_allowed")
    with pytest.raises(anthropic.BadRequestError) as far:
        claude.messages.create(model="home", messages=HELLO, max_tokens=1, extra_headers={"X-Data-Residency": "mars"})
    assert (far.value.type, far.value.error_code) == ("invalid_request_error", "residency_unknown")
    assert far.value.request_id == far.value.response.headers["x-request-id"]
    with pytest.raises(anthropic.BadRequestError) as short:
        claude.post("/v1/messages", body={"model": "home", "messages": HELLO}, cast_to=object)
    assert "max_tokens" in short.value.message
    with pytest.raises(anthropic.PaymentRequiredError) as dear:
        claude.messages.create(
            model="claimed", messages=HELLO, max_tokens=1, extra_headers={"X-Gateway-Max-Cost-Usd": "0"}
        )
    assert (dear.value.type, dear.value.error_code) == ("billing_error", "max_cost_exceeded")


def test_a_full_fleet_is_a_rate_limit_in_anthropics_words(site: Site, claude: anthropic.Anthropic) -> None:
    with site.occupied("full"), pytest.raises(anthropic.RateLimitError) as busy:
        claude.messages.create(model="full", messages=HELLO, max_tokens=1)
    assert (busy.value.type, busy.value.error_code) == ("rate_limit_error", "fleet_saturated")
    assert int(busy.value.response.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/v1/messages/batches", 404), ("GET", "/v1/messages", 405)]
)
def test_paths_that_lead_nowhere_answer_in_the_shape_of_their_family(
    site: Site, method: str, path: str, status: int
) -> None:
    answer = site.http.request(method, path, json={})
    assert answer.status_code == status
    assert answer.json()["type"] == "error"
    assert answer.json()["request_id"] == answer.headers["request-id"]
    assert "type" not in site.http.request(method, "/v1/messagesque").json()


def test_an_engines_own_refusal_passes_through(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(model="home", messages=HELLO, max_tokens=1_000_000)
    assert "maximum context length" in refused.value.message
    assert refused.value.error_code is None


# what breaks off


@pytest.fixture
def cut(site: Site) -> Iterator[None]:
    site.fleet.config("broken-1", drop_mid_stream={"share": 1.0, "after_frames": 3})
    yield
    site.fleet.config("broken-1", clear=True)


@pytest.mark.usefixtures("cut")
def test_a_response_that_breaks_off_keeps_its_text_and_raises(client: openai.OpenAI) -> None:
    events: list[Any] = []
    stream = client.responses.create(model="broken", input="hello", stream=True, extra_body=EXACT)
    with pytest.raises(openai.APIError) as broke:
        events.extend(stream)  # what came before the error stays in the list
    assert broke.value.code == "upstream_error"
    assert [event.type for event in events].count("response.output_text.delta") == 3


@pytest.mark.usefixtures("cut")
def test_the_error_event_of_a_response_is_numbered(site: Site) -> None:
    body = {"model": "broken", "input": "hello", "stream": True, **EXACT}
    frames = site.http.post("/v1/responses", json=body).text.split("\n\n")
    name, data = frames[-2].split("\n")
    event = json.loads(data.removeprefix("data: "))
    before = json.loads(frames[-3].split("\n")[1].removeprefix("data: "))
    assert (name, event["type"], event["code"], event["param"]) == ("event: error", "error", "upstream_error", None)
    assert event["sequence_number"] == before["sequence_number"] + 1


@pytest.mark.usefixtures("cut")
def test_a_message_that_breaks_off_keeps_its_text_and_raises(site: Site, claude: anthropic.Anthropic) -> None:
    text: list[str] = []
    with (
        claude.messages.stream(model="broken", messages=HELLO, max_tokens=100, extra_body=EXACT) as stream,
        pytest.raises(anthropic.APIStatusError) as broke,
    ):
        text.extend(stream.text_stream)
    assert (broke.value.type, broke.value.error_code) == ("api_error", "upstream_error")
    assert len(text) == 3
    receipt = site.receipt(str(broke.value.request_id))
    assert (receipt["error"], receipt["attempts"][0]["result"]) == ("upstream_error", "broke_off")


# who speaks what


@pytest.mark.parametrize(
    ("lane", "path", "status", "drops"),
    [
        ("home", "messages", 200, {}),
        ("home", "messages/count_tokens", 200, {"capability": 1}),
        ("bought", "messages", 200, {}),
        ("bought", "messages/count_tokens", 404, None),
        ("plain", "messages", 200, {}),
        ("plain", "responses", 200, {"capability": 1}),
        ("plain", "embeddings", 200, {}),
        ("said", "responses", 404, None),
        ("said", "chat/completions", 200, {}),
    ],
)
def test_who_does_not_speak_an_endpoint_is_never_asked(
    site: Site, lane: str, path: str, status: int, drops: dict[str, int] | None
) -> None:
    names = [name for name in (f"{lane}-1", f"{lane}-api") if name != "said-api"]
    before = {name: len(site.fleet.requests(name)) for name in names}
    body = {"model": lane, "messages": HELLO, "input": "hello", "max_tokens": 2, "max_output_tokens": 2}
    answer = site.http.post(f"/v1/{path}", json=body)
    assert answer.status_code == status
    if drops is None:
        assert {name: len(site.fleet.requests(name)) for name in names} == before
    else:
        assert site.receipt(answer)["drops"] == drops
    if lane == "plain" and path == "responses":
        assert (answer.headers["x-gateway-outcome"], answer.headers["x-gateway-reason"]) == ("spilled", "capability")


def test_a_message_spills_to_an_api_that_does_not_speak_it_in_words_that_it_does(
    site: Site, claude: anthropic.Anthropic
) -> None:
    with site.occupied("spill"):
        message = claude.messages.create(model="spill", messages=HELLO, max_tokens=3, extra_headers=HASTY)
    assert (message.type, message.usage.output_tokens) == ("message", 3)
    assert site.fleet.requests("spill-api")[-1]["path"] == "/v1/chat/completions"


def test_counting_tokens_does_not_spill_to_an_api_that_has_no_such_thing(
    site: Site, claude: anthropic.Anthropic
) -> None:
    with site.occupied("spill"), pytest.raises(anthropic.RateLimitError):
        claude.messages.count_tokens(model="spill", messages=HELLO, extra_headers=HASTY)
    assert not [seen for seen in site.fleet.requests("spill-api") if "messages" in seen["path"]]
