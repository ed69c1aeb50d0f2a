"""Google's Gemini API: films by Veo, as long-running operations. Chat and embeddings of the same upstream go through
its OpenAI-compatible endpoint as they are. Sources: google-genai 3.4 and Google's pages; the preview ids ended on
2026-10-22, and whether the `-001` ids are served here (rather than on Vertex alone) is UNVERIFIED.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from gateway.errors import BadAnswer, InvalidRequest
from gateway.model import Offer, Upstream
from gateway.upstreams import answers
from gateway.upstreams.dialects.managed.offers import FILMS, Offers, Row, hold, rows_of
from gateway.upstreams.dialects.managed.parts import (
    NO_MARK,
    inner,
    look,
    model_path,
    own_fields,
    pictures,
    plain_base64,
    post,
    read,
    refused,
    rooted,
    text_of,
    whole,
)
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

OFFERS: Offers = (*rows_of("google", {"veo-3.1*": "veo"}), Row("*", Offer(endpoints=FILMS)))
_SIZES = {"1280x720": ("16:9", "720p"), "720x1280": ("9:16", "720p"), "1920x1080": ("16:9", "1080p"),
          "1080x1920": ("9:16", "1080p")}  # fmt: skip
_OURS = {"aspectRatio": "aspect_ratio", "durationSeconds": "seconds", "sampleCount": "n", "instances": "prompt",
         "parameters": "the field of that name"}  # fmt: skip
_FIELDS = frozenset({"negativePrompt", "personGeneration", "seed", "enhancePrompt"})
_OPERATION = re.compile(r"(?:models/[\w.-]+/)?operations/[\w.-]+\Z", re.ASCII)
_CODES = {3: 400, 7: 403, 8: 429, 9: 400, 13: 500, 14: 503, 16: 401}
"""google.rpc.Code of a failed operation -> HTTP status."""


class Gemini:
    name = "gemini"
    hosts: tuple[str, ...] = ()
    """Files lie at the API itself, and are given out to the key alone."""
    poll_seconds = 5.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        hold(OFFERS, order)
        ask = order.ask
        ratio, resolution = ask.ratio, ask.resolution
        if ask.size is not None:
            if ask.size not in _SIZES:
                raise InvalidRequest(f"size must be one of {', '.join(_SIZES)} for this model", param="size")
            ratio, resolution = _SIZES[ask.size]
        said: dict[str, Any] = {"aspectRatio": ratio, "resolution": resolution, "sampleCount": ask.n}
        said |= {"durationSeconds": None if ask.seconds is None else whole(ask.seconds)}
        parameters = {name: one for name, one in said.items() if one is not None}
        body = {"instances": [_instance(order)], "parameters": parameters | own_fields(order, _OURS, _FIELDS)}
        return post(rooted(upstream, f"/v1beta/models/{model_path(order.model)}:predictLongRunning"), body)

    def submitted(self, order: Order, answer: Answer) -> Told:
        name = text_of(read(answer), "name")
        if _OPERATION.match(name) is None:
            raise BadAnswer("answered with a name that is no operation's")
        return Told(state="queued", ticket=name)

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        return look(rooted(upstream, f"/v1beta/{ticket}"))

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        found = read(answer)
        if not found.get("done"):
            return Told(state="running")
        error = inner(found, "error")
        if error:
            code = error.get("code")
            status = _CODES.get(code if type(code) is int else 0, 500)
            return Told(state="failed", fault=refused(status, _word(error) or "operation_failed"))
        return _made(inner(inner(found, "response"), "generateVideoResponse"))

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return None

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        return None

    def found(self, order: Order, answer: Answer) -> Told | None:
        raise NotImplementedError(f"Gemini {NO_MARK}")


def _instance(order: Order) -> dict[str, Any]:
    made: dict[str, Any] = {"prompt": order.prompt}
    for one in pictures(order, "image", "first_frame"):
        made["image"] = {"bytesBase64Encoded": plain_base64(one), "mimeType": one.media_type}
    for one in pictures(order, "last_frame"):
        made["lastFrame"] = {"bytesBase64Encoded": plain_base64(one), "mimeType": one.media_type}
    references = [
        {"image": {"bytesBase64Encoded": plain_base64(one), "mimeType": one.media_type}, "referenceType": "asset"}
        for one in pictures(order, "reference")
    ]
    return made | ({"referenceImages": references} if references else {})


def _made(response: dict[str, Any]) -> Told:
    """Filtered output is an operation that is done, with a count and no film."""
    rows = [one for one in response.get("generatedSamples") or () if isinstance(one, dict)]
    pieces = tuple(_piece(text_of(inner(one, "video"), "uri")) for one in rows)
    if pieces:
        return Told(state="succeeded", pieces=pieces)
    if response.get("raiMediaFilteredCount"):
        return Told(state="failed", fault=refused(answers.REFUSED, "SAFETY"))
    return Told(state="failed", fault=BadAnswer("done without a result"))


def _piece(uri: str) -> Piece:
    """At the API itself: the key is shown, so the host that is named there is not asked."""
    parts = urlsplit(uri)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return Piece("video/mp4", call=Call("GET", path))


def _word(error: dict[str, Any]) -> str:
    said = error.get("status")
    return said if isinstance(said, str) and said.isidentifier() else ""
