"""A job as its callers see it, in each of its states."""

from __future__ import annotations

import json
from itertools import pairwise

import msgspec
import pytest
from openai.types import Video

from gateway.edge import job_views as views
from gateway.jobs.record import Job, Try
from gateway.model import Artefact, JobState

JOB = Job(
    id="video_1",
    request="r1",
    tenant="acme",
    key="k",
    model="film",
    endpoint="videos",
    policy="p1",
    created=100.5,
    expires=1000.0,
    webhook="https://hooks.example.com/secret",
    seconds=4.0,
    size="720x1280",
)
MADE = Artefact("0" * 42, "video/mp4", 10, "abc", "video")


def of(**changes: object) -> Job:
    return msgspec.structs.replace(JOB, **changes)


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("queued", "queued", None),
        ("running", "in_progress", None),
        ("succeeded", "completed", None),
        ("failed", "failed", "upstream_error"),
        ("cancelled", "failed", "cancelled"),
        ("expired", "failed", "expired"),
    ],
)
def test_a_video_is_openais(state: JobState, status: str, code: str | None) -> None:
    error = ("upstream_error", "it broke") if state == "failed" else None
    shown = views.video(of(state=state, error=error, ended=110.0 if error else None))
    seen = Video.model_validate(shown | {"size": "720x1280"})
    assert (seen.status, seen.seconds, seen.size) == (status, "4", "720x1280")
    assert (seen.error and seen.error.code) == code
    assert views.whole(of(state=state))["state"] == state


def test_nothing_of_a_caller_is_shown() -> None:
    tried = Try(attempt="a", upstream="u", backend="b", managed=True, at=1.0, ticket="at the provider")
    text = json.dumps(views.whole(of(tries=(tried,), artefacts=(MADE,))))
    for hidden in ("secret", "at the provider", MADE.id):
        assert hidden not in text
    assert "/v1/gateway/jobs/video_1/artefacts/video" in text


def test_numbers_of_events_grow() -> None:
    way = [of(), of(state="running"), of(state="running", percent=1), of(state="running", percent=99)]
    way += [of(state="succeeded", percent=100)]
    numbers = [views.event_number(one) for one in way]
    assert all(before < after for before, after in pairwise(numbers))
    names = [views.event(one, before).split(b"\n")[1] for one, before in zip(way, [None, *numbers], strict=False)]
    assert names == [b"event: state", b"event: state", b"event: progress", b"event: progress", b"event: state"]


@pytest.mark.parametrize(
    ("media_type", "name"),
    [
        ("video/mp4", "video_1-video.mp4"),
        ("image/png", "video_1-video.png"),
        ("image/webp", "video_1-video.webp"),
        ("x/y", "video_1-video.bin"),
        ('a"\r\nb', "video_1-video.bin"),
    ],
)
def test_file_names(media_type: str, name: str) -> None:
    assert views.file_name(JOB, Artefact("0" * 42, media_type, 1, name="video")) == name


def test_pages() -> None:
    assert views.page([], False) == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    rows = [views.video(of(id=str(number))) for number in range(2)]
    assert (views.page(rows, True)["first_id"], views.page(rows, True)["last_id"]) == ("0", "1")
