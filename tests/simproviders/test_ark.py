"""Volcengine Ark: the simulated one answers its own SDK, and what we send is what that SDK sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from volcenginesdkarkruntime import Ark as Sdk  # type: ignore[import-untyped]

from gateway.errors import InvalidRequest, OrderLost, Refused
from gateway.model import Upstream
from gateway.upstreams import answers
from gateway.upstreams.dialects.managed.ark import Ark as Dialect
from gateway.upstreams.dialects.managed.parts import data_url
from loadtests.simproviders.ark import Ark
from loadtests.simproviders.base import Faults, Refuse
from loadtests.simproviders.serving import Running, serve
from tests.simproviders.driving import FIRST, IMAGE, account, bytes_of, order, place, seen

ROOT = "/api/v3"
SEEDANCE, SEEDREAM = "doubao-seedance-1-0-pro-250528", "doubao-seedream-5-0-lite-260128"
FILM = order("videos", SEEDANCE, size="1280x720", seconds=5.0)
PICTURE = order("images/generations", SEEDREAM, size="2K")


@pytest.fixture(scope="module")
def running() -> Iterator[Running[Ark]]:
    with serve(Ark(job_s=0.02)) as running:
        yield running


@pytest.fixture
def ark(running: Running[Ark]) -> Running[Ark]:
    running.provider.reset()
    return running


def at(running: Running[Ark]) -> Upstream:
    return account("ark", running.url + ROOT)


def sdk(running: Running[Ark]) -> Sdk:
    return Sdk(base_url=running.url + ROOT, api_key="sim-key")


def told_by(ask: Any) -> dict[str, Any]:
    """The SDK sends null for what is not said, and a header about itself."""
    found = seen(ask)
    found["headers"] = {name: value for name, value in found["headers"].items() if not name.startswith("x-")}
    found["headers"].pop("idempotency-key", None)
    if found["body"] is not None:
        found["body"] = {name: value for name, value in found["body"].items() if value is not None}
    return found


def _film(running: Running[Ark]) -> Any:
    client = sdk(running)
    task = client.content_generation.tasks.create(
        model=SEEDANCE,
        content=[
            {"type": "text", "text": "a lighthouse"},
            {"type": "image_url", "image_url": {"url": data_url(FIRST)}, "role": "first_frame"},
        ],
        resolution="720p",
        ratio="16:9",
        duration=5,
        seed=7,
        watermark=False,
    )
    for _ in range(1000):
        found = client.content_generation.tasks.get(task_id=task.id)
        if found.status not in ("queued", "running"):
            return found
    raise AssertionError("the film never ends")


async def test_its_sdk_films_here_and_we_send_what_it_sends(ark: Running[Ark]) -> None:
    theirs = await asyncio.to_thread(_film, ark)
    assert theirs.status == "succeeded"
    first, look = told_by(ark.provider.asks[0]), told_by(ark.provider.asks[1])
    ark.provider.asks.clear()
    wanted = order(
        "videos",
        SEEDANCE,
        size="1280x720",
        seconds=5.0,
        pictures=(FIRST,),
        fields={"seed": 7, "watermark": False},
    )
    told = await place(at(ark), wanted)
    assert told_by(ark.provider.asks[0]) == first
    mine = told_by(ark.provider.asks[1])
    assert mine["path"].rpartition("/")[0] == look["path"].rpartition("/")[0]
    assert mine["headers"].items() <= look["headers"].items()  # the SDK sends a content type with nothing
    assert told.usage is not None
    assert (told.usage.output_tokens, told.usage.seconds) == (theirs.usage.completion_tokens, 5.0)
    assert theirs.usage.completion_tokens == 1280 * 720 * 24 * 5 // 1024
    assert bytes_of(told)[0][4:8] == b"ftyp"


async def test_its_sdk_paints_here_and_we_send_what_it_sends(ark: Running[Ark]) -> None:
    made = await asyncio.to_thread(
        lambda: sdk(ark).images.generate(
            model=SEEDREAM,
            prompt="a lighthouse",
            image=[data_url(IMAGE)],
            size="2K",
            output_format="png",
            response_format="b64_json",
            watermark=False,
        )
    )
    theirs = told_by(ark.provider.asks[0])
    theirs["body"].pop("stream", None)  # false, which is what an answer without it is
    wanted = order("images/edits", SEEDREAM, size="2K", format="png", pictures=(IMAGE,), fields={"watermark": False})
    told = await place(at(ark), wanted)
    assert told_by(ark.provider.asks[1]) == theirs
    assert told.usage is not None
    assert (told.usage.images, told.usage.output_tokens) == (1, made.usage.output_tokens)
    assert [piece.media_type for piece in told.pieces] == ["image/png"]
    assert bytes_of(told)


@pytest.mark.parametrize("wanted", [FILM, PICTURE], ids=["film", "picture"])
@pytest.mark.parametrize(
    ("code", "status", "content", "account"),
    [
        ("OutputImageSensitiveContentDetected", 400, True, False),
        ("AccountOverdueError", 402, False, True),
        ("SetLimitExceeded", 402, False, True),
        ("ServerOverloaded", 429, False, False),
        ("InternalServiceError", 500, False, False),
    ],
)
async def test_failures(ark: Running[Ark], wanted: Any, code: str, status: int, content: bool, account: bool) -> None:
    ark.provider.faults = Faults(fail="no", fail_code=code)
    with pytest.raises(Refused) as caught:
        await place(at(ark), wanted)
    found = caught.value
    assert (found.status, answers.about_content(found), found.account) == (status, content, account)


@pytest.mark.parametrize(
    ("refuse", "elsewhere"),
    [
        (Refuse(429, "SetLimitExceeded"), True),
        (Refuse(429, "ModelAccountRpmRateLimitExceeded", retry_after=1), True),
        (Refuse(403, "AccountOverdueError"), True),
        (Refuse(404, "InvalidEndpointOrModel.NotFound"), True),
        (Refuse(400, "InputTextSensitiveContentDetected"), False),
        (Refuse(500, "InternalServiceError"), False),
    ],
)
async def test_refusals(ark: Running[Ark], refuse: Refuse, elsewhere: bool) -> None:
    ark.provider.faults.refuse = refuse
    with pytest.raises(Refused) as caught:
        await place(at(ark), FILM)
    assert caught.value.code == refuse.code
    assert answers.retryable("managed", caught.value) is elsewhere
    assert ark.provider.submits == 0


async def test_nobody_lets_the_model_decide_how_many_are_charged(ark: Running[Ark]) -> None:
    fields = {"sequential_image_generation": "auto", "sequential_image_generation_options": {"max_images": 3}}
    with pytest.raises(InvalidRequest, match="sequential_image_generation"):
        await place(at(ark), order("images/generations", SEEDREAM, size="2K", fields=fields))
    assert ark.provider.submits == 0


async def test_a_film_without_an_address_was_filtered(ark: Running[Ark]) -> None:
    ark.provider.faults.filtered = True
    with pytest.raises(Refused) as caught:
        await place(at(ark), FILM)
    assert answers.about_content(caught.value)


async def test_what_is_stuck_is_deleted(ark: Running[Ark]) -> None:
    ark.provider.faults.stuck = True
    with pytest.raises(Refused, match="stuck_in_queue"):
        await place(at(ark), FILM, queued=0.1)
    assert [job.state for job in ark.provider.jobs.values()] == ["cancelled"]


async def test_a_record_that_is_gone_loses_the_order(ark: Running[Ark]) -> None:
    ark.provider.faults.poll_status = 404
    with pytest.raises(OrderLost):
        await place(at(ark), FILM)
    assert ark.provider.submits == 1


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        (order("videos", SEEDANCE, seconds=20.0), "seconds"),
        (order("videos", SEEDANCE, ratio="2:1"), "aspect_ratio"),
        (order("images/generations", SEEDREAM, size="1024x1024"), "size"),
        (order("images/generations", SEEDREAM, n=3, size="2K"), "n"),
        (order("videos", SEEDANCE, fields={"callback_url": "https://10.0.0.1/"}), "callback_url"),
    ],
)
def test_what_it_cannot_do(wanted: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Dialect().submit(account("ark", "http://x" + ROOT), wanted)
    assert caught.value.param == param
