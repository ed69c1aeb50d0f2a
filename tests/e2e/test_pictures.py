"""Pictures through the official SDK, real sockets on both sides."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import openai
import pytest

from tests.gateways import KEY
from tests.studio import (
    PICTURE_USAGE,
    Gallery,
    after,
    dies,
    gallery,
    painted,
    painted_events,
    picture,
    refuses,
)

LIMIT = 300_000
"""GATEWAY_ANSWER_BYTES of this gateway."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    env = {"GATEWAY_ANSWER_BYTES": str(LIMIT), "GATEWAY_MAX_BODY_BYTES": "2000000", "GATEWAY_IMAGE_PIXELS": "1000000"}
    with gallery(tmp_path_factory.mktemp("gallery"), env) as running:
        yield running


@pytest.fixture
def shown(place: Gallery) -> Gallery:
    place.rehearse()
    return place


@pytest.fixture
def client(shown: Gallery) -> Iterator[openai.OpenAI]:
    with shown.site.sdk() as made:
        yield made


def receipt(shown: Gallery, request_id: str | None) -> dict[str, Any]:
    assert request_id is not None
    return shown.site.receipt(request_id)


def test_pictures_come_with_their_usage_and_price(shown: Gallery, client: openai.OpenAI) -> None:
    raw = client.images.with_raw_response.generate(
        model="pic-api", prompt="a fox", n=2, size="1024x1024", quality="high"
    )
    made = raw.parse()
    assert [base64.b64decode(one.b64_json or "") for one in made.data or []] == [picture()] * 2
    assert made.usage is not None
    assert made.usage.output_tokens == PICTURE_USAGE["output_tokens"]
    assert raw.headers["x-gateway-cost-usd"] == "0.080000"
    (seen,) = shown.theirs.seen
    assert seen.path == "/v1/images/generations"
    assert seen.json == {"model": "gpt-image-2", "prompt": "a fox", "n": 2, "size": "1024x1024", "quality": "high"}
    assert seen.headers["authorization"] == "Bearer secret-of-the-api"
    told = receipt(shown, raw.headers["x-request-id"])
    assert told["usage"] == {
        "input_tokens": 12,
        "output_tokens": 1056,
        "cached_tokens": 0,
        "estimated": False,
        "images": 2,
        "quality": "high",
        "size": "1024x1024",
    }
    assert told["cost"]["usd"] == 0.08


def test_fields_that_nobody_knows_pass_to_who_guards_itself(shown: Gallery, client: openai.OpenAI) -> None:
    client.images.generate(
        model="pic-api",
        prompt="a fox",
        size="auto",
        background="transparent",
        extra_body={"num_inference_steps": 4, "lora": {"a": [1, 2.50]}},
    )
    (seen,) = shown.seen
    assert seen.json["lora"] == {"a": [1, 2.5]}
    assert seen.json["num_inference_steps"] == 4
    assert (seen.json["size"], seen.json["background"]) == ("auto", "transparent")


@pytest.mark.parametrize("large", [False, True])
def test_a_stream_of_partial_pictures(shown: Gallery, client: openai.OpenAI, large: bool) -> None:
    data = picture("PNG", 600, 500) if large else picture()
    shown.theirs.acts.append(lambda handler, seen: painted_events(handler, seen, data))
    with client.images.with_streaming_response.generate(
        model="pic-api", prompt="a fox", stream=True, partial_images=2
    ) as raw:
        events = list(raw.parse())
        name = raw.headers["x-request-id"]
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert all(base64.b64decode(event.b64_json) == data for event in events)
    told = receipt(shown, name)
    assert told["usage"]["images"] == 1
    assert (told["usage"]["output_tokens"], told["usage"]["estimated"]) == (1056, False)
    assert told["cost"]["usd"] == 0.04


def test_a_stream_that_breaks_off_ends_with_an_error(shown: Gallery, client: openai.OpenAI) -> None:
    shown.theirs.acts.append(lambda handler, seen: painted_events(handler, seen, upto=1))
    with client.images.with_streaming_response.generate(
        model="pic-api", prompt="a fox", stream=True, partial_images=2
    ) as raw:
        seen = []
        with pytest.raises(openai.APIError, match="broke off"):
            seen += list(raw.parse())
        name = raw.headers["x-request-id"]
    told = receipt(shown, name)
    assert told["error"] == "upstream_error"
    assert (told["usage"]["images"], told["usage"]["estimated"]) == (1, True)
    assert len(shown.seen) == 1


@pytest.mark.parametrize("several", [False, True])
def test_edits_go_up_as_a_form_of_our_own(shown: Gallery, client: openai.OpenAI, several: bool) -> None:
    given = [("../../etc/passwd", picture("PNG"), "text/x-evil"), ("b\x00.jpg", picture("JPEG"), "image/jpeg")]
    images = given if several else given[0]
    client.images.edit(
        model="pic-api",
        image=images,
        mask=("/etc/shadow", picture("PNG", 8, 8), "image/png"),
        prompt="naïve 123",
        n=2,
        size="1024x1536",
        extra_body={"input_fidelity": "high", "guidance": 7.50, "tags": ["a", "b"]},
    )
    (seen,) = shown.theirs.seen
    fields, files = seen.form
    assert seen.path == "/v1/images/edits"
    assert fields == {
        "model": ["gpt-image-2"],
        "prompt": ["naïve 123"],
        "n": ["2"],
        "size": ["1024x1536"],
        "input_fidelity": ["high"],
        "guidance": ["7.5"],
        "tags[]": ["a", "b"],
    }
    mask = ("mask", "mask.png", "image/png", picture("PNG", 8, 8))
    first = ("image[]" if several else "image", "image-0.png", "image/png", picture("PNG"))
    second = ("image[]", "image-1.jpg", "image/jpeg", picture("JPEG"))
    assert files == ([first, second, mask] if several else [first, mask])
    assert b"passwd" not in seen.raw
    assert b"shadow" not in seen.raw


def test_edits_in_json_go_up_as_a_form_too(shown: Gallery) -> None:
    url = "data:image/png;base64," + base64.b64encode(picture("WEBP")).decode()
    body = {"model": "pic", "prompt": "a fox", "images": [{"image_url": url}], "seed": 7, "user": "123"}
    answer = shown.site.http.post("/v1/images/edits", json=body)
    assert answer.status_code == 200, answer.text
    fields, files = shown.seen[0].form
    assert fields == {"model": ["weights"], "prompt": ["a fox"], "seed": ["7"], "user": ["123"]}
    assert files == [("image", "image-0.webp", "image/webp", picture("WEBP"))]
    assert shown.site.receipt(answer)["usage"]["images"] == 1


def test_an_edit_can_stream(shown: Gallery, client: openai.OpenAI) -> None:
    events = list(
        client.images.edit(model="pic-api", image=BytesIO(picture()), prompt="x", stream=True, partial_images=1)
    )
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]


def test_more_than_is_held_back_is_passed_on(shown: Gallery, client: openai.OpenAI) -> None:
    data = picture("PNG", 700, 700)
    shown.theirs.acts.append(painted(2, data))
    raw = client.images.with_raw_response.generate(model="pic-api", prompt="a fox", n=2)
    assert len(raw.content) > LIMIT
    assert [base64.b64decode(one.b64_json or "") for one in raw.parse().data or []] == [data] * 2
    told = receipt(shown, raw.headers["x-request-id"])
    assert (told["usage"]["images"], told["usage"]["estimated"], told["cost"]["usd"]) == (2, False, 0.08)


def test_one_that_breaks_off_is_cut(shown: Gallery) -> None:
    def broken(handler: Any, seen: Any) -> None:
        handler.begin("application/json")
        handler.piece(b'{"data":[{"b64_json":"' + b"A" * (LIMIT + 10))
        handler.die()

    shown.theirs.acts.append(broken)
    asked = shown.site.http.stream("POST", "/v1/images/generations", json={"model": "pic-api", "prompt": "x"})
    with asked as answer, pytest.raises(httpx.RemoteProtocolError):
        answer.read()
    told = receipt(shown, answer.headers["x-request-id"])
    assert (told["error"], told["usage"]["images"], told["usage"]["estimated"]) == ("upstream_error", 1, True)


@pytest.mark.parametrize("model", ["pic", "pic-both"])
@pytest.mark.parametrize("fault", [dies, refuses(500), painted(0)])
def test_a_worker_that_fails_leaves_it_to_another(
    shown: Gallery, client: openai.OpenAI, model: str, fault: Any
) -> None:
    for one in shown.ours:
        one.acts.append(fault)
    shown.ours[0].acts.append(painted())
    shown.ours[1].acts.append(painted())
    if model == "pic":
        with pytest.raises(openai.InternalServerError):
            client.images.generate(model=model, prompt="x")
    else:
        assert client.images.generate(model=model, prompt="x").data
    assert [len(one.seen) for one in (*shown.ours, shown.theirs)] == [1, 1, int(model == "pic-both")]


@pytest.mark.parametrize("fault", [dies, refuses(500), refuses(502), painted(0)])
def test_a_paid_picture_whose_answer_was_lost_is_never_ordered_again(
    shown: Gallery, client: openai.OpenAI, fault: Any
) -> None:
    shown.theirs.acts.append(fault)
    with pytest.raises(openai.InternalServerError) as failed:
        client.images.generate(model="pic-api", prompt="x")
    assert len(shown.theirs.seen) == 1
    assert failed.value.response.headers["x-should-retry"] == "false"


def test_usage_that_cannot_be_true_is_not_believed(shown: Gallery, client: openai.OpenAI) -> None:
    shown.theirs.acts.append(painted(5))
    raw = client.images.with_raw_response.generate(model="pic-api", prompt="x", n=1)
    told = receipt(shown, raw.headers["x-request-id"])
    assert (told["usage"]["images"], told["usage"]["estimated"]) == (1, True)


def test_a_slow_picture_is_waited_for(shown: Gallery, client: openai.OpenAI) -> None:
    shown.theirs.acts.append(after(1.0, painted()))
    assert client.images.generate(model="pic-api", prompt="x").data


def test_nothing_of_it_is_logged(shown: Gallery, client: openai.OpenAI) -> None:
    client.images.edit(model="pic", image=picture(), prompt="a secret fox")
    text = shown.site.logged()
    assert "secret" not in text
    assert KEY not in text
