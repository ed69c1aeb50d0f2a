"""DashScope: the simulated one answers Alibaba's own SDK, and what we send is what that SDK sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import dashscope
import pytest
from dashscope import VideoSynthesis
from dashscope.aigc.image_generation import ImageGeneration

from gateway.errors import InvalidRequest, Refused
from gateway.model import Upstream
from gateway.upstreams import answers
from gateway.upstreams.dialects.managed.dashscope import DashScope as Dialect
from gateway.upstreams.dialects.ordering import Answer
from loadtests.simproviders.base import Ask, Faults, Refuse
from loadtests.simproviders.dashscope import DashScope
from loadtests.simproviders.serving import Running, serve
from tests.simproviders.driving import FIRST, IMAGE, account, bytes_of, order, place, seen

ROOT = "/api/v1"
FILM = order("videos", "wan2.6-t2v", size="1280x720", seconds=5.0)


@pytest.fixture(scope="module")
def running() -> Iterator[Running[DashScope]]:
    with serve(DashScope(job_s=0.02)) as running:
        yield running


@pytest.fixture
def alibaba(running: Running[DashScope], monkeypatch: pytest.MonkeyPatch) -> Running[DashScope]:
    running.provider.reset()
    monkeypatch.setattr(dashscope, "base_http_api_url", running.url + ROOT)
    return running


def at(running: Running[DashScope]) -> Upstream:
    return account("dashscope", running.url + ROOT)


FILMS: list[tuple[dict[str, Any], Any]] = [
    (
        {"model": "wan2.6-t2v", "prompt": "a lighthouse", "size": "1280*720", "duration": 5, "seed": 7},
        order("videos", "wan2.6-t2v", size="1280x720", seconds=5.0, fields={"seed": 7}),
    ),
    (
        {"model": "wan2.7-t2v", "prompt": "a lighthouse", "resolution": "720P", "ratio": "9:16", "duration": 8},
        order("videos", "wan2.7-t2v", size="720x1280", seconds=8.0),
    ),
    (
        {
            "model": "wan2.7-i2v",
            "prompt": "a lighthouse",
            "media": [{"type": "first_frame", "url": "PICTURE"}],
            "resolution": "1080P",
            "duration": 5,
            "negative_prompt": "fog",
            "prompt_extend": False,
        },
        order(
            "videos",
            "wan2.7-i2v",
            resolution="1080p",
            seconds=5.0,
            pictures=(FIRST,),
            fields={"negative_prompt": "fog", "prompt_extend": False},
        ),
    ),
    (
        {"model": "wan2.6-i2v", "prompt": "a lighthouse", "img_url": "PICTURE", "resolution": "720P", "duration": 5},
        order("videos", "wan2.6-i2v", resolution="720p", seconds=5.0, pictures=(FIRST,)),
    ),
]


def plain(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("data:image/png;base64,"):
        return "PICTURE"
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("theirs", "ours"), FILMS, ids=[theirs["model"] for theirs, _ in FILMS])
async def test_alibabas_sdk_films_here_and_we_send_what_it_sends(
    alibaba: Running[DashScope], theirs: dict[str, Any], ours: Any
) -> None:
    if "img_url" in theirs or "media" in theirs:  # an address of a picture: the SDK would upload a file elsewhere
        address = "https://example.com/first.png"
        theirs = {**theirs, **({"img_url": address} if "img_url" in theirs else {})}
        if "media" in theirs:
            theirs["media"] = [{"type": "first_frame", "url": address}]
    answer = await asyncio.to_thread(lambda: VideoSynthesis.async_call(api_key="sim-key", **theirs))
    done = await asyncio.to_thread(lambda: _done(answer.output.task_id))
    assert done.output.task_status == "SUCCEEDED"
    sent = theirs_of(alibaba.provider.asks[0])
    look = seen(alibaba.provider.asks[1])
    alibaba.provider.asks.clear()
    told = await place(at(alibaba), ours)
    mine, my_look = seen(alibaba.provider.asks[0]), seen(alibaba.provider.asks[1])
    sent["body"]["input"].pop("extend_prompt")  # deprecated, always sent by the SDK; `prompt_extend` took its place
    assert sent["body"]["input"].pop("function") == "video-synthesis"  # the SDK repeats the end of the path there
    sent["body"] = _named(sent["body"])
    mine["body"] = plain(mine["body"])
    assert mine == sent
    assert (my_look["method"], my_look["path"].rpartition("/")[0]) == (look["method"], look["path"].rpartition("/")[0])
    assert len(bytes_of(told)) == 1
    assert told.usage is not None
    assert told.usage.seconds == theirs["duration"]
    assert alibaba.provider.submits == 2


def theirs_of(ask: Ask) -> dict[str, Any]:
    """Without what the SDK says of itself."""
    found = seen(ask)
    found["headers"] = {
        name: value for name, value in found["headers"].items() if not name.startswith("x-dashscope-sdk-")
    }
    return found


def _done(task: str) -> Any:
    for _ in range(1000):
        got = VideoSynthesis.fetch(task, api_key="sim-key")
        if got.output.task_status not in ("PENDING", "RUNNING"):
            return got
    raise AssertionError("the film never ends")


def _named(value: Any) -> Any:
    if value == "https://example.com/first.png":
        return "PICTURE"
    if isinstance(value, dict):
        return {name: _named(each) for name, each in value.items()}
    return [_named(each) for each in value] if isinstance(value, list) else value


async def test_pictures_are_asked_for_as_its_sdk_does(alibaba: Running[DashScope]) -> None:
    call: Any = ImageGeneration.call
    message = {"role": "user", "content": [{"image": "https://example.com/first.png"}, {"text": "a lighthouse"}]}
    got = await asyncio.to_thread(
        lambda: call("wan2.6-image", "sim-key", [message], n=2, size="1280*1280", watermark=False)
    )
    assert len(got.output.choices) == 2
    theirs = theirs_of(alibaba.provider.asks[0])
    wanted = order(
        "images/edits", "wan2.6-image", n=2, size="1280x1280", pictures=(IMAGE,), fields={"watermark": False}
    )
    told = await place(at(alibaba), wanted)
    ours = seen(alibaba.provider.asks[1])
    assert {**ours, "body": plain(ours["body"])} == {**theirs, "body": _named(theirs["body"])}
    assert [len(bytes_of(told)), told.usage.images if told.usage else 0] == [2, 2]
    assert [piece.name for piece in told.pieces] == ["image-0", "image-1"]


@pytest.mark.parametrize(
    ("faults", "status", "code"),
    [
        (Faults(fail="no", fail_code="DataInspectionFailed"), 400, "DataInspectionFailed"),
        (Faults(fail="no", fail_code="Arrearage"), 402, "Arrearage"),
        (Faults(fail="no", fail_code="Throttling.RateQuota"), 429, "Throttling.RateQuota"),
        (Faults(fail="no", fail_code="InternalError"), 500, "InternalError"),
        (Faults(filtered=True), 400, "DataInspectionFailed"),
        (Faults(refuse=Refuse(429, "Throttling.RateQuota", retry_after=2)), 429, "Throttling.RateQuota"),
        (Faults(refuse=Refuse(400, "Arrearage")), 400, "Arrearage"),
        (Faults(refuse=Refuse(404, "ModelNotFound")), 404, "ModelNotFound"),
        (Faults(refuse=Refuse(400, "DataInspectionFailed")), 400, "DataInspectionFailed"),
    ],
)
async def test_faults(alibaba: Running[DashScope], faults: Faults, status: int, code: str) -> None:
    alibaba.provider.faults = faults
    with pytest.raises(Refused) as caught:
        await place(at(alibaba), FILM)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.account == (code == "Arrearage")
    assert answers.about_content(caught.value) == (code == "DataInspectionFailed")


def test_an_error_inside_a_success_is_an_error() -> None:
    with pytest.raises(Refused) as caught:
        Dialect().submitted(FILM, Answer(200, (), b'{"code":"Arrearage","message":"m","request_id":"r"}'))
    assert caught.value.account


def test_a_task_that_is_forgotten_is_at_its_end() -> None:
    page = b'{"output":{"task_id":"t","task_status":"UNKNOWN"},"request_id":"r"}'
    assert Dialect().polled(FILM, "t", Answer(200, (), page)).state == "expired"


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        (order("videos", "wan2.6-t2v", seconds=7.0), "seconds"),
        (order("videos", "wan2.6-t2v", size="1024x1024"), "size"),
        (order("videos", "wan2.7-i2v"), "input_reference"),
        (order("videos", "wan2.6-t2v", pictures=(FIRST,)), "input_reference"),
        (order("images/generations", "wan2.6-t2i", quality="high"), "quality"),
        (order("images/edits", "wan2.6-t2i", pictures=(IMAGE,)), "model"),
        (order("videos", "wan2.6-t2v", fields={"img_url": "https://10.0.0.1/"}), "img_url"),
    ],
)
def test_what_it_cannot_do(wanted: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Dialect().submit(account("dashscope", "http://x" + ROOT), wanted)
    assert caught.value.param == param
