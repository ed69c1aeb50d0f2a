"""ComfyUI: a workflow in its queue, its end in the history, its files by name. ComfyUI server.py of 2026.

The history knows what has ended, the queue what has not; the queue shows the whole graph of each job, so it is asked
every other time only. Neither: it ended between the two looks, or the process was started anew. A ticket is the id of
the job and the last place it was looked for.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

import msgspec

from gateway.errors import BadAnswer, InvalidRequest, OrderLost, Refused
from gateway.model import Unfilled, Upstream, Workflow
from gateway.upstreams import answers
from gateway.upstreams.dialects.forms import File, form
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told
from gateway.upstreams.dialects.workers.videos import FAILED_STATUS, JOB_LOST, LOST_STATUS

_T = TypeVar("_T")
_JSON = ((b"content-type", b"application/json"),)
_MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".gif": "image/gif",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
}
_SUFFIX = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_ASKED = {
    "width": "size",
    "negative_prompt": "negative_prompt",
    "steps": "num_inference_steps",
    "seed": "seed",
    "frames": "num_frames",
    "fps": "fps",
    "seconds": "seconds",
    "n": "n",
}
"""A place of a template -> the body field of a request that cannot be kept without it."""
_SEED_BITS = 0x7FFF_FFFF
_Step = Literal["ended", "open", "last"]
"""Where it is looked for next: in the history, in the queue, and, in neither before, in the history once more."""


class _Prompt(msgspec.Struct):
    prompt_id: str


class _Status(msgspec.Struct):
    status_str: str = ""
    completed: bool = False


class _Past(msgspec.Struct):
    outputs: dict[str, Any] = {}
    status: _Status | None = None


class _Queue(msgspec.Struct):
    queue_running: list[list[Any]]
    queue_pending: list[list[Any]]


class _File(msgspec.Struct):
    filename: str
    subfolder: str = ""
    type: str = "output"


class ComfyUi:
    name = "comfyui"
    hosts: tuple[str, ...] = ()
    poll_seconds = 1.0

    def before(self, upstream: Upstream, order: Order) -> tuple[Call, ...]:
        """The picture, under a name of ours."""
        if not order.pictures:
            return ()
        picture = order.pictures[0]
        file = File("image", _input(order), picture.media_type, picture.data)
        kind, body = form({"overwrite": "true", "type": "input"}, [file])
        return (Call("POST", "upload/image", ((b"content-type", kind),), body),)

    def submit(self, upstream: Upstream, order: Order) -> Call:
        workflow = order.workflow
        if workflow is None:
            raise InvalidRequest(f"{order.model} has no workflow: `served_by` of models.yaml names it", param="model")
        values = _values(order)
        _check(workflow, values, order)
        try:
            graph = workflow.filled(_with_own(values, order))
        except Unfilled as place:
            raise InvalidRequest(f"this model needs `{place}`", param=str(place)) from None
        id = _id(order)
        return Call("POST", "prompt", _JSON, msgspec.json.encode({"prompt": graph, "prompt_id": id, "client_id": id}))

    def submitted(self, order: Order, answer: Answer) -> Told:
        _refused(answer)
        return Told(state="queued", ticket=_ticket("ended", _decoded(answer, _Prompt).prompt_id))

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        step, id = _read(ticket)
        return Call("GET", "queue" if step == "open" else f"history/{id}", looks=True)

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        _refused(answer)
        step, id = _read(ticket)
        if step == "open":
            return _in_queue(_decoded(answer, _Queue), id)
        past = _decoded(answer, dict[str, _Past]).get(id)
        if past is not None:
            return _over(past, ticket)
        if step == "last":
            raise Refused(LOST_STATUS, "does not know the job any more", code=JOB_LOST)
        return Told(state="queued", ticket=_ticket("open", id), after=0.0)

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return self.stops(upstream, order, ticket)[-1]

    def stops(self, upstream: Upstream, order: Order, ticket: str) -> tuple[Call, ...]:
        """Out of the queue if it waits there; interrupted if it runs. With its id, so that no other one is."""
        _, id = _read(ticket)
        waiting = Call("POST", "queue", _JSON, msgspec.json.encode({"delete": [id]}))
        return waiting, Call("POST", "interrupt", _JSON, msgspec.json.encode({"prompt_id": id}))

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None  # asked of bought APIs alone

    def found(self, order: Order, answer: Answer) -> Told | None:
        raise AssertionError("nothing was looked for")


COMFYUI = ComfyUi()


def _id(order: Order) -> str:
    return str(uuid.UUID(bytes=hashlib.sha256(order.mark.encode()).digest()[:16], version=4))


def _input(order: Order) -> str:
    return f"gateway-{_id(order)}.{_SUFFIX.get(order.pictures[0].media_type, 'bin')}"


def _ticket(step: _Step, id: str) -> str:
    return f"{step} {id}"


def _read(ticket: str) -> tuple[str, str]:
    """Raises OrderLost where it is none of ours, or its id is not one that a path may hold."""
    step, _, id = ticket.partition(" ")
    try:
        return step, str(uuid.UUID(id))
    except ValueError:
        raise OrderLost("named its job in an odd way") from None


def _values(order: Order) -> dict[str, str | int | float]:
    """What the request says."""
    ask, fields = order.ask, order.fields
    given: dict[str, str | int | float | None] = {"steps": ask.steps, "fps": ask.fps, "seconds": ask.seconds}
    if ask.pixels is not None:
        given["width"], given["height"] = ask.pixels
    if ask.n > 1:
        given["n"] = ask.n
    given["negative_prompt"] = _field(fields, "negative_prompt", str)
    given["seed"], given["frames"] = _field(fields, "seed", int), _field(fields, "num_frames", int)
    if given["frames"] is None and ask.seconds is not None and ask.fps is not None:
        given["frames"] = round(ask.seconds * ask.fps)
    return {name: value for name, value in given.items() if value is not None}


def _check(workflow: Workflow, values: Mapping[str, str | int | float], order: Order) -> None:
    """Raises InvalidRequest for a wish that the template has no place for: nobody gets something else in silence."""
    places = workflow.defaults
    if order.pictures and "image" not in places:
        raise InvalidRequest("this model begins from no picture", param="image")
    if len(order.pictures) > 1:
        raise InvalidRequest("this model takes one picture", param="image")
    for place in values.keys() - places.keys():
        timed = place in ("frames", "fps", "seconds") and places.keys() & {"frames", "seconds"}
        if place in _ASKED and not (timed and values.keys() & places.keys() & {"frames", "seconds"}):
            raise InvalidRequest(f"this model's workflow cannot be told `{_ASKED[place]}`", param=_ASKED[place])


def _with_own(values: Mapping[str, str | int | float], order: Order) -> dict[str, str | int | float]:
    """With what is filled in where the request does not say."""
    seed = int.from_bytes(hashlib.sha256(b"seed " + order.mark.encode()).digest()[:4], "big") & _SEED_BITS
    made: dict[str, str | int | float] = {"negative_prompt": "", "seed": seed, "n": order.ask.n, **values}
    if order.pictures:
        made["image"] = _input(order)
    return made | {"prompt": order.prompt}


def _field(fields: Mapping[str, msgspec.Raw], name: str, kind: type[Any]) -> Any:
    """A body field; of a form it is a text. Raises InvalidRequest."""
    if name not in fields:
        return None
    try:
        return msgspec.json.decode(fields[name], type=kind | None, strict=False)
    except msgspec.ValidationError:
        raise InvalidRequest(f"`{name}` must be {'a text' if kind is str else 'a number'}", param=name) from None


def _refused(answer: Answer) -> None:
    if answers.meaning(answer.status) != "answer" or answer.status >= answers.REFUSED:
        raise answers.refusal(answer.status, list(answer.headers), answer.body)


def _decoded(answer: Answer, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("answered with something that ComfyUI would not") from None


def _in_queue(queue: _Queue, id: str) -> Told:
    """An entry is number, id, graph and more. In neither list: then the history has it, or nobody."""
    if any(id in entry[1:2] for entry in queue.queue_running):
        return Told(state="running", ticket=_ticket("ended", id))
    if any(id in entry[1:2] for entry in queue.queue_pending):
        return Told(state="queued", ticket=_ticket("ended", id))
    return Told(state="queued", ticket=_ticket("last", id), after=0.0)


def _over(past: _Past, ticket: str) -> Told:
    """Files that are only previews (`type` is not `output`) are results where there are no others."""
    if past.status is not None and past.status.status_str != "success":
        return Told(state="failed", fault=Refused(FAILED_STATUS, "the workflow failed"))
    files = list(_files(past.outputs))
    kept = [file for file in files if file.type == "output"] or files
    if not kept:
        return Told(state="failed", fault=BadAnswer("the workflow ended without a file"))
    return Told(state="succeeded", ticket=ticket, percent=100, pieces=tuple(map(_piece, range(len(kept)), kept)))


def _files(outputs: Mapping[str, Any]) -> Iterator[_File]:
    """Of every node that keeps files, whatever it calls them (`images`, `gifs`, `video`, `audio`)."""
    for node in outputs.values():
        for listed in node.values() if isinstance(node, dict) else ():
            for one in listed if isinstance(listed, list) else ():
                try:
                    yield msgspec.convert(one, _File)
                except msgspec.ValidationError:
                    continue


def _piece(number: int, file: _File) -> Piece:
    kind = _MEDIA_TYPES.get(PurePosixPath(file.filename).suffix.lower(), "application/octet-stream")
    asked = urlencode({"filename": file.filename, "subfolder": file.subfolder, "type": file.type})
    name = "video" if kind.startswith("video/") and not number else f"{kind.partition('/')[0]}-{number}"
    return Piece(kind, call=Call("GET", f"view?{asked}"), name=name)
