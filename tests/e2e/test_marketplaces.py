"""Pictures, speech and films of fal, Replicate, Kling, ElevenLabs, MiniMax and Gemini: the official SDK in front, a
simulated provider behind a real gateway, and a receipt whose price is the provider's own."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import httpx
import openai
import pytest

from gateway.money.keys import hash_key
from loadtests.simproviders.base import Provider, Refuse
from loadtests.simproviders.elevenlabs import ElevenLabs
from loadtests.simproviders.fal import Fal
from loadtests.simproviders.gemini import Gemini
from loadtests.simproviders.kling import Kling
from loadtests.simproviders.minimax import MiniMax
from loadtests.simproviders.replicate import Replicate
from loadtests.simproviders.samples import mp3, mp4, png
from loadtests.simproviders.serving import Running
from loadtests.simproviders.serving import serve as serve_provider
from tests.gateways import KEY, PEPPER, ZONES, Site, eventually, start_gateway, write_folder

TEXT = "Good morning, Vienna"
SECRETS = {"kling": "access:secret-of-at-least-thirty-two-bytes"}
USUAL = "sim-key"


class Model(NamedTuple):
    """`usd`: of the price book's `unit`."""

    name: str
    provider: str
    at: str
    modality: str
    unit: str
    usd: float


PICTURES = [
    Model("fal-pic", "fal", "fal-ai/flux/dev", "image", "per_image", 0.025),
    Model("replicate-pic", "replicate", "black-forest-labs/flux-schnell", "image", "per_image", 0.003),
    Model("kling-pic", "kling", "kling-v2-1", "image", "per_image", 0.014),
]
VOICES = [
    Model("fal-voice", "fal", "fal-ai/kokoro/tts", "audio", "per_1k_chars", 0.1),
    Model("eleven-voice", "elevenlabs", "eleven_v3", "audio", "per_1k_chars", 0.08),
    Model("minimax-voice", "minimax", "speech-2.6-turbo", "audio", "per_1k_chars", 0.06),
]
FILMS = [
    Model("fal-film", "fal", "fal-ai/kling-video/v2.1/pro/image-to-video", "video", "per_second", 0.09),
    Model("replicate-film", "replicate", "kwaivgi/kling-v2.1", "video", "per_second", 0.05),
    Model("kling-film", "kling", "kling-v2-1", "video", "per_second", 0.056),
    Model("minimax-film", "minimax", "MiniMax-Hailuo-2.3", "video", "per_second", 0.045),
    Model("minimax-new-film", "minimax", "MiniMax-H3", "video", "per_second", 0.08),
    Model("gemini-film", "gemini", "veo-3.1-generate-001", "video", "per_second", 0.40),
]
SECONDS = {"minimax": "6", "gemini": "8"}
CHAT = Model("gemini-chat", "gemini", "gemini-3.1-flash", "text", "input_per_1m", 1.0)
MODELS = [*PICTURES, *VOICES, *FILMS, CHAT]
KINDS: tuple[type[Provider], ...] = (Fal, Replicate, Kling, ElevenLabs, MiniMax, Gemini)


@dataclass(slots=True)
class Market:
    site: Site
    at: Mapping[str, Running[Provider]]


def files(at: Mapping[str, Running[Provider]]) -> dict[str, Any]:
    tail = {"gemini": "/v1beta/openai"}
    backends = [
        {
            "name": name,
            "kind": "managed",
            "dialect": name,
            "zone": "us",
            "simulated": True,
            "breaker": {"consecutive": 1000, "least": 1000},
            "upstreams": [{"name": f"{name}-1", "url": one.url + tail.get(name, ""), "key": one.provider.key}],
        }
        for name, one in at.items()
    ]
    models = [
        {
            "name": one.name,
            "modality": one.modality,
            "served_by": [{"backend": one.provider, "as": one.at, "price": _price(one)}],
        }
        for one in MODELS
    ]
    rules = [{"name": one.name, "match": {"model": one.name}, "route": {"backends": [one.provider]}} for one in MODELS]
    return {
        "backends.yaml": {"zones": ZONES, "backends": backends},
        "models.yaml": {"models": models},
        "routing.yaml": {"rules": rules},
        "tenants.yaml": {"tenants": [{"name": "acme", "keys": [hash_key(PEPPER, KEY)]}]},
    }


def _price(model: Model) -> dict[str, float]:
    more = {"output_per_1m": 2.0} if model.modality == "text" else {}
    return {model.unit: model.usd, **more}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    place = tmp_path_factory.mktemp("market")
    with contextlib.ExitStack() as stack:
        at = {
            kind.name: stack.enter_context(
                serve_provider(kind(key=SECRETS.get(kind.name, USUAL), job_s=0.05))  # type: ignore[abstract]
            )
            for kind in KINDS
        }
        write_folder(place / "policies", files(at))
        log, headers = place / "gateway.log", {"Authorization": f"Bearer {KEY}"}
        gateway = stack.enter_context(
            start_gateway(
                place / "policies",
                place / "data",
                env={"GATEWAY_KEY_PEPPER": PEPPER, "GATEWAY_ARTEFACTS_FLOOR": "0"},
                log=log,
            )
        )
        http = stack.enter_context(httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=20.0))
        yield Market(Site(gateway, None, place / "policies", place / "data", log, http), at)  # type: ignore[arg-type]


@pytest.fixture
def market(place: Market) -> Market:
    for one in place.at.values():
        one.provider.faults = type(one.provider.faults)()
        one.provider.jobs.clear()
        one.provider.asks.clear()
        one.provider.submits = 0
    return place


@pytest.fixture
def client(market: Market) -> Iterator[openai.OpenAI]:
    with market.site.sdk(max_retries=0) as made:
        yield made


def usd(market: Market, request_id: str | None) -> Decimal:
    assert request_id is not None
    return Decimal(str(market.site.receipt(request_id)["cost"]["usd"]))


@pytest.mark.parametrize("model", PICTURES, ids=lambda one: one.name)
def test_pictures(market: Market, client: openai.OpenAI, model: Model) -> None:
    raw = client.images.with_raw_response.generate(model=model.name, prompt="A fox", n=2)
    made = [base64.b64decode(one.b64_json or "") for one in raw.parse().data or []]
    assert len(made) == 2
    assert all(one.startswith(png()[:8]) for one in made)
    provider = market.at[model.provider].provider
    assert usd(market, raw.headers["x-request-id"]) == provider.bill() == Decimal(str(model.usd)) * 2
    assert provider.submits == 1


@pytest.mark.parametrize("model", VOICES, ids=lambda one: one.name)
def test_speech(market: Market, client: openai.OpenAI, model: Model) -> None:
    raw = client.audio.speech.with_raw_response.create(model=model.name, voice="JBFqnCBsd6RMkjVDRZzb", input=TEXT)
    assert raw.content == mp3()
    assert raw.headers["content-type"] == "audio/mpeg"
    assert usd(market, raw.headers["x-request-id"]) == market.at[model.provider].provider.bill() > 0


def test_a_picture_is_edited_where_the_caller_sends_one(market: Market, client: openai.OpenAI) -> None:
    made = client.images.edit(model="fal-pic", prompt="A blue fox", image=("fox.png", png(), "image/png"))
    assert len(made.data or []) == 1
    (job,) = market.at["fal"].provider.jobs.values()
    assert job.asked["image_url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("model", "given", "param"),
    [
        ("fal-pic", {"n": 9}, "n"),
        ("fal-pic", {"extra_body": {"num_images": 4}}, "num_images"),
        ("kling-pic", {"size": "1024x1024"}, "size"),
        ("replicate-pic", {"size": "1024x1024"}, "size"),
    ],
)
def test_what_cannot_be_done_is_named_and_nothing_is_bought(
    market: Market, client: openai.OpenAI, model: str, given: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(model=model, prompt="A fox", **given)
    assert caught.value.param == param
    assert not any(one.provider.asks for one in market.at.values())


def test_a_refusal_inside_a_200_is_a_400_of_the_caller(market: Market, client: openai.OpenAI) -> None:
    market.at["minimax"].provider.faults.refuse = Refuse(status=200, code="2013", message="invalid params, emotion")
    with pytest.raises(openai.BadRequestError, match="invalid params, emotion"):
        client.audio.speech.create(model="minimax-voice", voice="Wise_Woman", input=TEXT)


def test_a_lost_answer_is_not_bought_again(market: Market, client: openai.OpenAI) -> None:
    market.at["fal"].provider.faults.lose_answers = 1
    with pytest.raises(openai.APIStatusError) as caught:
        client.images.generate(model="fal-pic", prompt="A fox")
    assert caught.value.status_code == 502
    assert market.at["fal"].provider.submits == 1


def test_a_result_that_is_withheld_is_an_error_of_the_upstream(market: Market, client: openai.OpenAI) -> None:
    market.at["replicate"].provider.faults.result_status = 403
    with pytest.raises(openai.APIStatusError) as caught:
        client.images.generate(model="replicate-pic", prompt="A fox")
    assert caught.value.status_code == 502
    assert market.at["replicate"].provider.submits == 1


@pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")
def test_films(market: Market, client: openai.OpenAI) -> None:
    """All at once: their APIs are looked at every few seconds only."""
    raw = {
        model.name: client.videos.with_raw_response.create(
            model=model.name,
            prompt="A lighthouse",
            seconds=SECONDS.get(model.provider, "5"),  # type: ignore[arg-type]
            input_reference=("first.png", png(64, 64), "image/png"),
        )
        for model in FILMS
    }
    made = {name: one.parse().id for name, one in raw.items()}
    left = dict(made)

    def over() -> bool:
        for name, id in list(left.items()):
            found = client.videos.retrieve(id)
            assert found.status != "failed", (name, found.error)
            if found.status == "completed":
                del left[name]
        return not left

    eventually(over, "every film is there", within=40.0)
    for model in FILMS:
        seconds = SECONDS.get(model.provider, "5")
        assert client.videos.download_content(made[model.name]).content == mp4(float(seconds))
        assert usd(market, raw[model.name].headers["x-request-id"]) == Decimal(str(model.usd)) * int(seconds)
    assert {one.provider.submits for one in market.at.values()} == {0, 1, 2}
    spent = sum((one.provider.bill() for one in market.at.values()), Decimal())
    assert spent == sum(Decimal(str(one.usd)) * int(SECONDS.get(one.provider, "5")) for one in FILMS)


def test_gemini_chats_as_openai_does(market: Market, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="gemini-chat", messages=[{"role": "user", "content": TEXT}]
    )
    assert raw.parse().choices[0].message.content
    (asked,) = market.at["gemini"].provider.asks
    assert asked.path == "/v1beta/openai/chat/completions"
    usage = market.site.receipt(raw.headers["x-request-id"])["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (8, 35)  # 30 of them were thought


def test_no_secret_is_told(place: Market) -> None:
    log = place.site.logged()
    assert not any(one.provider.key in log for one in place.at.values())
