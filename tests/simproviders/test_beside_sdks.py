"""The proof that is not of one hand: the providers' own SDKs are served by the simulated providers, and what they send
is, field by field, what our dialects send for an equivalent order.

Kling and MiniMax have no SDK in the package index; google-genai makes films on Vertex alone. Their requests are proved
by nothing but the documents that dialect and simulated provider were written from, by the same hands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import fal_client.client as fal_sdk
import httpx
import openai
import pytest
import replicate as replicate_sdk
import replicate.exceptions
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs as ElevenLabsSdk
from elevenlabs.core.api_error import ApiError

from gateway.model import MediaAsk
from gateway.upstreams.dialects import openai as openai_dialect
from gateway.upstreams.dialects.ordering import Answer
from loadtests.simproviders.base import Ask, Refuse
from loadtests.simproviders.elevenlabs import ElevenLabs
from loadtests.simproviders.fal import Fal
from loadtests.simproviders.gemini import Gemini
from loadtests.simproviders.replicate import RAN_S, VERSION, Replicate
from loadtests.simproviders.samples import png
from loadtests.simproviders.serving import Running, serve
from tests.simproviders.buying import buy, dialect_at, fetched, headers_of, order, upstream

VOICE = "JBFqnCBsd6RMkjVDRZzb"
TEXT = "Good morning, Vienna"


def wire(ask: Ask) -> dict[str, Any]:
    """What of a request its provider can see and act upon; connection and user agent say nothing of the order."""
    shown = {name: ask.headers.get(name) for name in ("authorization", "xi-api-key", "prefer")}
    content = ask.headers.get("content-type") if ask.raw else None
    body = json.loads(ask.raw) if ask.raw else None
    return {"method": ask.method, "path": ask.path, "query": dict(ask.query), "body": body, "type": content, **shown}


def same(ours: list[Ask], theirs: list[Ask]) -> None:
    """The same requests in the same order; looks at a job may be more or fewer."""
    assert [wire(one) for one in _once(ours)] == [wire(one) for one in _once(theirs)]


def _once(asks: list[Ask]) -> list[Ask]:
    return [
        ask for i, ask in enumerate(asks) if not i or (ask.method, ask.path) != (asks[i - 1].method, asks[i - 1].path)
    ]


def split(asks: list[Ask]) -> list[Ask]:
    """What came until now, which is taken away."""
    took = list(asks)
    asks.clear()
    return took


@pytest.fixture
def fal() -> Iterator[Running[Fal]]:
    with serve(Fal(job_s=0.02)) as running:
        yield running


@pytest.fixture
def fal_at(fal: Running[Fal], monkeypatch: pytest.MonkeyPatch) -> Iterator[fal_sdk.SyncClient]:
    monkeypatch.setattr(fal_sdk, "QUEUE_URL_FORMAT", f"{fal.url}/")
    sdk = fal_sdk.SyncClient(key="sim-key")
    yield sdk
    sdk._client.close()


async def test_fal_pictures(fal: Running[Fal], fal_at: fal_sdk.SyncClient) -> None:
    asked = {"prompt": TEXT, "num_images": 2, "image_size": {"width": 1024, "height": 768}, "seed": 7}
    handle = fal_at.submit("fal-ai/flux/dev", arguments=asked)
    output = handle.get(interval=0.005)
    theirs = split(fal.provider.asks)
    assert len(output["images"]) == 2
    mine = order("images/generations", "fal-ai/flux/dev", TEXT, ask=MediaAsk(n=2, size="1024x768"), fields={"seed": 7})
    told, _ = await buy(upstream("fal", fal.url), mine)
    assert fetched(told, upstream("fal", fal.url)) == [png(16, 12, 0), png(16, 12, 40)]
    ours = fal.provider.asks
    for asks, job in ((theirs, "fal-000001"), (ours, "fal-000002")):
        asks[:] = [ask._replace(path=ask.path.replace(job, "ID")) for ask in asks]
    same(ours, theirs)


async def test_fal_is_cancelled_and_refuses_as_its_sdk_expects(fal: Running[Fal], fal_at: fal_sdk.SyncClient) -> None:
    fal.provider.faults.stuck = True
    handle = fal_at.submit("fal-ai/flux/dev", arguments={"prompt": TEXT})
    assert isinstance(handle.status(), fal_sdk.Queued)
    handle.cancel()
    theirs = split(fal.provider.asks)[-1]
    account, mine = upstream("fal", fal.url), order("images/generations", "fal-ai/flux/dev", TEXT)
    from_us = _cancel(fal, account, mine)
    assert (theirs.method, theirs.path) == (from_us[0], from_us[1].replace("fal-000002", "fal-000001"))
    fal.provider.faults.refuse = Refuse(status=403, message="User is locked. Reason: Exhausted balance.")
    with pytest.raises(fal_sdk.FalClientHTTPError, match="locked"):
        fal_at.submit("fal-ai/flux/dev", arguments={"prompt": TEXT})


def _cancel(fal: Running[Fal], account: Any, mine: Any) -> tuple[str, str]:
    dialect = dialect_at(account, mine.endpoint)
    call = dialect.submit(account, mine)
    said = httpx.post(fal.url + call.path, content=call.body, headers=headers_of(call, account), trust_env=False)
    told = dialect.submitted(mine, Answer(said.status_code, (), said.content))
    assert told.ticket is not None
    stop = dialect.cancel(account, mine, told.ticket)
    assert stop is not None
    return stop.method, stop.path


@pytest.fixture
def replicate_at() -> Iterator[Running[Replicate]]:
    with serve(Replicate(job_s=0.02)) as running:
        yield running


@pytest.fixture
def replicate_client(
    replicate_at: Running[Replicate], monkeypatch: pytest.MonkeyPatch
) -> Iterator[replicate_sdk.Client]:
    monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.01")
    sdk = replicate_sdk.Client(api_token="sim-key", base_url=replicate_at.url, trust_env=False)
    yield sdk
    sdk._client.close()


@pytest.mark.parametrize(
    ("model", "ask", "named"),
    [
        ("black-forest-labs/flux-schnell", MediaAsk(n=2, ratio="16:9"), {"num_outputs": 2, "aspect_ratio": "16:9"}),
        (f"stability-ai/sdxl:{VERSION}", MediaAsk(size="1024x768"), {"num_outputs": 1, "width": 1024, "height": 768}),
    ],
)
async def test_replicate_predictions(
    replicate_at: Running[Replicate],
    replicate_client: replicate_sdk.Client,
    model: str,
    ask: MediaAsk,
    named: dict[str, Any],
) -> None:
    sdk, asked = replicate_client, {"prompt": TEXT, "seed": 7, **named}
    name, _, version = model.partition(":")
    made = sdk.predictions.create(version=version, input=asked) if version else sdk.predictions.create(
        model=name, input=asked
    )  # fmt: skip
    made.wait()
    assert made.status == "succeeded"
    theirs = split(replicate_at.provider.asks)
    account = upstream("replicate", replicate_at.url + "/v1")
    told, _ = await buy(account, order("images/generations", model, TEXT, ask=ask, fields={"seed": 7}))
    assert told.state == "succeeded"
    assert (told.usage and told.usage.seconds) == (RAN_S if version else None)
    ours = replicate_at.provider.asks
    for asks, job in ((theirs, "replicate-000001"), (ours, "replicate-000002")):
        asks[:] = [ask._replace(path=ask.path.replace(job, "ID")) for ask in asks]
    same(ours, theirs)


def test_replicate_is_cancelled_and_refuses_as_its_sdk_expects(
    replicate_at: Running[Replicate], replicate_client: replicate_sdk.Client
) -> None:
    sdk = replicate_client
    replicate_at.provider.faults.stuck = True
    made = sdk.predictions.create(model="black-forest-labs/flux-schnell", input={"prompt": TEXT})
    made.cancel()
    made.reload()
    assert made.status == "canceled"
    stop = replicate_at.provider.asks[-2]
    assert (stop.method, stop.path) == ("POST", "/v1/predictions/replicate-000001/cancel")
    replicate_at.provider.faults.refuse = Refuse(status=402, message="Insufficient credit")
    with pytest.raises(replicate.exceptions.ReplicateError, match="credit"):
        sdk.predictions.create(model="black-forest-labs/flux-schnell", input={"prompt": TEXT})


@pytest.fixture
def elevenlabs() -> Iterator[Running[ElevenLabs]]:
    with serve(ElevenLabs()) as running:
        yield running


@pytest.mark.parametrize(
    ("fields", "ask", "given"),
    [
        ({}, MediaAsk(voice=VOICE), {"output_format": "mp3_44100_128"}),
        (
            {"speed": 1.1, "seed": 7, "language_code": "de"},
            MediaAsk(voice="george", format="pcm"),
            {
                "output_format": "pcm_24000",
                "voice_settings": VoiceSettings(speed=1.1),
                "seed": 7,
                "language_code": "de",
            },
        ),
        (
            {"voice_settings": {"stability": 0.5, "style": 0.1}, "previous_text": "So.", "enable_logging": False},
            MediaAsk(voice=VOICE, format="opus"),
            {
                "output_format": "opus_48000_64",
                "voice_settings": VoiceSettings(stability=0.5, style=0.1),
                "previous_text": "So.",
                "enable_logging": False,
            },
        ),
    ],
)
async def test_elevenlabs_speech(
    elevenlabs: Running[ElevenLabs], fields: dict[str, Any], ask: MediaAsk, given: dict[str, Any]
) -> None:
    with httpx.Client(trust_env=False) as client:
        sdk = ElevenLabsSdk(api_key="sim-key", base_url=elevenlabs.url, httpx_client=client)
        assert b"".join(sdk.text_to_speech.convert(VOICE, text=TEXT, model_id="eleven_v3", **given))
    theirs = split(elevenlabs.provider.asks)
    told, _ = await buy(
        upstream("elevenlabs", elevenlabs.url), order("audio/speech", "eleven_v3", TEXT, ask=ask, fields=fields)
    )
    assert told.usage is not None
    assert told.usage.characters == len(TEXT)
    same(elevenlabs.provider.asks, theirs)


def test_elevenlabs_refuses_as_its_sdk_expects(elevenlabs: Running[ElevenLabs]) -> None:
    with httpx.Client(trust_env=False) as client:
        sdk = ElevenLabsSdk(api_key="wrong", base_url=elevenlabs.url, httpx_client=client)
        with pytest.raises(ApiError) as caught:
            b"".join(sdk.text_to_speech.convert(VOICE, text=TEXT))
    assert caught.value.status_code == 401


@pytest.fixture
def gemini() -> Iterator[Running[Gemini]]:
    with serve(Gemini()) as running:
        yield running


def test_geminis_openai_endpoint_takes_what_the_openai_sdk_sends(gemini: Running[Gemini]) -> None:
    base = f"{gemini.url}/v1beta/openai"
    with openai.OpenAI(api_key="sim-key", base_url=base, max_retries=0) as sdk:
        said = sdk.chat.completions.create(model="gemini-3.1-flash", messages=[{"role": "user", "content": TEXT}])
        sdk.embeddings.create(model="gemini-embedding-001", input=TEXT)
        with pytest.raises(openai.BadRequestError):
            sdk.chat.completions.create(model="gemini-3.1-flash", messages=[])
    assert said.choices[0].message.content
    account = upstream("gemini", base)
    chat, embed, _ = gemini.provider.asks
    assert chat.path == openai_dialect.target(account, "chat/completions")
    assert embed.path == openai_dialect.target(account, "embeddings")
    ours = dict(openai_dialect.headers(account, "a-1", False))
    assert ours[b"authorization"].decode() == chat.headers["authorization"]
    assert ours[b"content-type"].decode() == chat.headers["content-type"]
