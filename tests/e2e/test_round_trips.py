"""Every model that `make run` serves beside its text model, by the official SDK, before the demo's own policy folder:
what came can be opened, and what it cost is the price book's figure and the simulated provider's own, to the
micro-dollar."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from click.testing import CliRunner
from PIL import Image

from gateway.cli.prices import prices
from loadtests import demo_fleet
from loadtests.simfleet.bills import read_bills
from loadtests.simfleet.harness import start
from loadtests.stack import start_gateway
from tests.demo_folder import copied
from tests.gateways import Site, eventually
from tests.studio import picture

KEY = "demo"
WITHIN_S = 20.0
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


@dataclass(frozen=True)
class Demo:
    site: Site
    bills: Path

    def sdk(self) -> openai.OpenAI:
        return self.site.sdk(KEY)

    def charged(self) -> dict[str, int]:
        """Micro-dollars by model, of all that the simulated APIs have charged, each by a price list of its own."""
        made: dict[str, int] = {}
        for server in self.site.fleet.providers:
            page = httpx.get(f"http://127.0.0.1:{server.port}/sim/state", trust_env=False).json()
            for job in page["jobs"]:
                micro = int((Decimal(job["usd"]) * 10**6).to_integral_value(ROUND_CEILING))
                made[job["model"]] = made.get(job["model"], 0) + micro
        for line in read_bills(self.bills):
            made[line["model"]] = made.get(line["model"], 0) + line["micro_usd"]
        return made


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    place = tmp_path_factory.mktemp("demo")
    config = demo_fleet.config(0)
    hasty = {"providers": [{**each, "job_s": 0.05} for each in config["providers"]]}
    bills, folder, log = place / "bills", place / "policies", place / "gateway.log"
    with start(**{**config, **hasty}, bills=str(bills), worker={"unit_s": 0.02}) as fleet:
        copied(folder, fleet)
        env = {"GATEWAY_ARTEFACTS_FLOOR": "0"}
        headers = {"Authorization": f"Bearer {KEY}"}
        with (
            start_gateway(folder, place / "data", env=env, log=log) as gateway,
            httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=20.0) as http,
        ):
            site = Site(gateway, fleet, folder, place / "data", log, http)
            eventually(lambda: len(site.samples("gateway_upstream_running")) >= 8, "a reading of every worker")
            yield Demo(site, bills)


Told = tuple[str, bytes]
"""The id of the receipt, and what came."""
Ask = Callable[[openai.OpenAI, str], Told]


@dataclass(frozen=True)
class Trip:
    """`order`: what `gateway prices show` is asked; `usage`: what the receipt says was used."""

    model: str
    known: str
    """At its provider."""
    provider: str
    ask: Ask
    opens: Callable[[bytes], None]
    order: tuple[str, ...] = ()
    usage: dict[str, Any] = field(default_factory=dict)


def drawn(**asked: Any) -> Ask:
    def ask(sdk: openai.OpenAI, model: str) -> Told:
        answer = sdk.images.with_raw_response.generate(model=model, prompt="a lighthouse", **asked)
        return answer.headers["x-request-id"], first(answer.parse())

    return ask


def edited(**asked: Any) -> Ask:
    def ask(sdk: openai.OpenAI, model: str) -> Told:
        answer = sdk.images.with_raw_response.edit(model=model, prompt="fog", image=picture(), **asked)
        return answer.headers["x-request-id"], first(answer.parse())

    return ask


def first(answer: Any) -> bytes:
    return base64.b64decode(answer.data[0].b64_json)


def spoken(**asked: Any) -> Ask:
    def ask(sdk: openai.OpenAI, model: str) -> Told:
        answer = sdk.audio.speech.with_raw_response.create(model=model, input="Good morning.", **asked)
        return answer.headers["x-request-id"], answer.content

    return ask


def heard(sdk: openai.OpenAI, model: str) -> Told:
    answer = sdk.audio.transcriptions.with_raw_response.create(model=model, file=("a.wav", silence(), "audio/wav"))
    return answer.headers["x-request-id"], answer.parse().text.encode()


def chatted(sdk: openai.OpenAI, model: str) -> Told:
    asked: list[Any] = [{"role": "user", "content": "hello"}]
    answer = sdk.chat.completions.with_raw_response.create(model=model, max_tokens=20, messages=asked)
    return answer.headers["x-request-id"], (answer.parse().choices[0].message.content or "").encode()


def silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 8000 * 3))
    return file.getvalue()


def is_picture(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        assert opened.format == "PNG"


def is_sound(data: bytes) -> None:
    assert data[:4] == b"RIFF" or data[:2] == b"\xff\xfb"


def is_text(data: bytes) -> None:
    assert data.decode().strip()


def is_film(data: bytes) -> None:
    """A whole film: its boxes fill the file, and its one frame is a picture."""
    boxes, at = {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes[data[at + 4 : at + 8]] = data[at + 8 : at + size]
        at += size
    assert at == len(data)
    assert boxes.keys() == {b"ftyp", b"moov", b"mdat"}
    is_picture(boxes[b"mdat"])


MEDIUM = {"quality": "medium", "size": "1024x1024"}
TRIPS = (
    Trip(
        "gpt-image-2-generate",
        "gpt-image-2-generate",
        "gmi",
        drawn(n=2, **MEDIUM),
        is_picture,
        ("--images", "2", "--quality", "medium"),
        {"images": 2, "quality": "medium"},
    ),
    Trip(
        "gpt-image-2-edit",
        "gpt-image-2-edit",
        "gmi",
        edited(quality="high"),
        is_picture,
        ("--images", "1", "--quality", "high"),
        {"images": 1, "quality": "high"},
    ),
    Trip(
        "seedream-5.0-lite", "seedream-5.0-lite", "gmi", drawn(size="2K"), is_picture, ("--images", "1"), {"images": 1}
    ),
    Trip("elevenlabs-tts-v3", "elevenlabs-tts-v3", "gmi", spoken(voice="rachel"), is_sound, ("--characters", "13")),
    Trip(
        "minimax-tts-speech-2.6-turbo",
        "minimax-tts-speech-2.6-turbo",
        "gmi",
        spoken(voice="Calm_Woman"),
        is_sound,
        ("--characters", "13"),
        {"characters": 13},
    ),
    Trip("DeepSeek-V3", demo_fleet.CHATS_MODEL, "gmi", chatted, is_text, ("--tokens",)),
    Trip("gpt-image-2", "gpt-image-2", "openai", drawn(**MEDIUM), is_picture, ("--tokens",), {"images": 1}),
    Trip("tts-1", "tts-1", "openai", spoken(voice="alloy"), is_sound, ("--characters", "13"), {"characters": 13}),
    Trip("whisper-1", "whisper-1", "openai", heard, is_text, ("--audio-seconds", "3"), {"audio_seconds": 3}),
)
"""What is answered at once; films are jobs."""


@dataclass(frozen=True)
class Film:
    model: str
    seconds: str
    size: str | None
    first_frame: bool
    order: tuple[str, ...]


FILMS = (
    Film("veo-3.1-lite-generate-001", "4", "1280x720", False, ("--seconds", "4", "--resolution", "720p")),
    Film("wan2.7-i2v", "5", "1280x720", True, ("--seconds", "5", "--resolution", "720p")),
    Film("wan2.6-t2v", "5", None, False, ("--seconds", "5")),
    Film("Kling-Image2Video-V2.1-Pro", "5", None, True, ("--seconds", "5")),
)


def in_the_book(model: str, provider: str, order: tuple[str, ...], used: dict[str, Any]) -> int:
    """Micro-dollars, as `gateway prices show` has them; tokens are those that were told."""
    if order == ("--tokens",):
        order = ("--tokens", f"{used['input_tokens']},{used['output_tokens']}")
    shown = CliRunner().invoke(prices, ["show", model, "--provider", provider, *order, "--json"])
    (row,) = json.loads(shown.stdout)
    found: int = row["micro_usd"]
    return found


def micro(receipt: dict[str, Any]) -> int:
    return int(Decimal(str(receipt["cost"]["usd"])) * 10**6)


@pytest.mark.parametrize("trip", TRIPS, ids=lambda trip: trip.model)
def test_a_model_that_answers_at_once(demo: Demo, trip: Trip) -> None:
    before = demo.charged().get(trip.known, 0)
    with demo.sdk() as sdk:
        id, came = trip.ask(sdk, trip.model)
    trip.opens(came)
    receipt = demo.site.receipt(id, KEY)
    assert receipt["outcome"] == "managed"
    assert {name: receipt["usage"][name] for name in trip.usage} == trip.usage
    cost = micro(receipt)
    assert cost == in_the_book(trip.known, trip.provider, trip.order, receipt["usage"]) > 0
    assert cost == eventually(lambda: demo.charged().get(trip.known, 0) - before, "the bill")


@pytest.fixture(scope="module")
def films(demo: Demo) -> dict[str, tuple[str, set[int]]]:
    """All at once, for their API is looked at every three seconds: model -> its job, and how far it was seen to be."""
    with demo.sdk() as sdk:
        made = {}
        for film in FILMS:
            asked: dict[str, Any] = {"model": film.model, "prompt": "waves", "seconds": film.seconds}
            asked |= {"size": film.size} if film.size else {}
            asked |= {"input_reference": ("a.png", picture(), "image/png")} if film.first_frame else {}
            made[film.model] = sdk.videos.create(**asked)
        made["film"] = sdk.videos.create(model="film", prompt="waves", seconds="4", size="1280x720")
        seen: dict[str, set[int]] = {model: {job.progress} for model, job in made.items()}

        def over() -> bool:
            states = {model: sdk.videos.retrieve(job.id) for model, job in made.items()}
            for model, job in states.items():
                assert job.status != "failed", (model, job.error)
                seen[model].add(job.progress)
            return all(job.status == "completed" for job in states.values())

        eventually(over, "every film is there", within=WITHIN_S)
    return {model: (job.id, seen[model]) for model, job in made.items()}


@pytest.mark.parametrize("film", FILMS, ids=lambda film: film.model)
def test_a_film_that_is_bought(demo: Demo, films: dict[str, tuple[str, set[int]]], film: Film) -> None:
    id, progress = films[film.model]
    assert {0, 100} <= progress
    with demo.sdk() as sdk:
        is_film(sdk.videos.download_content(id).read())
    job = demo.site.http.get(f"/v1/gateway/jobs/{id}").json()
    receipt = demo.site.receipt(job["receipt"], KEY)
    assert job["cost"] == receipt["cost"]
    assert receipt["usage"]["seconds"] == float(film.seconds)
    cost = micro(receipt)
    assert cost == in_the_book(film.model, "gmi", film.order, receipt["usage"]) > 0
    assert cost == demo.charged()[film.model]


def test_a_film_of_our_own_worker(demo: Demo, films: dict[str, tuple[str, set[int]]]) -> None:
    id, _ = films["film"]
    with demo.sdk() as sdk:
        is_film(sdk.videos.download_content(id).read())
    job = demo.site.http.get(f"/v1/gateway/jobs/{id}").json()
    assert demo.site.receipt(job["receipt"], KEY)["outcome"] == "local"


@pytest.mark.parametrize(
    ("model", "ask", "opens"),
    [("picture", drawn(size="512x512"), is_picture), ("voice", spoken(voice="alloy"), is_sound)],
    ids=["picture", "voice"],
)
def test_our_own_workers(demo: Demo, model: str, ask: Ask, opens: Callable[[bytes], None]) -> None:
    with demo.sdk() as sdk:
        id, came = ask(sdk, model)
    opens(came)
    receipt = demo.site.receipt(id, KEY)
    assert receipt["outcome"] == "local"
    assert micro(receipt) > 0  # the rent of its GPU


def test_flagged_media_stay(demo: Demo) -> None:
    local = {"X-Data-Residency": "local"}
    with demo.sdk() as sdk:
        made = sdk.images.with_raw_response.generate(model="picture", prompt="a lighthouse", extra_headers=local)
        assert made.headers["x-gateway-outcome"] == "local"
        for ask in (
            lambda: sdk.images.generate(model="gpt-image-2", prompt="a lighthouse", extra_headers=local),
            lambda: sdk.videos.create(model="wan2.6-t2v", prompt="waves", extra_headers=local),
        ):
            with pytest.raises(openai.PermissionDeniedError):
                ask()


def test_every_model_of_the_folder_makes_its_round_trip(demo: Demo) -> None:
    with demo.sdk() as sdk:
        served = {model.id for model in sdk.models.list()}
    driven = {trip.model for trip in TRIPS} | {film.model for film in FILMS}
    assert served == driven | {"llama-3.3-70b", "picture", "film", "voice"}
