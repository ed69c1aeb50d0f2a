"""Volcengine Ark and BytePlus ModelArk: Seedream's pictures at once, Seedance's films as tasks. The address ends in
`/api/v3`; chat passes there as OpenAI's.

Source: volcengine-ark-runtime 5.0.54. A DELETE stops a task that is queued, and removes the record of one that ended.
UNVERIFIED: the names of the hosts where films lie, and how long.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from gateway.errors import BadAnswer
from gateway.model import JobState, Upstream, Usage
from gateway.upstreams import answers
from gateway.upstreams.dialects.figures import Figures, nested
from gateway.upstreams.dialects.managed.ark_models import FAMILIES
from gateway.upstreams.dialects.managed.families import body_of, family_of
from gateway.upstreams.dialects.managed.parts import NO_MARK, look, post, read, segment
from gateway.upstreams.dialects.managed.reading import failure, media_type, piece_name
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

_TASKS = "contents/generations/tasks"
_STATES: Mapping[str, JobState] = {
    "queued": "queued",
    "running": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
    "expired": "expired",
}


class Ark:
    name: ClassVar[str] = "ark"
    hosts: ClassVar[tuple[str, ...]] = ("*.volces.com", "*.bytepluses.com")
    poll_seconds: ClassVar[float] = 5.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        path = _TASKS if order.endpoint == "videos" else "images/generations"
        return post(path, {"model": order.model, **body_of(family_of(FAMILIES, order), order)})

    def submitted(self, order: Order, answer: Answer) -> Told:
        page = read(answer)
        if order.endpoint != "videos":
            return _painted(order, page)
        ticket = page.get("id")
        if not isinstance(ticket, str) or not ticket:
            raise BadAnswer("answered without a task")
        return Told(state="queued", ticket=ticket)

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        return look(f"{_TASKS}/{segment(ticket)}")

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        page = read(answer)
        status = page.get("status")
        if not isinstance(status, str):
            raise BadAnswer("answered without the state of a task")
        state = _STATES.get(status, "running")
        if state == "succeeded":
            return _filmed(order, page)
        if state in ("queued", "running"):
            return Told(state=state)
        return Told(state=state, fault=failure(page.get("error")))

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return Call("DELETE", f"{_TASKS}/{segment(ticket)}")

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None

    def found(self, order: Order, answer: Answer) -> Told | None:
        raise BadAnswer(NO_MARK)


def _filmed(order: Order, page: Mapping[str, Any]) -> Told:
    content = page.get("content")
    url = content.get("video_url") if isinstance(content, dict) else None
    if not isinstance(url, str) or not url:
        return Told(state="failed", fault=answers.judged("", "OutputVideoSensitiveContentDetected"))
    figures, resolution = Figures(), page.get("resolution")
    tokens = figures.count(nested(page, "usage").get("completion_tokens"))
    told = Usage(
        0,
        tokens,
        seconds=figures.seconds(page.get("duration")) or order.ask.seconds or 0.0,
        resolution=resolution if isinstance(resolution, str) else order.ask.resolution,
        absurd=figures.odd,
    )
    piece = Piece("video/mp4", url=url, name=piece_name(order, 0))
    return Told(state="succeeded", pieces=(piece,), usage=told if tokens else None)


def _painted(order: Order, page: Mapping[str, Any]) -> Told:
    """Of a group some may have failed: those that were made are told, and charged."""
    rows = page.get("data")
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    pieces = tuple(_pieces(order, rows))
    if pieces:
        return Told(state="succeeded", pieces=pieces, usage=_usage(nested(page, "usage"), len(pieces)))
    reason = page.get("error") or next((row["error"] for row in rows if row.get("error")), None)
    if reason is None:
        return Told(state="failed", fault=answers.judged("", "OutputImageSensitiveContentDetected"))
    return Told(state="failed", fault=failure(reason))


def _pieces(order: Order, rows: list[dict[str, Any]]) -> Iterator[Piece]:
    kind = media_type(order.ask.format, "", "image/jpeg")
    for i, row in enumerate(rows):
        data, url = row.get("b64_json"), row.get("url")
        if isinstance(data, str) and data:
            try:
                yield Piece(kind, data=b64decode(data, validate=True), name=piece_name(order, i))
            except binascii.Error:
                raise BadAnswer("answered with a picture that is not base64") from None
        elif isinstance(url, str) and url:
            yield Piece(media_type(order.ask.format, url, kind), url=url, name=piece_name(order, i))


def _usage(said: Mapping[str, Any], made: int) -> Usage:
    figures = Figures()
    tokens = figures.count(said.get("output_tokens"))
    return Usage(
        0,
        tokens,
        output_image_tokens=tokens,
        images=figures.count(said.get("generated_images")) or made,
        input_images=figures.count(said.get("input_images")),
        absurd=figures.odd,
    )
