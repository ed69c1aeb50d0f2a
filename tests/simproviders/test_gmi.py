"""GMI's request queue: every model of the mission makes its round trip, and each of its faults is told for what it is.

There is no public SDK of the queue with an API key, so its wire is that of the documents alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from gateway.errors import BadAnswer, InvalidRequest, OrderLost, Refused, Reset
from gateway.upstreams import answers
from gateway.upstreams.dialects.managed.families import seed_of
from gateway.upstreams.dialects.managed.gmi import Gmi as Dialect
from gateway.upstreams.dialects.ordering import Answer, Order
from gateway.upstreams.orders import NotTaken
from loadtests.simproviders.base import Faults, Refuse
from loadtests.simproviders.gmi import ROOT, Gmi
from loadtests.simproviders.serving import Running, serve
from tests.simproviders.driving import FIRST, IMAGE, account, bytes_of, order, place

MARK = "0123456789abcdef"
MODELS: list[tuple[Order, dict[str, Any], str, str]] = [
    (
        order("images/generations", "gpt-image-2-generate", size="1024x1024", quality="low", n=2),
        {"prompt": "a lighthouse", "size": "1024x1024", "quality": "low", "n": 2},
        "image/png",
        "0.012",
    ),
    (
        order("images/edits", "gpt-image-2-edit", pictures=(IMAGE,), quality="high"),
        {"prompt": "a lighthouse", "quality": "high", "image": ["PICTURE"]},
        "image/png",
        "0.211",
    ),
    (
        order("images/generations", "seedream-5.0-lite", size="2K", format="png"),
        {"prompt": "a lighthouse", "size": "2K", "output_format": "png"},
        "image/jpeg",
        "0.035",
    ),
    (
        order("videos", "veo-3.1-lite-generate-001", size="1280x720", seconds=8.0, mark=MARK),
        {
            "prompt": "a lighthouse",
            "durationSeconds": 8,
            "aspectRatio": "16:9",
            "resolution": "720p",
            "seed": seed_of(MARK),
        },
        "video/mp4",
        "0.40",
    ),
    (
        order("videos", "wan2.7-i2v", pictures=(FIRST,), size="1280x720", seconds=5.0),
        {"prompt": "a lighthouse", "first_frame": "PICTURE", "resolution": "720P", "duration": 5},
        "video/mp4",
        "0.625",
    ),
    (
        order("videos", "wan2.6-t2v", resolution="720p", ratio="9:16", seconds=10.0),
        {"prompt": "a lighthouse", "size": "720*1280", "duration": 10},
        "video/mp4",
        "0.15",
    ),
    (
        order("videos", "Kling-Image2Video-V2.1-Pro", pictures=(FIRST,), seconds=10.0, fields={"cfg_scale": 0.5}),
        {"prompt": "a lighthouse", "image": "PICTURE", "duration": "10", "cfg_scale": 0.5},
        "video/mp4",
        "0.098",
    ),
    (
        order("audio/speech", "elevenlabs-tts-v3", "hello", voice="Rachel", format="mp3", fields={"speed": 1.1}),
        {"text": "hello", "voice_id": "Rachel", "output_format": "mp3_44100_128", "speed": 1.1},
        "audio/mpeg",
        "0.10",
    ),
    (
        order("audio/speech", "minimax-tts-speech-2.6-turbo", "hello", voice="Calm_Woman", format="mp3"),
        {"text": "hello", "voice_id": "Calm_Woman", "format": "mp3"},
        "audio/mpeg",
        "0.06",
    ),
]


@pytest.fixture(scope="module")
def running() -> Iterator[Running[Gmi]]:
    with serve(Gmi(job_s=0.02)) as running:
        yield running


@pytest.fixture
def gmi(running: Running[Gmi]) -> Running[Gmi]:
    running.provider.reset()
    return running


def at(running: Running[Gmi]) -> Any:
    return account("gmi", running.url + ROOT)


def plain(value: Any) -> Any:
    """Pictures as a word."""
    if isinstance(value, str) and value.startswith("data:image/png;base64,"):
        return "PICTURE"
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("wanted", "payload", "kind", "usd"), MODELS, ids=[row[0].model for row in MODELS])
async def test_each_model_makes_its_round_trip(
    gmi: Running[Gmi], wanted: Order, payload: dict[str, Any], kind: str, usd: str
) -> None:
    told = await place(at(gmi), wanted)
    sent = gmi.provider.asks[0]
    assert (sent.method, sent.path, plain(sent.json)) == (
        "POST",
        f"{ROOT}/requests",
        {"model": wanted.model, "payload": payload},
    )
    assert [piece.media_type for piece in told.pieces] == [kind] * wanted.ask.n
    assert all(bytes_of(told))
    assert (gmi.provider.submits, gmi.provider.bill()) == (1, Decimal(usd))


async def test_what_is_done_at_once_is_never_looked_at(gmi: Running[Gmi]) -> None:
    await place(at(gmi), MODELS[0][0])
    assert [ask.method for ask in gmi.provider.asks] == ["POST"]


@pytest.mark.parametrize("key", ["error", "error_message", "reason", "outcome.error"])
@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("rate limit exceeded(RPM)", 429, "rate_limit_exceeded"),
        ("Generation rejected by the safety system", 400, "content_policy_violation"),
        ("Insufficient balance", 402, "insufficient_quota"),
        ("Backend error (400)", 400, "invalid_request"),
        ("boom", 500, ""),
    ],
)
async def test_why_it_failed_is_read_wherever_it_lies(
    gmi: Running[Gmi], key: str, reason: str, status: int, code: str
) -> None:
    gmi.provider.faults = Faults(fail=reason, reason_key=key)
    with pytest.raises(Refused) as caught:
        await place(at(gmi), MODELS[3][0])
    assert (caught.value.status, caught.value.code, caught.value.account) == (status, code, status == 402)
    assert reason not in str(caught.value)


@pytest.mark.parametrize(
    ("refuse", "code", "wait", "elsewhere"),
    [
        (Refuse(429, message="slow down", retry_after=7), "", 7.0, True),
        (Refuse(429, message="rate limit exceeded"), "rate_limit_exceeded", None, True),
        (Refuse(402, message="insufficient credit"), "insufficient_quota", None, True),
        (Refuse(503, message="no capacity"), "server_is_overloaded", None, True),
        (Refuse(401, message="wrong key"), "", None, True),
        (Refuse(404, message="model x not found"), "model_not_found", None, True),
        (Refuse(400, message="Generation rejected"), "content_policy_violation", None, False),
        (Refuse(500, message="boom"), "", None, False),
    ],
)
async def test_refusals(gmi: Running[Gmi], refuse: Refuse, code: str, wait: float | None, elsewhere: bool) -> None:
    gmi.provider.faults.refuse = refuse
    with pytest.raises(Refused) as caught:
        await place(at(gmi), MODELS[0][0])
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (refuse.status, code, wait)
    assert answers.retryable("managed", caught.value) is elsewhere
    assert gmi.provider.submits == 0


async def test_a_wrong_payload_is_the_callers_affair(gmi: Running[Gmi]) -> None:
    gmi.provider.faults.refuse = Refuse(400, message="missing required parameter: x")
    with pytest.raises(NotTaken):
        await place(at(gmi), MODELS[0][0])


async def test_a_success_with_nothing_was_filtered(gmi: Running[Gmi]) -> None:
    gmi.provider.faults.filtered = True
    with pytest.raises(Refused) as caught:
        await place(at(gmi), MODELS[3][0])
    assert answers.about_content(caught.value)


async def test_what_is_queued_for_ever_is_given_up(gmi: Running[Gmi]) -> None:
    gmi.provider.faults.stuck = True
    with pytest.raises(Refused, match="stuck_in_queue"):
        await place(at(gmi), MODELS[3][0], queued=0.1)
    assert [job.state for job in gmi.provider.jobs.values()] == ["cancelled"]


async def test_looks_that_fail_for_good_lose_the_order_and_never_buy_another(gmi: Running[Gmi]) -> None:
    gmi.provider.faults.poll_status = 404
    with pytest.raises(OrderLost):
        await place(at(gmi), MODELS[3][0])
    assert gmi.provider.submits == 1


async def test_an_order_whose_answer_was_lost_is_found_by_its_seed(gmi: Running[Gmi]) -> None:
    gmi.provider.faults.lose_answers = 1
    told = await place(at(gmi), MODELS[3][0])
    assert (gmi.provider.submits, bytes_of(told)[0][4:8]) == (1, b"ftyp")
    other = order("videos", "veo-3.1-lite-generate-001", mark="f" * 16)
    assert Dialect().found(other, listed(gmi, other)) is None


async def test_one_that_cannot_be_found_is_not_bought_again(gmi: Running[Gmi]) -> None:
    gmi.provider.faults.lose_answers = 1
    with pytest.raises(Reset):
        await place(at(gmi), MODELS[0][0])
    assert gmi.provider.submits == 1


@pytest.mark.parametrize(
    "page", [{"requests": [], "total": 3}, {"requests": []}, {"total": 0}, {"requests": {}, "total": 0}]
)
def test_of_a_part_of_the_list_nothing_is_concluded(page: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        Dialect().found(MODELS[3][0], Answer(200, (), json.dumps(page).encode()))


def listed(gmi: Running[Gmi], wanted: Order) -> Answer:
    call = Dialect().find(at(gmi), wanted)
    assert call is not None
    got = httpx.get(f"{gmi.url}{ROOT}/{call.path}", headers={"authorization": "Bearer sim-key"}, trust_env=False)
    return Answer(got.status_code, (), got.content)


async def test_what_has_no_seed_of_its_own_cannot_be_found() -> None:
    to = account("gmi", "http://127.0.0.1:1" + ROOT)
    assert Dialect().find(to, MODELS[0][0]) is None
    assert Dialect().find(to, order("videos", "wan2.6-t2v")) is None
    assert Dialect().find(to, order("videos", "wan2.6-t2v", mark=MARK, fields={"seed": 1})) is None
    assert Dialect().find(to, order("videos", "wan2.6-t2v", mark=MARK)) is not None


@pytest.mark.parametrize(
    ("wanted", "param", "right"),
    [
        (order("videos", "veo-3.1-lite-generate-001", seconds=5.0), "seconds", "4, 6 or 8"),
        (order("videos", "veo-3.1-lite-generate-001", size="640x480"), "size", "1280x720"),
        (order("videos", "wan2.7-i2v"), "input_reference", "1 to 2"),
        (order("videos", "Kling-Image2Video-V2.1-Pro", pictures=(FIRST,), size="1280x720"), "size", ""),
        (order("images/generations", "seedream-5.0-lite", size="1024x1024"), "size", "3686400"),
        (order("images/generations", "seedream-5.0-lite", n=2), "n", "at most 1"),
        (order("images/generations", "seedream-5.0-lite", quality="high"), "quality", ""),
        (order("images/generations", "gpt-image-2-generate", quality="ultra"), "quality", "low, medium or high"),
        (order("images/generations", "gpt-image-2-generate", fields={"background": "transparent"}), "background", ""),
        (order("audio/speech", "elevenlabs-tts-v3", format="wav"), "response_format", "mp3"),
        (order("audio/speech", "elevenlabs-tts-v3", fields={"instructions": "whisper"}), "instructions", "stability"),
        (order("videos", "elevenlabs-tts-v3"), "model", "audio/speech"),
        (order("videos", "no-such-model"), "model", ""),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(wanted: Order, param: str, right: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Dialect().submit(account("gmi", "http://127.0.0.1:1"), wanted)
    assert caught.value.param == param
    assert right in caught.value.message


def test_the_thumbnail_and_the_echo_are_no_results() -> None:
    body = (
        b'{"request_id":"r","status":"completed","payload":{"url":"https://x/echo.mp4"},'
        b'"outcome":{"thumbnail_image_url":"https://x/t.png","video_url":"https://x/v.mp4"}}'
    )
    told = Dialect().polled(MODELS[3][0], "r", Answer(200, (), body))
    assert [piece.url for piece in told.pieces] == ["https://x/v.mp4"]
