"""Veo on Vertex AI: the simulated one answers Google's own SDK, and what we send is what that SDK sends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from gateway.errors import BadAnswer, InvalidRequest, Refused
from gateway.model import Upstream
from gateway.upstreams import answers
from gateway.upstreams.client import Client
from gateway.upstreams.dialects.managed.vertex import Vertex as Dialect
from gateway.upstreams.dialects.ordering import Answer
from gateway.upstreams.google_tokens import EARLY_SECONDS
from loadtests.simproviders.base import Faults, Refuse
from loadtests.simproviders.samples import png
from loadtests.simproviders.serving import Running, serve
from loadtests.simproviders.vertex import Vertex
from tests.simproviders.driving import FIRST, account, bytes_of, order, place, seen

MODEL = "veo-3.1-lite-generate-001"
PLACE = "/v1/projects/p1/locations/us-central1"
FILM = order("videos", MODEL, size="1280x720", seconds=4.0)


@pytest.fixture(scope="module")
def running() -> Iterator[Running[Vertex]]:
    with serve(Vertex(job_s=0.02)) as running:
        yield running


@pytest.fixture
def vertex(running: Running[Vertex]) -> Running[Vertex]:
    running.provider.reset()
    return running


def at(running: Running[Vertex]) -> Upstream:
    return account("vertex", running.url + PLACE)


def sdk(running: Running[Vertex]) -> genai.Client:
    return genai.Client(
        vertexai=True,
        project="p1",
        location="us-central1",
        credentials=Credentials(token="sim-key"),  # type: ignore[no-untyped-call]
        http_options=types.HttpOptions(base_url=running.url, api_version="v1"),
    )


def filmed_by_sdk(running: Running[Vertex], **config: Any) -> types.GenerateVideosOperation:
    with sdk(running) as client:
        operation = client.models.generate_videos(
            model=MODEL,
            source=types.GenerateVideosSource(
                prompt="a lighthouse", image=types.Image(image_bytes=FIRST.data, mime_type="image/png")
            ),
            config=types.GenerateVideosConfig(**config),
        )
        while not operation.done:
            operation = client.operations.get(operation)
        return operation


async def test_googles_sdk_films_here_and_we_send_what_it_sends(vertex: Running[Vertex]) -> None:
    done = filmed_by_sdk(vertex, number_of_videos=2, duration_seconds=4, aspect_ratio="16:9", resolution="720p", seed=7)
    assert done.response is not None
    assert done.response.generated_videos is not None
    films = [film.video.video_bytes for film in done.response.generated_videos if film.video is not None]
    theirs = [seen(ask) for ask in vertex.provider.asks]
    vertex.provider.asks.clear()
    wanted = order("videos", MODEL, n=2, size="1280x720", seconds=4.0, pictures=(FIRST,), fields={"seed": 7})
    told = await place(at(vertex), wanted)
    ours = [seen(ask) for ask in vertex.provider.asks]
    for one in theirs:
        one["headers"].pop("x-goog-api-client")  # the SDK's name and version
        one["headers"].pop("x-goog-user-project", None)
    assert ours[0] == theirs[0]
    for look in (ours[1], theirs[1]):
        assert look["body"].pop("operationName").startswith("projects/p1/")
    assert ours[1] == theirs[1]
    assert bytes_of(told) == films
    assert vertex.provider.bill() == 2 * 2 * 4 * vertex.provider.rates[1].usd


@pytest.mark.parametrize(
    ("faults", "status", "content"),
    [
        (Faults(filtered=True), 400, True),
        (Faults(fail="The prompt violates the usage guidelines"), 400, True),
        (Faults(fail="boom", fail_code="8"), 429, False),
        (Faults(fail="boom", fail_code="14"), 503, False),
        (Faults(fail="boom", fail_code="7"), 403, False),
        (Faults(fail="boom", fail_code="13"), 500, False),
        (Faults(refuse=Refuse(429, "RESOURCE_EXHAUSTED", retry_after=3)), 429, False),
        (Faults(refuse=Refuse(403, "PERMISSION_DENIED")), 403, False),
        (Faults(refuse=Refuse(404, "NOT_FOUND")), 404, False),
    ],
)
async def test_faults(vertex: Running[Vertex], faults: Faults, status: int, content: bool) -> None:
    vertex.provider.faults = faults
    with pytest.raises(Refused) as caught:
        await place(at(vertex), FILM)
    assert (caught.value.status, answers.about_content(caught.value)) == (status, content)
    assert caught.value.account == (status == 403)


@pytest.mark.parametrize(
    ("given", "param"),
    [({"seconds": 5.0}, "seconds"), ({"size": "640x480"}, "size"), ({"n": 5}, "n"), ({"fps": 30.0}, "fps")],
)
def test_what_it_cannot_do(given: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Dialect().submit(account("vertex", "http://x" + PLACE), order("videos", MODEL, **given))
    assert caught.value.param == param


def test_a_film_in_a_bucket_is_not_fetched() -> None:
    body = b'{"name":"n","done":true,"response":{"videos":[{"gcsUri":"gs://b/o","mimeType":"video/mp4"}]}}'
    with pytest.raises(BadAnswer, match="bucket"):
        Dialect().polled(FILM, "n", Answer(200, (), body))


# -- service accounts ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def service_account(running: Running[Vertex], private: rsa.RSAPrivateKey, **changes: str) -> str:
    running.provider.public_key = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    made = {
        "type": "service_account",
        "client_email": "gateway@p1.iam.example",
        "private_key_id": "k1",
        "private_key": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "token_uri": f"{running.url}/token",
    }
    return json.dumps(made | changes)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client()
    yield made
    await made.aclose()


async def test_a_service_account_is_exchanged_for_a_token_once(
    vertex: Running[Vertex], private: rsa.RSAPrivateKey, client: Client
) -> None:
    to = account("vertex", vertex.url + PLACE, service_account(vertex, private))
    assert await client.shown(to) == (b"authorization", b"Bearer sim-key")
    assert await client.shown(to) == (b"authorization", b"Bearer sim-key")
    assert vertex.provider.tokens == 1
    vertex.provider.lives_s = int(EARLY_SECONDS) - 1
    other = account("vertex", vertex.url + PLACE, service_account(vertex, private, private_key_id="k2"))
    await client.shown(other)
    await client.shown(other)
    assert vertex.provider.tokens == 3  # one that is about to end is not shown again


async def test_an_account_that_is_not_taken_is_about_us_and_nothing_was_sent(
    vertex: Running[Vertex], private: rsa.RSAPrivateKey, client: Client
) -> None:
    key = service_account(vertex, private)
    vertex.provider.public_key = b"another"
    for given in (key, "{}", service_account(vertex, private, token_uri="http://203.0.113.7/token")):
        if given is key:
            other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
            vertex.provider.public_key = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(Refused) as caught:
            await client.shown(account("vertex", vertex.url + PLACE, given))
        assert caught.value.account
        assert answers.retryable("managed", caught.value)
        assert "PRIVATE" not in str(caught.value)


async def test_a_plain_token_is_shown_as_it_is(client: Client) -> None:
    to = account("vertex", "http://127.0.0.1:1" + PLACE, "ya29.token")
    assert await client.shown(to) == (b"authorization", b"Bearer ya29.token")


def test_pictures_go_with_their_kind() -> None:
    sent = Dialect().submit(account("vertex", "http://x" + PLACE), order("videos", MODEL, pictures=(FIRST,)))
    assert json.loads(sent.body)["instances"][0]["image"]["mimeType"] == "image/png"
    assert png(16, 16) == FIRST.data
