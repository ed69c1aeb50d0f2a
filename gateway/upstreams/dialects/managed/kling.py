"""Kling's own API: films, and pictures. Sources: public clients and third-party pages (Kling has no SDK): UNVERIFIED
where marked. `external_task_id` is our mark, and may stand where the task's id does: so a task whose answer was lost is
found again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import BadAnswer, InvalidRequest, Refused
from gateway.model import Upstream
from gateway.upstreams import answers
from gateway.upstreams.dialects.figures import ODD_JSON
from gateway.upstreams.dialects.managed.offers import Offers, hold, rows_of
from gateway.upstreams.dialects.managed.parts import (
    inner,
    look,
    of_openai_alone,
    own_fields,
    pictures,
    plain_base64,
    post,
    refused,
    resolution_of,
    rooted,
    segment,
    text_of,
)
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

OFFERS: Offers = rows_of(
    "kling",
    {
        "kling-v3*": "v3",
        "kling-v2-master*": "v2-master",
        "kling-v*": "older",
    },
)
_SIZES = {"1280x720": ("16:9", "720p"), "720x1280": ("9:16", "720p"), "1920x1080": ("16:9", "1080p"),
          "1080x1920": ("9:16", "1080p"), "720x720": ("1:1", "720p"), "1080x1080": ("1:1", "1080p")}  # fmt: skip
"""Of films, as ratio and resolution; its resolution is its mode."""
_MODE_OF = {"720p": "std", "1080p": "pro", "standard": "std", "high": "pro", "std": "std", "pro": "pro"}
_FILM_FIELDS = frozenset({"negative_prompt", "cfg_scale", "camera_control"})
_IMAGE_FIELDS = frozenset({"negative_prompt", "image_fidelity", "human_fidelity", "image_reference"})
_OURS = {"model_name": "model", "duration": "seconds", "mode": "quality", "image_tail": "last_frame",
         "callback_url": "a job's webhook", "external_task_id": "no mark of your own",
         "sound": "another model"}  # fmt: skip
_NO_SUCH_TASK = 1203
"""Nothing else says that it surely is not there."""
_STATUS = {
    1000: 401, 1001: 401, 1002: 401, 1003: 401, 1004: 401, 1100: 401, 1101: 402, 1102: 402, 1103: 403,
    1200: 400, 1201: 400, 1202: 404, 1203: 404, 1300: 400, 1301: 400, 1302: 429, 1303: 429, 1304: 403,
    5000: 500, 5001: 503, 5002: 504,
}  # fmt: skip
"""Kling's codes -> the HTTP status that says the same; it gives 429 for an empty account too (1101, 1102)."""


class Kling:
    name = "kling"
    hosts = ("*.klingai.com", "*.kling.ai", "*.kwaicdn.com", "*.kwimgs.com")  # UNVERIFIED: the last two

    def __init__(self, poll_seconds: float = 5.0) -> None:
        self.poll_seconds = poll_seconds

    def submit(self, upstream: Upstream, order: Order) -> Call:
        hold(OFFERS, order)
        kind, asked = _film(order) if order.endpoint == "videos" else _image(order)
        if order.mark:
            asked["external_task_id"] = order.mark
        return post(rooted(upstream, f"/v1/{kind}"), asked)

    def submitted(self, order: Order, answer: Answer) -> Told:
        return _told(order, _data(answer))

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        return look(rooted(upstream, f"/v1/{_kind(order)}/{segment(ticket)}"))

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        return _told(order, _data(answer))

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return None

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return look(rooted(upstream, f"/v1/{_kind(order)}/{segment(order.mark)}")) if order.mark else None

    def found(self, order: Order, answer: Answer) -> Told | None:
        if _code(answer) == _NO_SUCH_TASK:
            return None
        return _told(order, _data(answer))


def _kind(order: Order) -> str:
    if order.endpoint != "videos":
        return "images/generations"
    return "videos/image2video" if order.pictures else "videos/text2video"


def _film(order: Order) -> tuple[str, dict[str, Any]]:
    ask = order.ask
    asked: dict[str, Any] = {"model_name": order.model, "prompt": order.prompt, "duration": f"{ask.seconds or 5:g}"}
    ratio, resolution = ask.ratio, ask.resolution
    if ask.size is not None:
        if ask.size not in _SIZES:
            raise InvalidRequest(f"size must be one of {', '.join(_SIZES)} for this model", param="size")
        ratio, resolution = _SIZES[ask.size]
    mode = _MODE_OF.get((ask.quality or resolution or "").lower())
    if mode is not None:
        asked["mode"] = mode
    if ask.n > 1:
        raise InvalidRequest("n must be 1 for films of this model", param="n")
    first, last = pictures(order, "image", "first_frame"), pictures(order, "last_frame")
    if not order.pictures and ratio is not None:
        asked["aspect_ratio"] = ratio  # a film of a picture has the picture's
    if len(first) > 1 or len(last) > 1 or pictures(order, "reference"):
        raise InvalidRequest("input_reference: one first and one last picture", param="input_reference")
    for one in first:
        asked["image"] = plain_base64(one)
    for one in last:
        asked["image_tail"] = plain_base64(one)
    return _kind(order), asked | own_fields(order, _OURS, _FILM_FIELDS)


def _image(order: Order) -> tuple[str, dict[str, Any]]:
    ask = order.ask
    asked: dict[str, Any] = {"model_name": order.model, "prompt": order.prompt, "n": ask.n}
    if ask.size is not None:
        raise InvalidRequest("size cannot be said to this model: use aspect_ratio and resolution", param="size")
    of_openai_alone(order)
    for name, said in (("aspect_ratio", ask.ratio), ("resolution", resolution_of(order))):
        if said is not None:
            asked[name] = said.lower()
    sent = pictures(order, "image", "reference")
    if len(sent) > 1:
        raise InvalidRequest("image: this model takes one picture", param="image")
    for one in sent:
        asked["image"] = plain_base64(one)
    return _kind(order), asked | own_fields(order, _OURS, _IMAGE_FIELDS)


class _Envelope(msgspec.Struct):
    code: int = 0
    data: dict[str, Any] | None = None


def _envelope(answer: Answer) -> _Envelope | None:
    try:
        return msgspec.json.decode(answer.body, type=_Envelope)
    except ODD_JSON:
        return None


def _code(answer: Answer) -> int:
    envelope = _envelope(answer)
    return 0 if envelope is None else envelope.code


def _data(answer: Answer) -> dict[str, Any]:
    """Raises Refused for every answer but one of code 0."""
    envelope = _envelope(answer)
    if envelope is not None and envelope.code:
        raise _refused(envelope.code, answer)
    if answer.status >= answers.REFUSED:
        raise answers.refusal(answer.status, list(answer.headers), answer.body)
    if envelope is None or envelope.data is None:
        raise BadAnswer("answered without `data`")
    return envelope.data


def _refused(code: int, answer: Answer) -> Refused:
    status = _STATUS.get(code, answer.status if answer.status >= answers.REFUSED else 500)
    return refused(status, f"kling_{code}", answer.headers)


def _told(order: Order, data: dict[str, Any]) -> Told:
    ticket, state = text_of(data, "task_id"), data.get("task_status")
    segment(ticket)
    match state:
        case "submitted":
            return Told(state="queued", ticket=ticket)
        case "processing":
            return Told(state="running", ticket=ticket)
        case "succeed":
            return _made(order, ticket, inner(data, "task_result"))
        case "failed":
            return Told(state="failed", fault=_failed(data.get("task_status_msg")))
        case _:
            raise BadAnswer("answered with a status that Kling does not have")


def _failed(message: Any) -> Refused:
    """A task's own failure has no code, only text: that its risk control refused the content is told by its words."""
    said = message.lower() if isinstance(message, str) else ""
    if any(word in said for word in ("risk control", "sensitive", "content", "policy")):
        return refused(400, "kling_1301")
    return refused(500, "task_failed")


def _made(order: Order, ticket: str, result: dict[str, Any]) -> Told:
    """A film is charged as it was ordered; how long it says it is (5.04 s) is told for its player."""
    films = order.endpoint == "videos"
    rows = [one for one in result.get("videos" if films else "images") or () if isinstance(one, dict)]
    pieces = tuple(Piece("video/mp4" if films else "image/png", url=text_of(one, "url")) for one in rows)
    if not pieces:
        return Told(state="failed", fault=BadAnswer("succeeded without a result"))
    return Told(state="succeeded", ticket=ticket, pieces=pieces)
