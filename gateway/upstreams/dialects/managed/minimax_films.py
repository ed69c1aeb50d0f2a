"""MiniMax's films, by both of its APIs: the older one names a file that is asked for in a third step, the newer one
(H3) gives the address. Sources: its own pages as of November 2026 and public clients; UNVERIFIED: the newer one's
`content` and `error`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlencode

import msgspec

from gateway.errors import BadAnswer, InvalidRequest, UpstreamFault
from gateway.model import Upstream
from gateway.upstreams.dialects.managed.minimax import told
from gateway.upstreams.dialects.managed.offers import Offers, hold, rows_of
from gateway.upstreams.dialects.managed.parts import (
    LOOK,
    NO_MARK,
    code_word,
    data_url,
    inner,
    look,
    own_fields,
    pictures,
    post,
    refused,
    rooted,
    segment,
    text_of,
    whole,
)
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

OFFERS: Offers = rows_of(
    "minimax",
    {
        "MiniMax-H3*": "h3",
        "MiniMax-Hailuo-*": "hailuo",
        "I2V-01*": "i2v-01",
        "T2V-01*": "t2v-01",
    },
)
_NEWER = "MiniMax-H3*"
_FIELDS = frozenset({"prompt_optimizer", "fast_pretreatment", "aigc_watermark"})
_OURS = {"duration": "seconds", "first_frame_image": "input_reference", "last_frame_image": "last_frame",
         "content": "prompt and input_reference", "subject_reference": "input_reference",
         "callback_url": "a job's webhook"}  # fmt: skip


class _Ticket(msgspec.Struct):
    task: str
    file: str = ""
    """Of the older API, once it is made."""


class MiniMaxFilms:
    name = "minimax"
    hosts = ("*.minimax.io", "*.minimaxi.com", "public-cdn-video-data-algeng*.aliyuncs.com")  # UNVERIFIED
    poll_seconds = 5.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        hold(OFFERS, order)
        if order.ask.size is not None:
            raise InvalidRequest("size cannot be said to this model: use resolution and aspect_ratio", param="size")
        own = own_fields(order, _OURS, _FIELDS)
        if _newer(order):
            return post(rooted(upstream, "/v2/video_generation"), _newer_body(order) | own)
        return post(rooted(upstream, "/v1/video_generation"), _older_body(order) | own)

    def submitted(self, order: Order, answer: Answer) -> Told:
        task = text_of(told(answer), "task_id")
        segment(task)
        return Told(state="queued", ticket=_written(_Ticket(task)))

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        known = _read_ticket(ticket)
        if _newer(order):
            return look(rooted(upstream, f"/v2/query/video_generation/{segment(known.task)}"))
        if known.file:
            return look(rooted(upstream, f"/v1/files/retrieve?{urlencode({'file_id': known.file})}"))
        return look(rooted(upstream, f"/v1/query/video_generation?{urlencode({'task_id': known.task})}"))

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        known, found = _read_ticket(ticket), told(answer)
        if _newer(order):
            return _newer_told(found)
        if known.file:
            return _film(text_of(inner(found, "file"), "download_url"))
        return _older_told(known, found)

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        """The newer API alone."""
        if not _newer(order):
            return None
        return Call("DELETE", rooted(upstream, f"/v2/video_generation/{segment(_read_ticket(ticket).task)}"), LOOK)

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None

    def found(self, order: Order, answer: Answer) -> Told | None:
        raise NotImplementedError(f"MiniMax {NO_MARK}")


def _newer(order: Order) -> bool:
    return fnmatchcase(order.model, _NEWER)


def _older_body(order: Order) -> dict[str, Any]:
    if order.ask.ratio is not None:
        raise InvalidRequest("aspect_ratio cannot be said to this model, which has its picture's", param="aspect_ratio")
    body = _common(order)
    if order.ask.resolution is not None:
        body["resolution"] = order.ask.resolution.upper()
    if pictures(order, "reference") or len(pictures(order, "image", "first_frame")) > 1:
        raise InvalidRequest("input_reference: one first and one last picture", param="input_reference")
    for one in pictures(order, "image", "first_frame"):
        body["first_frame_image"] = data_url(one)
    for one in pictures(order, "last_frame"):
        body["last_frame_image"] = data_url(one)
    return body


def _newer_body(order: Order) -> dict[str, Any]:
    body, ask = _common(order), order.ask
    content: list[dict[str, Any]] = [{"type": "text", "text": body.pop("prompt")}]
    for one in order.pictures:
        role = "first_frame" if one.role == "image" else one.role
        content.append({"type": "image_url", "image_url": {"url": data_url(one)}, "role": role})
    body["content"] = content
    return body | {
        name: said for name, said in (("resolution", ask.resolution), ("ratio", ask.ratio)) if said is not None
    }


def _common(order: Order) -> dict[str, Any]:
    body: dict[str, Any] = {"model": order.model, "prompt": order.prompt}
    if order.ask.seconds is not None:
        body["duration"] = whole(order.ask.seconds)
    return body


def _older_told(known: _Ticket, found: dict[str, Any]) -> Told:
    match found.get("status"):
        case "Preparing" | "Queueing":
            return Told(state="queued")
        case "Processing":
            return Told(state="running")
        case "Success":
            file = text_of(found, "file_id")
            return Told(state="running", ticket=_written(_Ticket(known.task, file)), after=0.0)
        case "Fail" | "Failed":
            return Told(state="failed", fault=_failed(found))
        case _:
            raise BadAnswer("answered with a status that MiniMax does not have")


def _newer_told(found: dict[str, Any]) -> Told:
    match found.get("status"):
        case "queued":
            return Told(state="queued")
        case "running":
            return Told(state="running")
        case "succeeded":
            return _film(text_of(inner(found, "content"), "video_url"))
        case "failed":
            return Told(state="failed", fault=_failed(found))
        case "cancelled":
            return Told(state="cancelled")
        case "expired":
            return Told(state="expired")
        case _:
            raise BadAnswer("answered with a status that MiniMax does not have")


def _failed(found: dict[str, Any]) -> UpstreamFault:
    said = inner(found, "error").get("code") or found.get("error_code") or ""
    code = f"base_resp_{said}" if str(said).isdigit() else code_word(str(said))
    return refused(500, code or "task_failed")


def _film(url: str) -> Told:
    return Told(state="succeeded", pieces=(Piece("video/mp4", url=url),))


def _written(ticket: _Ticket) -> str:
    return msgspec.json.encode(ticket).decode()


def _read_ticket(ticket: str) -> _Ticket:
    return msgspec.json.decode(ticket, type=_Ticket)
