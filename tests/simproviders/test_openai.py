"""The simulated account at OpenAI by the official SDK: pictures, streamed and edited, sound both ways, and its bill."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from decimal import Decimal

import openai
import pytest
from PIL import Image

from loadtests.simfleet.files import png, wav
from loadtests.simproviders.openai import HEARD, ROOT, OpenAi
from loadtests.simproviders.serving import Running, serve


@pytest.fixture
def sim() -> Iterator[Running[OpenAi]]:
    with serve(OpenAi(key="k")) as running:
        yield running


@pytest.fixture
def sdk(sim: Running[OpenAi]) -> Iterator[openai.OpenAI]:
    plain = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=sim.url + ROOT, api_key="k", http_client=plain, max_retries=0) as client:
        yield client


def test_a_picture_has_its_size_and_costs_its_tokens(sim: Running[OpenAi], sdk: openai.OpenAI) -> None:
    made = sdk.images.generate(model="gpt-image-2", prompt="x" * 40, size="1024x1536", quality="low")
    with Image.open(io.BytesIO(base64.b64decode((made.data or [])[0].b64_json or ""))) as opened:
        assert opened.size == (1024, 1536)
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens) == (10, 408)
    assert sim.provider.bill() == Decimal("0.00005") + 408 * Decimal("0.00003")


def test_an_edit_is_charged_for_what_it_sees(sim: Running[OpenAi], sdk: openai.OpenAI) -> None:
    sdk.images.edit(model="gpt-image-2", prompt="fog", image=[("a.png", png(64, 64)), ("b.png", png(64, 64))])
    assert sim.provider.bill() == Decimal("0.000005") + 646 * Decimal("0.000008") + 1056 * Decimal("0.00003")


def test_a_stream_shows_the_picture_on_its_way(sdk: openai.OpenAI) -> None:
    stream = sdk.images.generate(model="gpt-image-2", prompt="fog", stream=True, partial_images=2)
    assert [event.type for event in stream] == [
        *["image_generation.partial_image"] * 2,
        "image_generation.completed",
    ]


def test_sound_both_ways(sim: Running[OpenAi], sdk: openai.OpenAI) -> None:
    said = sdk.audio.speech.create(model="tts-1", voice="alloy", input="x" * 1000, response_format="wav")
    assert said.read()[:4] == b"RIFF"
    heard = sdk.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav(2.5)))
    assert heard.text == HEARD
    assert sim.provider.bill() == Decimal("0.015") + 3 * Decimal("0.0001")


def test_what_it_refuses(sim: Running[OpenAi], sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        sdk.images.generate(model="dall-e-3", prompt="fog")
    with pytest.raises(openai.BadRequestError):
        sdk.images.generate(model="gpt-image-2", prompt="fog", quality="hd")
    with pytest.raises(openai.BadRequestError):
        sdk.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"no sound"))
    with pytest.raises(openai.AuthenticationError):
        sdk.with_options(api_key="other").images.generate(model="gpt-image-2", prompt="fog")
    assert sim.provider.submits == 0
