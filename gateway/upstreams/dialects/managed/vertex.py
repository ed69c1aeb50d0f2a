"""Veo on Vertex AI: long-running operations that are asked for by a POST.

The upstream's address ends in `/v1/projects/PROJECT/locations/LOCATION`. Results come inside the operation: no bucket
is named (`storageUri` is never sent), so none of ours is needed. Source: google-genai 3.4.0. No cancel is known here.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from gateway.errors import BadAnswer
from gateway.model import Upstream
from gateway.upstreams import answers
from gateway.upstreams.dialects.managed.families import body_of, family_of
from gateway.upstreams.dialects.managed.parts import NO_MARK, post, segment
from gateway.upstreams.dialects.managed.reading import operation_failure, page_of, piece_name
from gateway.upstreams.dialects.managed.vertex_models import FAMILIES
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told


class Vertex:
    name: ClassVar[str] = "vertex"
    hosts: ClassVar[tuple[str, ...]] = ()
    poll_seconds: ClassVar[float] = 10.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        made = body_of(family_of(FAMILIES, order), order)
        body: dict[str, Any] = {"instances": [made.get("instance", {})]}
        if "parameters" in made:
            body["parameters"] = made["parameters"]
        return post(f"{_model(order)}:predictLongRunning", body)

    def submitted(self, order: Order, answer: Answer) -> Told:
        return _told(order, page_of(answer))

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        return post(f"{_model(order)}:fetchPredictOperation", {"operationName": ticket})

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        return _told(order, page_of(answer))

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return None

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None

    def found(self, order: Order, answer: Answer) -> Told | None:
        raise BadAnswer(NO_MARK)


def _model(order: Order) -> str:
    return f"publishers/google/models/{segment(order.model)}"


def _told(order: Order, page: Mapping[str, Any]) -> Told:
    name = page.get("name")
    if not isinstance(name, str) or not name:
        raise BadAnswer("answered without the name of an operation")
    if page.get("done") is not True:
        return Told(state="running", ticket=name)
    if isinstance(error := page.get("error"), dict):
        return Told(state="failed", ticket=name, fault=operation_failure(error))
    response = page.get("response")
    response = response if isinstance(response, dict) else {}
    pieces = tuple(_pieces(order, response))
    if pieces:
        return Told(state="succeeded", ticket=name, pieces=pieces)
    if response.get("raiMediaFilteredCount"):
        return Told(state="failed", ticket=name, fault=answers.judged("", "content_policy_violation"))
    return Told(state="failed", ticket=name, fault=BadAnswer("ended its operation with no film"))


def _pieces(order: Order, response: Mapping[str, Any]) -> Iterator[Piece]:
    videos = response.get("videos")
    for i, video in enumerate(videos if isinstance(videos, list) else ()):
        if not isinstance(video, dict):
            continue
        kind, data = video.get("mimeType"), video.get("bytesBase64Encoded")
        if not isinstance(data, str):
            raise BadAnswer("left its film in a bucket")
        try:
            film = b64decode(data, validate=True)
        except binascii.Error:
            raise BadAnswer("answered with a film that is not base64") from None
        yield Piece(kind if isinstance(kind, str) else "video/mp4", data=film, name=piece_name(order, i))
