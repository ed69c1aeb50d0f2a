"""Replicate's predictions. Sources: `replicate` 1.0; the codes in the text of failed predictions are UNVERIFIED.

A model is named `owner/name` (an official model, charged by what it makes), `owner/name:version` (a community model,
charged by the seconds that it ran) or `deployments/owner/name` (the same).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gateway.errors import BadAnswer
from gateway.model import Upstream, Usage
from gateway.upstreams.dialects.figures import Figures
from gateway.upstreams.dialects.managed.inputs import arguments
from gateway.upstreams.dialects.managed.offers import hold, row_of
from gateway.upstreams.dialects.managed.parts import (
    JSON,
    NO_MARK,
    failed,
    inner,
    look,
    model_path,
    post,
    read,
    rooted,
    segment,
    text_of,
)
from gateway.upstreams.dialects.managed.reading import media_type
from gateway.upstreams.dialects.managed.replicate_models import INPUTS, OFFERS, PLAIN
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

_USUAL = {"videos": "video/mp4", "audio/speech": "audio/wav"}
_CODE = re.compile(r"\((E\d{3,4})\)")
_FLAGGED = re.compile(r"nsfw|flagged as sensitive|safety", re.IGNORECASE)
_PERCENT = re.compile(r"^\s*(\d{1,3})%\s*\|", re.MULTILINE)
_MODEL_FAILED = 500
_DEPLOYMENTS = "deployments/"


class Replicate:
    name = "replicate"
    hosts = ("replicate.delivery", "*.replicate.delivery")
    poll_seconds = 1.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        hold(OFFERS, order)
        asked = {"input": arguments(order, row_of(INPUTS, order.model, PLAIN), {})}
        name, _, version = order.model.partition(":")
        if version:
            return post(rooted(upstream, "/v1/predictions"), asked | {"version": version})
        kind = name if name.startswith(_DEPLOYMENTS) else f"models/{name}"
        return post(rooted(upstream, f"/v1/{model_path(kind)}/predictions"), asked)

    def submitted(self, order: Order, answer: Answer) -> Told:
        return _told(order, read(answer))

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        return look(rooted(upstream, f"/v1/predictions/{segment(ticket)}"))

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        return _told(order, read(answer))

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return Call("POST", rooted(upstream, f"/v1/predictions/{segment(ticket)}/cancel"), JSON)

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None

    def found(self, order: Order, answer: Answer) -> Told | None:
        raise NotImplementedError(f"Replicate {NO_MARK}")


def _told(order: Order, found: dict[str, Any]) -> Told:
    ticket = text_of(found, "id")
    segment(ticket)
    match found.get("status"):
        case "starting":
            return Told(state="queued", ticket=ticket)
        case "processing":
            return Told(state="running", ticket=ticket, percent=_percent(found.get("logs")))
        case "succeeded":
            pieces = tuple(_pieces(order, found.get("output")))
            if not pieces:
                return Told(state="failed", fault=BadAnswer("succeeded without a result"))
            return Told(state="succeeded", ticket=ticket, pieces=pieces, usage=_usage(order, found))
        case "failed":
            return _failed(found.get("error"))
        case "canceled" | "aborted":
            return Told(state="cancelled")
        case _:
            raise BadAnswer("answered with a status that Replicate does not have")


def _failed(error: Any) -> Told:
    """Free text, with a code in brackets at best; nothing of the text goes on."""
    said = error if isinstance(error, str) else ""
    if _FLAGGED.search(said):
        return failed(422, "content_policy_violation")
    code = _CODE.search(said)
    return failed(_MODEL_FAILED, code[1] if code else "prediction_failed")


def _pieces(order: Order, output: Any) -> Iterator[Piece]:
    """A model's output has the shape that the model likes: one address, a list or an object of them."""
    if isinstance(output, str) and output.startswith(("http://", "https://")):
        yield Piece(media_type(None, output, _USUAL.get(order.endpoint, "image/png")), url=output)
    elif isinstance(output, list):
        for one in output:
            yield from _pieces(order, one)
    elif isinstance(output, dict):
        for one in output.values():
            yield from _pieces(order, one)


def _usage(order: Order, found: dict[str, Any]) -> Usage | None:
    """Seconds that it ran, where those are what is charged; else it tells nothing."""
    if ":" in order.model or order.model.startswith(_DEPLOYMENTS):
        figures = Figures()
        ran = figures.seconds(inner(found, "metrics").get("predict_time"))
        return Usage(0, 0, seconds=ran, absurd=figures.odd or not ran)
    return None


def _percent(logs: Any) -> int | None:
    """The last progress bar in its logs."""
    bars = _PERCENT.findall(logs) if isinstance(logs, str) else []
    return min(int(bars[-1]), 100) if bars else None
