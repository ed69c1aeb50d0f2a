"""Bought pictures, speech and chat through a real gateway, each provider in its own language."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from loadtests.simproviders.ark import Ark
from loadtests.simproviders.azure import Azure
from loadtests.simproviders.base import Provider, Refuse
from loadtests.simproviders.dashscope import DashScope
from loadtests.simproviders.gmi import ROOT as GMI_ROOT
from loadtests.simproviders.gmi import Gmi
from loadtests.simproviders.samples import mp3
from loadtests.simproviders.serving import serve as serve_provider
from tests.gateways import Lane, Site, serve

ROOTS = {"gmi": GMI_ROOT, "ark": "/api/v3", "dashscope": "/api/v1", "azure": "/openai/v1"}
MODELS = [
    ("gmi-image", "image", "gmi", "gpt-image-2-generate"),
    ("gmi-edit", "image", "gmi", "gpt-image-2-edit"),
    ("gmi-voice", "audio", "gmi", "minimax-tts-speech-2.6-turbo"),
    ("seedream", "image", "ark", "doubao-seedream-5-0-lite-260128"),
    ("wan-image", "image", "dashscope", "wan2.6-t2i"),
    ("azure-chat", "text", "azure", "gpt-chat"),
]


@dataclass
class Market:
    site: Site
    providers: dict[str, Provider]


@pytest.fixture(scope="module")
def open_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with contextlib.ExitStack() as stack:
        made: list[Provider] = [Gmi(), Ark(), DashScope(), Azure()]
        running = {each.name: stack.enter_context(serve_provider(each)) for each in made}

        def written(files: dict[str, Any]) -> dict[str, Any]:
            for name, each in running.items():
                account = {"name": f"{name}-1", "url": each.url + ROOTS[name], "key": "sim-key"}
                bought = {"name": name, "kind": "managed", "zone": "us", "dialect": name, "simulated": True}
                files["backends.yaml"]["backends"].append({**bought, "upstreams": [account]})
            for name, modality, backend, known in MODELS:
                served = [{"backend": backend, "as": known, "price": PRICES[modality]}]
                files["models.yaml"]["models"].append({"name": name, "modality": modality, "served_by": served})
                rule = {"name": name, "match": {"model": name}, "route": {"backends": [backend]}}
                files["routing.yaml"]["rules"].append(rule)
            return files

        place: Path = tmp_path_factory.mktemp("market")
        site = stack.enter_context(serve(place, [Lane("text", cloud=False)], written=written))
        yield Market(site, {each.name: each for each in made})


PRICES: dict[str, dict[str, Any]] = {
    "image": {"per_image": 0.035},
    "audio": {"per_1k_chars": 0.06},
    "text": {"input_per_1m": 10, "output_per_1m": 10},
}


@pytest.fixture
def market(open_market: Market) -> Market:
    for each in open_market.providers.values():
        each.reset()
    return open_market


def opened(data: str | None) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(data or "")))
    image.load()
    return image


@pytest.mark.parametrize(
    ("model", "provider", "size"),
    [("gmi-image", "gmi", "1024x1024"), ("seedream", "ark", "2048x2048"), ("wan-image", "dashscope", "1280x1280")],
)
def test_pictures(market: Market, model: str, provider: str, size: Any) -> None:
    with market.site.sdk() as client:
        answer = client.images.with_raw_response.generate(model=model, prompt="a lighthouse", size=size)
    made = answer.parse()
    assert [opened(one.b64_json).size for one in made.data or []] == [(8, 8)]
    assert market.providers[provider].submits == 1
    receipt = market.site.receipt(answer.headers["x-request-id"])
    assert receipt["attempts"][0]["result"] == "answered"
    assert receipt["usage"]["images"] == 1
    assert Decimal(str(receipt["cost"]["usd"])) == Decimal("0.035")


def test_an_edit_and_speech_at_gmi(market: Market) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "PNG")
    with market.site.sdk() as client:
        made = client.images.edit(model="gmi-edit", prompt="fog", image=("a.png", picture.getvalue(), "image/png"))
        assert opened((made.data or [])[0].b64_json).size == (8, 8)
        said = client.audio.speech.create(model="gmi-voice", voice="Calm_Woman", input="hello")
    assert said.read() == mp3()
    assert market.providers["gmi"].submits == 2


def test_azure_chats_with_its_own_key_header(market: Market) -> None:
    with market.site.sdk() as client:
        said = client.chat.completions.create(model="azure-chat", messages=[{"role": "user", "content": "x"}])
    assert said.choices[0].message.content == "here it is"
    assert "authorization" not in market.providers["azure"].asks[0].headers


def test_an_api_that_is_bought_fetches_what_it_is_told_by_itself(market: Market) -> None:
    seen: Any = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    with market.site.sdk() as client:
        client.chat.completions.create(model="azure-chat", messages=[{"role": "user", "content": seen}])
    assert market.providers["azure"].asks[0].json["messages"][0]["content"] == seen


@pytest.mark.parametrize(("model", "size", "right"), [("seedream", "1024x1024", "3686400"), ("wan-image", "64x64", "")])
def test_what_cannot_be_made_is_refused_and_costs_nothing(market: Market, model: str, size: Any, right: str) -> None:
    with market.site.sdk() as client, pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(model=model, prompt="a lighthouse", size=size)
    assert caught.value.param == "size"
    assert right in caught.value.message
    assert all(each.submits == 0 for each in market.providers.values())


def test_a_refusal_of_the_content_is_the_callers(market: Market) -> None:
    market.providers["gmi"].faults.refuse = Refuse(400, message="Generation rejected by the safety system")
    with market.site.sdk() as client, pytest.raises(openai.BadRequestError):
        client.images.generate(model="gmi-image", prompt="a lighthouse", size="1024x1024")


def test_a_lost_answer_is_not_bought_twice(market: Market) -> None:
    market.providers["gmi"].faults.lose_answers = 1
    with market.site.sdk() as client, pytest.raises(openai.APIStatusError):
        client.images.generate(model="gmi-image", prompt="a lighthouse", size="1024x1024")
    assert market.providers["gmi"].submits == 1
