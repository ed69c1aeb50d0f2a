"""fal's queue: POST to the model, look at its status, take the result. Sources: `fal_client` 1.0 and fal's pages on
its queue and its errors.

The answer to the POST says where status and result are (they leave out what follows `owner/alias` of the model's name).
A ticket keeps the paths of those addresses alone: they are asked for at the upstream itself, with the permit, whatever
host they name. Nothing is told of usage: what was ordered, and came, is what is charged.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gateway.errors import BadAnswer, UpstreamFault
from gateway.model import Upstream
from gateway.upstreams import answers
from gateway.upstreams.dialects.managed.fal_models import INPUTS, OFFERS, SIZED
from gateway.upstreams.dialects.managed.inputs import arguments
from gateway.upstreams.dialects.managed.offers import hold, row_of
from gateway.upstreams.dialects.managed.parts import (
    JSON,
    NO_MARK,
    code_word,
    failed,
    look,
    model_path,
    post,
    read,
    refused,
    rooted,
    text_of,
)
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

_RESERVED = {"sync_mode": "response_format", "fal_webhook": "a job's webhook"}
_PATH = re.compile(r"(?:/[\w.~-]+){2,8}\Z", re.ASCII)
_KEYS = {
    "images": "image/png",
    "image": "image/png",
    "video": "video/mp4",
    "videos": "video/mp4",
    "audio": "audio/mpeg",
}
_ERROR_TYPE = b"x-fal-error-type"
_CANCELLED = "client_cancelled"  # UNVERIFIED
_UNTOLD_FAILURE = "generation_failed"
_MODEL_FAILED = 500
_TRANSIENT = frozenset({401, 402, 403, 408, 429, 502, 503, 504})
"""Of the result's address, where no error of the model's is told: ask again."""


class _Ticket(msgspec.Struct):
    """Paths. `done`: the status said COMPLETED, the result is what comes next."""

    status: str
    result: str
    cancel: str
    done: bool = False


class Fal:
    name = "fal"
    hosts = ("fal.media", "*.fal.media")
    poll_seconds = 1.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        hold(OFFERS, order)
        asked = arguments(order, row_of(INPUTS, order.model, SIZED), _RESERVED)
        return post(f"{rooted(upstream, '')}/{model_path(order.model)}", asked)

    def submitted(self, order: Order, answer: Answer) -> Told:
        found = read(answer)
        request = text_of(found, "request_id")
        status, result, cancel = (_path(found, f"{what}_url", request) for what in ("status", "response", "cancel"))
        ticket = _Ticket(status, result, cancel)
        return Told(state="queued", ticket=_written(ticket))

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        known = _read_ticket(ticket)
        return look(known.result if known.done else f"{known.status}?logs=false")

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        known = _read_ticket(ticket)
        if known.done:
            return _result(answer)
        found = read(answer)
        match found.get("status"):
            case "IN_QUEUE":
                return Told(state="queued")
            case "IN_PROGRESS":
                return Told(state="running")
            case "COMPLETED" if found.get("error_type") == _CANCELLED:
                return Told(state="cancelled")
            case "COMPLETED" if found.get("error") or found.get("error_type"):
                return failed(_MODEL_FAILED, code_word(str(found.get("error_type") or "")) or _UNTOLD_FAILURE)
            case "COMPLETED":
                known.done = True
                return Told(state="running", ticket=_written(known), after=0.0)
            case _:
                raise BadAnswer("answered with a status that fal's queue does not have")

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return Call("PUT", _read_ticket(ticket).cancel, JSON)

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None

    def found(self, order: Order, answer: Answer) -> Told | None:
        raise NotImplementedError(f"fal {NO_MARK}")


def _path(found: dict[str, Any], name: str, request: str) -> str:
    """Of one of the three addresses; that it is about this very request is what fal promises of it."""
    path = urlsplit(text_of(found, name)).path
    if _PATH.match(path) is None or request not in path.split("/") or ".." in path:
        raise BadAnswer(f"answered with a `{name}` that is none of this request")
    return path


def _written(ticket: _Ticket) -> str:
    return msgspec.json.encode(ticket).decode()


def _read_ticket(ticket: str) -> _Ticket:
    return msgspec.json.decode(ticket, type=_Ticket)


def _result(answer: Answer) -> Told:
    """The model's own output. A failed request's result has the status that the model gave, and its error."""
    if answer.status >= answers.REFUSED:
        fault = answers.refusal(answer.status, list(answer.headers), answer.body)
        said = fault.code or code_word(dict(answer.headers).get(_ERROR_TYPE, b"").decode("latin-1"))
        if not said and answer.status in _TRANSIENT:
            raise fault
        return Told(state="failed", fault=refused(answer.status, said or _UNTOLD_FAILURE))
    output = read(answer)
    pieces = tuple(_pieces(output))
    if not pieces:
        return Told(state="failed", fault=_nothing(output))
    return Told(state="succeeded", pieces=pieces)


def _pieces(output: dict[str, Any]) -> list[Piece]:
    found: list[Piece] = []
    for key, media_type in _KEYS.items():
        told = output.get(key)
        for one in told if isinstance(told, list) else [told]:
            url = one.get("url") if isinstance(one, dict) else one
            if isinstance(url, str) and url:
                said = one.get("content_type") if isinstance(one, dict) else None
                found.append(Piece(said if isinstance(said, str) and said else media_type, url=url))
        if found:
            return found
    return found


def _nothing(output: dict[str, Any]) -> UpstreamFault:
    """Models with a safety checker say so and give no picture."""
    flagged = output.get("has_nsfw_concepts")
    if isinstance(flagged, list) and any(flagged):
        return refused(422, "content_policy_violation")
    return BadAnswer("completed without a result")
