"""Speech through the official SDK: bytes as they come, or events."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.studio import SOUND, Gallery, dies, gallery, painted, refuses, spoken, usual

TEXT = "Ein kurzer Satz mit ü und 🐕."


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with gallery(tmp_path_factory.mktemp("gallery")) as running:
        yield running


@pytest.fixture
def heard(place: Gallery) -> Gallery:
    place.rehearse()
    return place


@pytest.fixture
def client(heard: Gallery) -> Iterator[openai.OpenAI]:
    with heard.site.sdk() as made:
        yield made


def test_the_bytes_of_a_voice_come_with_their_type_and_their_price(
    heard: Gallery, client: openai.OpenAI, tmp_path: Path
) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="voice-api", voice="alloy", input=TEXT, response_format="mp3", speed=1.5, instructions="softly"
    ) as answer:
        answer.stream_to_file(tmp_path / "said.mp3")
    assert (tmp_path / "said.mp3").read_bytes() == SOUND
    assert answer.headers["content-type"] == "audio/mpeg"
    (seen,) = heard.theirs.seen
    assert seen.path == "/v1/audio/speech"
    assert seen.json["model"] == "gpt-image-2"
    assert (seen.json["voice"], seen.json["speed"], seen.json["instructions"]) == ("alloy", 1.5, "softly")
    assert seen.headers["accept"] == "*/*"
    told = heard.site.receipt(answer.headers["x-request-id"])
    assert told["usage"] == {
        "input_tokens": 0,
        "output_tokens": 0,
        "cached_tokens": 0,
        "estimated": False,
        "characters": len(TEXT),
    }
    assert told["cost"]["usd"] == pytest.approx(len(TEXT) * 0.000015, abs=1e-6)


def test_the_plain_call(client: openai.OpenAI) -> None:
    assert client.audio.speech.create(model="voice", voice="alloy", input=TEXT).read() == SOUND


@pytest.mark.parametrize("kind", ["audio/wav", "audio/L16;rate=24000", "application/octet-stream", "video/mp4"])
def test_any_type_of_sound_passes_as_it_is(heard: Gallery, client: openai.OpenAI, kind: str) -> None:
    for one in heard.ours:
        one.acts.append(partial(spoken, kind=kind))
    answer = client.audio.speech.create(model="voice", voice="alloy", input=TEXT)
    assert answer.response.headers["content-type"] == kind
    assert answer.read() == SOUND


def test_events_of_speech(heard: Gallery, client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="voice-api", voice="alloy", input=TEXT, stream_format="sse"
    ) as answer:
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    pieces = [openai.BaseModel.model_validate_json(event) for event in events]
    told = [piece.model_extra or {} for piece in pieces]
    assert b"".join(base64.b64decode(one["audio"]) for one in told[:-1]) == SOUND
    assert told[-1]["type"] == "speech.audio.done"
    usage = heard.site.receipt(answer.headers["x-request-id"])["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["characters"]) == (14, 101, len(TEXT))
    assert heard.theirs.seen[0].headers["accept"] == "text/event-stream"


@pytest.mark.parametrize("fault", [dies, refuses(503), painted(), partial(spoken, upto=0)])
def test_a_worker_that_fails_before_the_first_byte_leaves_it_to_another(
    heard: Gallery, client: openai.OpenAI, fault: Any
) -> None:
    faults = [fault]

    def act(handler: Any, seen: Any) -> None:
        (faults.pop() if faults else usual)(handler, seen)

    for one in heard.ours:
        one.acts.append(act)
    assert client.audio.speech.create(model="voice", voice="alloy", input=TEXT).read() == SOUND
    assert [len(one.seen) for one in heard.ours] == [1, 1]


def test_one_that_breaks_off_is_cut_and_paid_for(heard: Gallery) -> None:
    heard.theirs.acts.append(partial(spoken, upto=3))
    body = {"model": "voice-api", "voice": "alloy", "input": TEXT}
    with (
        heard.site.http.stream("POST", "/v1/audio/speech", json=body) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        answer.read()
    told = heard.site.receipt(answer)
    assert (told["error"], told["usage"]["characters"]) == ("upstream_error", len(TEXT))
    assert len(heard.seen) == 1


def test_a_slow_listener_holds_its_upstream_back(heard: Gallery) -> None:
    """An endless voice: what the upstream could write is bounded by what the listener took and by buffers."""
    written = []

    def endless(handler: Any, seen: Any) -> None:
        handler.begin("audio/wav")
        while sum(written) < 1 << 30:
            handler.piece(b"\0" * 65536)
            written.append(65536)

    heard.theirs.acts.append(endless)
    body = {"model": "voice-api", "voice": "alloy", "input": TEXT}
    with heard.site.http.stream("POST", "/v1/audio/speech", json=body) as answer:
        pieces = answer.iter_raw(65536)
        before = -1
        while sum(written) != before:  # until it can write no more
            before = sum(written)
            next(pieces)
            for _ in range(50):
                if sum(written) != before:
                    break
                heard.site.metric("gateway_requests_in_flight")  # something that takes its time
    assert sum(written) < 64 << 20
