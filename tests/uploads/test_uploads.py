"""Uploads that go well: what the worker gets, what the client gets, and what is booked."""

from __future__ import annotations

import io
import json

import httpx
import pytest

from loadtests.uploads.client import field
from loadtests.uploads.listener import HEARD, Act
from loadtests.uploads.site import KEY, PER_HOUR, PER_REQUEST, SERVED, Site
from tests.uploads.asking import SOUND, form, parts, post, quiet, receipt, sdk
from tests.upstreams.test_sound import wav


def test_the_official_sdk_is_streamed_through(site: Site) -> None:
    with sdk(site) as client:
        raw = client.audio.transcriptions.with_raw_response.create(
            model="ears", file=("talk.wav", io.BytesIO(SOUND), "audio/wav"), language="de", prompt="names"
        )
    assert raw.parse().text == "hello"
    assert raw.headers["x-gateway-outcome"] == "local"
    heard = site.play.heard[-1]
    assert heard.path == "/v1/audio/transcriptions"
    assert heard.headers["transfer-encoding"] == "chunked"  # it was never whole here
    assert "authorization" not in heard.headers
    got = parts(heard)
    assert got.pop("file") == ("talk.wav", SOUND)
    assert {name: value for name, (_, value) in got.items()} == {
        "model": SERVED.encode(),
        "language": b"de",
        "prompt": b"names",
        **{name: value for name, (_, value) in got.items() if name not in ("model", "language", "prompt")},
    }


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the SDK's own, of what it says of translations
def test_translations(site: Site) -> None:
    with sdk(site) as client:
        told = client.audio.translations.create(model="ears", file=("a.wav", SOUND))
    assert told.text == "hello"
    assert site.play.heard[-1].path == "/v1/audio/translations"


@pytest.mark.parametrize("length", [-1, None], ids=["sized", "chunked"])
def test_a_model_behind_the_file_goes_by_way_of_the_disk(site: Site, length: int | None) -> None:
    raw = form("ears", first=False, behind=field("language", "de"))
    if length is None:
        raw = b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw), raw)
    answer = post(site, raw, length=length)
    assert (answer.status, json.loads(answer.body)) == (200, HEARD)
    heard = site.play.heard[-1]
    assert int(heard.headers["content-length"]) == heard.size
    assert parts(heard) == {"file": ("a.wav", SOUND), "model": (None, SERVED.encode()), "language": (None, b"de")}
    folder = site.data / "uploads"
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700


def test_fields_behind_the_file_are_passed_along(site: Site) -> None:
    assert post(site, form("ears", behind=field("language", "de"))).status == 200
    assert parts(site.play.heard[-1])["language"] == (None, b"de")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain; charset=utf-8", b"hello\n"),
        ("text/plain", b""),
        ("text/vtt", b"WEBVTT\n"),
        ("application/json", b'{"text":""}'),
    ],
)
def test_answers_in_other_forms(site: Site, kind: str, body: bytes) -> None:
    site.play.acts.append(Act(kind=kind, body=body))
    answer = post(site, form("ears", more=field("response_format", "text")))
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, kind, body)


def test_events_are_relayed(site: Site) -> None:
    events = b"".join(
        b"data: " + json.dumps(one).encode() + b"\n\n"
        for one in (
            {"type": "transcript.text.delta", "delta": "hel"},
            {"type": "transcript.text.delta", "delta": "lo"},
            {"type": "transcript.text.done", "text": "hello", "usage": {"type": "duration", "seconds": 3}},
        )
    )
    site.play.acts.append(Act(kind="text/event-stream", body=events))
    with sdk(site) as client:
        stream = client.audio.transcriptions.create(model="ears", file=("a.wav", SOUND), stream=True)
        told = list(stream)
    assert [one.type for one in told] == ["transcript.text.delta", "transcript.text.delta", "transcript.text.done"]
    assert site.play.heard[-1].headers["accept"] == "text/event-stream"


def test_what_is_bought_costs_what_its_seconds_cost(site: Site) -> None:
    site.play.acts.append(Act(body=b'{"text":"x","usage":{"type":"duration","seconds":100}}'))
    answer = post(site, form("bought"))
    assert site.play.heard[-1].worker == site.api
    assert float(answer.headers["x-gateway-cost-usd"]) == pytest.approx(PER_REQUEST + PER_HOUR / 36)
    told = receipt(site, answer.headers["x-request-id"])
    assert told["usage"]["estimated"] is False


@pytest.mark.parametrize("first", [True, False], ids=["streamed", "by disk"])
def test_where_nobody_tells_the_header_of_the_sound_does(site: Site, first: bool) -> None:
    site.play.acts.append(Act(body=b'{"text":"x"}'))
    answer = post(site, form("bought", first=first, file=wav(60.0)))
    assert float(answer.headers["x-gateway-cost-usd"]) == pytest.approx(PER_REQUEST + PER_HOUR / 60)
    assert receipt(site, answer.headers["x-request-id"])["usage"]["estimated"] is True


def test_a_worker_that_cannot_be_reached_costs_nothing_as_long_as_nothing_was_sent(site: Site) -> None:
    for _ in range(4):  # either may be chosen first
        assert post(site, form("half")).status == 200
    assert {one.size for one in site.play.heard} == {site.play.heard[0].size}


def test_what_is_on_disk_may_be_sent_again(site: Site) -> None:
    site.play.acts.append(Act(status=503, body=b'{"error":{"message":"full"}}'))
    answer = post(site, form("pair", first=False))
    assert answer.status == 200
    assert len({one.worker for one in site.play.heard}) == 2
    assert [parts(one)["file"][1] for one in site.play.heard] == [SOUND, SOUND]
    assert [one["status"] for one in receipt(site, answer.headers["x-request-id"])["attempts"]] == [503, 200]


def test_what_came_in_one_read_may_be_sent_again_too(site: Site) -> None:
    site.play.acts.append(Act(status=503, body=b'{"error":{"message":"full"}}'))
    answer = post(site, form("trio", file=b"RIFF"))
    assert answer.status == 200
    assert [parts(one)["file"][1] for one in site.play.heard] == [b"RIFF", b"RIFF"]


def test_residency_in_the_form_is_a_demand(site: Site) -> None:
    asked = [field("metadata[data_residency]", "local"), field("metadata", '{"data_residency":"local"}')]
    for more in asked:
        answer = post(site, form("bought", more=more))
        assert answer.status == 403, answer.body
        assert post(site, form("spills", more=more)).status in (403, 503)
        assert post(site, form("spills", first=False, more=more)).status in (403, 503)
        assert post(site, form("ears", more=more)).status == 200
    assert {one.worker for one in site.play.heard} == {0}
    quiet(site)


def test_what_may_leave_does(site: Site) -> None:
    answer = post(site, form("spills"))
    assert (answer.status, answer.headers["x-gateway-backend"]) == (200, "cloud")


def test_httpx_with_a_pipe(site: Site) -> None:
    """No length is known to anybody."""
    raw = form("ears", file=SOUND * 4)
    headers = {
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "multipart/form-data; boundary=----boundary-of-the-client",
    }
    pieces = (raw[at : at + 10_000] for at in range(0, len(raw), 10_000))
    url = f"{site.gateway.url}/v1/audio/transcriptions"
    answer = httpx.post(url, content=pieces, headers=headers, trust_env=False)
    assert answer.status_code == 200
    assert parts(site.play.heard[-1])["file"][1] == SOUND * 4
