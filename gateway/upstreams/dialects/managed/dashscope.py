"""Alibaba DashScope (Model Studio): films as tasks, pictures at once. Its address ends in `/api/v1`.

Source: dashscope 2.0.2 and the provider's help pages. UNVERIFIED: the names of the hosts where results lie (a bucket of
the provider's own storage, signed for 24 hours), and how often a task may be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from gateway.errors import BadAnswer
from gateway.model import JobState, Upstream, Usage
from gateway.upstreams import answers
from gateway.upstreams.dialects.figures import Figures, nested
from gateway.upstreams.dialects.managed.dashscope_models import FAMILIES
from gateway.upstreams.dialects.managed.families import body_of, family_of
from gateway.upstreams.dialects.managed.parts import JSON, NO_MARK, look, post, read, segment
from gateway.upstreams.dialects.managed.reading import failure, media_type, piece_name
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

_LATER = (*JSON, (b"x-dashscope-async", b"enable"))
_FILMS = "services/aigc/video-generation/video-synthesis"
_PICTURES = "services/aigc/multimodal-generation/generation"
_STATES: Mapping[str, JobState] = {
    "PENDING": "queued",
    "RUNNING": "running",
    "SUSPENDED": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELED": "cancelled",
    "CANCELLED": "cancelled",
    "UNKNOWN": "expired",
}


class DashScope:
    name: ClassVar[str] = "dashscope"
    hosts: ClassVar[tuple[str, ...]] = ("*.aliyuncs.com",)
    poll_seconds: ClassVar[float] = 15.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        made: dict[str, Any] = {"model": order.model, **body_of(family_of(FAMILIES, order), order)}
        if order.endpoint == "videos":
            return Call("POST", _FILMS, _LATER, msgspec.json.encode(made))
        # Pictures first, then what is to be done with them.
        parts = sorted(made["input"].pop("content", []), key=lambda part: "text" in part)
        made["input"]["messages"] = [{"role": "user", "content": parts}]
        return post(_PICTURES, made)

    def submitted(self, order: Order, answer: Answer) -> Told:
        return _told(order, read(answer))

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        return look(f"tasks/{segment(ticket)}")

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        return _told(order, read(answer))

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        """Of use only while it is queued."""
        return Call("POST", f"tasks/{segment(ticket)}/cancel", JSON)

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None

    def found(self, order: Order, answer: Answer) -> Told | None:
        raise BadAnswer(NO_MARK)


def _told(order: Order, page: Mapping[str, Any]) -> Told:
    output = page.get("output")
    if not isinstance(output, dict):
        code = page.get("code")
        if isinstance(code, str) and code:
            raise failure(page.get("message"), code)
        raise BadAnswer("answered without an output")
    usage = _usage(nested(page, "usage"))
    if "choices" in output:
        return _ended(None, tuple(_pictures(order, output["choices"])), usage)
    ticket, status = output.get("task_id"), output.get("task_status")
    if not isinstance(ticket, str) or not isinstance(status, str):
        raise BadAnswer("answered without a task")
    state = _STATES.get(status.upper(), "running")
    if state == "succeeded":
        url = output.get("video_url")
        found = (Piece("video/mp4", url=url, name=piece_name(order, 0)),) if isinstance(url, str) and url else ()
        return _ended(ticket, found, usage)
    if state in ("queued", "running"):
        return Told(state=state, ticket=ticket)
    code = output.get("code")
    return Told(state=state, ticket=ticket, fault=failure(output.get("message"), code if isinstance(code, str) else ""))


def _ended(ticket: str | None, pieces: tuple[Piece, ...], usage: Usage | None) -> Told:
    if pieces:
        return Told(state="succeeded", ticket=ticket, pieces=pieces, usage=usage)
    return Told(state="failed", ticket=ticket, fault=answers.judged("", "DataInspectionFailed"))


def _pictures(order: Order, choices: Any) -> Iterator[Piece]:
    i = 0
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            url = part.get("image") if isinstance(part, dict) else None
            if isinstance(url, str) and url:
                yield Piece(media_type(None, url, "image/png"), url=url, name=piece_name(order, i))
                i += 1


def _usage(said: Mapping[str, Any]) -> Usage | None:
    """Seconds as they are charged: of films that are edited, those that were sent too."""
    figures, resolution = Figures(), said.get("SR")
    seconds, images = figures.seconds(said.get("duration")), figures.count(said.get("image_count"))
    if not (seconds or images):
        return None
    shown = f"{resolution}p" if isinstance(resolution, int) and seconds else None
    return Usage(0, 0, images=0 if seconds else images, seconds=seconds, resolution=shown, absurd=figures.odd)
