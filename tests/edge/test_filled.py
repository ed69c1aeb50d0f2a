"""Results of orders in the shapes that OpenAI's client reads, whole and streamed."""

from __future__ import annotations

import base64
import json

import httpx
import msgspec
import openai
import pytest

from gateway.edge.filled import answer
from gateway.edge.ordering import prompt_of, used
from gateway.errors import InvalidRequest
from gateway.model import MediaAsk, Usage
from gateway.upstreams.dialects.ordering import Order, Piece, Told

PNG, MP3 = ("image/png", b"\x89PNG"), ("audio/mpeg", b"ID3")


def order(endpoint: str, **ask: object) -> Order:
    return Order(endpoint=endpoint, model="m", ask=MediaAsk(**ask), prompt="a cat")  # type: ignore[arg-type]


def client(kind: str, body: bytes) -> openai.OpenAI:
    """The official client, in front of exactly this answer."""
    reply = httpx.MockTransport(lambda _: httpx.Response(200, headers={"content-type": kind}, content=body))
    return openai.OpenAI(api_key="k", base_url="http://gateway/v1", http_client=httpx.Client(transport=reply))


def test_pictures() -> None:
    kind, body = answer(order("images/generations", n=2), [PNG, PNG], Usage(0, 0, images=2), stream=False, now=7)
    with client(kind, body) as sdk:
        made = sdk.images.generate(prompt="x", model="m")
    assert made.created == 7
    assert made.data is not None
    assert [base64.b64decode(one.b64_json or "") for one in made.data] == [PNG[1]] * 2
    assert made.usage is None


def test_pictures_that_are_sold_by_tokens() -> None:
    told = Usage(50, 1000, input_image_tokens=40, images=1)
    kind, body = answer(order("images/edits"), [PNG], told, stream=False, now=7)
    with client(kind, body) as sdk:
        usage = sdk.images.generate(prompt="x", model="m").usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (50, 1000, 1050)
    assert (usage.input_tokens_details.text_tokens, usage.input_tokens_details.image_tokens) == (10, 40)


def test_a_stream_of_pictures_has_an_event_for_each() -> None:
    kind, body = answer(order("images/generations", size="1x2"), [PNG, PNG], Usage(1, 2), stream=True, now=7)
    with client(kind, body) as sdk:
        events = list(sdk.images.generate(prompt="x", model="m", stream=True))
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert [base64.b64decode(event.b64_json) for event in events] == [PNG[1]] * 2
    assert events[0].size == "1x2"
    assert json.loads(body.split(b"data: ")[-1])["usage"]["total_tokens"] == 3


def test_speech_is_given_as_it_is() -> None:
    assert answer(order("audio/speech"), [MP3], Usage(0, 0), stream=False, now=7) == MP3


def test_a_stream_of_speech() -> None:
    kind, body = answer(order("audio/speech"), [MP3], Usage(5, 9), stream=True, now=7)
    delta, done = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: ")]
    assert kind == "text/event-stream"
    assert (delta["type"], base64.b64decode(delta["audio"])) == ("speech.audio.delta", MP3[1])
    assert (done["type"], done["usage"]["total_tokens"]) == ("speech.audio.done", 14)


@pytest.mark.parametrize(
    ("endpoint", "ask", "pieces", "expected"),
    [
        ("images/generations", {"n": 4, "size": "1x1"}, 3, {"images": 3, "size": "1x1"}),
        ("videos", {"seconds": 8.0}, 1, {"seconds": 8.0}),
        ("videos", {"seconds": 8.0, "n": 4}, 4, {"seconds": 32.0}),
        ("videos", {"seconds": 8.0, "n": 4}, 3, {"seconds": 24.0}),
        ("audio/speech", {"characters": 12}, 1, {"characters": 12}),
    ],
)
def test_what_was_made_is_what_was_asked_for(
    endpoint: str, ask: dict[str, object], pieces: int, expected: dict[str, object]
) -> None:
    told = Told(state="succeeded", pieces=(Piece("image/png", data=b""),) * pieces)
    usage = used(order(endpoint, **ask), told)
    assert {name: getattr(usage, name) for name in expected} == expected


def test_what_the_upstream_tells_goes_first() -> None:
    usage = Usage(1, 2)
    assert used(order("videos"), Told(state="succeeded", usage=usage)) == usage


def test_what_the_upstream_leaves_out_is_known_from_the_order() -> None:
    """Prices are by size and quality, whoever tells them."""
    asked = order("images/generations", n=2, size="2K", quality="high", inputs=1)
    told = Told(state="succeeded", pieces=(Piece("image/png", data=b""),), usage=Usage(0, 0, images=1))
    assert used(asked, told) == Usage(0, 0, images=1, size="2K", quality="high", input_images=1)


@pytest.mark.parametrize(
    ("endpoint", "ask", "told", "booked"),
    [
        ("videos", {"seconds": 8.0}, Usage(0, 0, seconds=1e9), {"seconds": 8.0}),
        ("images/generations", {"n": 2}, Usage(0, 0, images=10**9), {"images": 1}),
        ("audio/speech", {"characters": 10}, Usage(0, 0, characters=10**6), {"characters": 10}),
    ],
)
def test_what_cannot_be_true_is_not_booked(
    endpoint: str, ask: dict[str, object], told: Usage, booked: dict[str, object]
) -> None:
    usage = used(order(endpoint, **ask), Told(state="succeeded", pieces=(Piece("a/b", data=b""),), usage=told))
    assert {name: getattr(usage, name) for name in booked} == booked
    assert (usage.absurd, usage.estimated) == (True, True)


def test_what_may_be_true_is_believed() -> None:
    """A Chinese character counts as two, a prediction is charged by its run."""
    speech = Told(state="succeeded", usage=Usage(0, 0, characters=20))
    assert used(order("audio/speech", characters=10), speech) == Usage(0, 0, characters=20)
    run = Told(state="succeeded", pieces=(Piece("image/png", data=b""),), usage=Usage(0, 0, seconds=900.0))
    assert used(order("images/generations"), run).seconds == 900.0


@pytest.mark.parametrize(
    ("fields", "prompt"), [({"prompt": "x"}, "x"), ({"input": "x"}, "x"), ({"prompt": None}, ""), ({"n": 1}, "")]
)
def test_where_the_prompt_is(fields: dict[str, object], prompt: str) -> None:
    assert prompt_of({name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}) == prompt


def test_a_prompt_is_a_text() -> None:
    with pytest.raises(InvalidRequest) as refused:
        prompt_of({"input": msgspec.Raw(b"[1]")})
    assert refused.value.param == "input"
