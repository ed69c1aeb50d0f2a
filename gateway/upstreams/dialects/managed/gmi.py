"""GMI Cloud's request queue: pictures, films and speech behind one endpoint, answered at once or later.

Source: docs.gmicloud.ai, the `gmicloud` SDK's types, and recorded live runs of September 2026. UNVERIFIED: DELETE as a
cancel; the filter of the list (`model_id`); how long result addresses live.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from gateway.errors import BadAnswer, UpstreamFault
from gateway.model import JobState, Upstream
from gateway.upstreams import answers
from gateway.upstreams.dialects.managed.families import body_of, family_of, seed_of
from gateway.upstreams.dialects.managed.gmi_models import FAMILIES
from gateway.upstreams.dialects.managed.parts import look, post, segment
from gateway.upstreams.dialects.managed.reading import failure, media_type, page_of, piece_name
from gateway.upstreams.dialects.ordering import Answer, Call, Order, Piece, Told

_STATES: Mapping[str, JobState] = {
    "created": "queued",
    "queued": "queued",
    "pending": "queued",
    "dispatched": "running",
    "processing": "running",
    "running": "running",
    "success": "succeeded",
    "succeeded": "succeeded",
    "completed": "succeeded",
    "done": "succeeded",
    "failed": "failed",
    "failure": "failed",
    "error": "failed",
    "rejected": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "expired": "expired",
    "timeout": "expired",
}
_LISTS = ("media_urls", "medias", "media", "images", "videos")
_SINGLE = ("video_url", "image_url", "audio_url", "url")
"""Where results lie in an `outcome`, the first that holds any. Never `thumbnail_image_url`, which lies beside them, and
never anything of `payload`, which is what we sent."""
_KINDS = {"videos": "video/mp4", "audio/speech": "audio/mpeg"}


class Gmi:
    name: ClassVar[str] = "gmi"
    hosts: ClassVar[tuple[str, ...]] = ("storage.googleapis.com",)
    poll_seconds: ClassVar[float] = 3.0

    def submit(self, upstream: Upstream, order: Order) -> Call:
        payload = body_of(family_of(FAMILIES, order), order)
        return post("requests", {"model": order.model, "payload": payload})

    def submitted(self, order: Order, answer: Answer) -> Told:
        return _told(order, page_of(answer))

    def poll(self, upstream: Upstream, order: Order, ticket: str) -> Call:
        return look(f"requests/{segment(ticket)}")

    def polled(self, order: Order, ticket: str, answer: Answer) -> Told:
        return _told(order, page_of(answer))

    def cancel(self, upstream: Upstream, order: Order, ticket: str) -> Call | None:
        return Call("DELETE", f"requests/{segment(ticket)}")

    def find(self, upstream: Upstream, order: Order) -> Call | None:
        """Only an order with a seed of its own can be told from its twin of another caller."""
        if not order.mark or _seed_at(order) is None:
            return None
        return look(f"requests?model_id={quote(order.model, safe='')}")

    def found(self, order: Order, answer: Answer) -> Told | None:
        page = page_of(answer)
        rows, total = page.get("requests"), page.get("total")
        if not isinstance(rows, list):
            raise BadAnswer("listed no requests")
        for row in rows:
            if isinstance(row, dict) and _is_ours(row, order):
                return _told(order, row)
        if not isinstance(total, int) or total > len(rows):
            raise BadAnswer("listed a part of the requests only")
        return None


def _seed_at(order: Order) -> str | None:
    return None if "seed" in order.fields else family_of(FAMILIES, order).seed


def _is_ours(row: Mapping[str, Any], order: Order) -> bool:
    payload, at = row.get("payload"), _seed_at(order)
    return isinstance(payload, dict) and at is not None and payload.get(at) == seed_of(order.mark)


def _told(order: Order, page: Mapping[str, Any]) -> Told:
    ticket, status = page.get("request_id"), page.get("status")
    if not isinstance(ticket, str) or not ticket or not isinstance(status, str):
        raise _odd(page)
    state = _STATES.get(status.lower(), "running")  # a new word for it: what ends has one of those that are known
    if state == "succeeded":
        return _ended(order, ticket, page)
    if state in ("queued", "running"):
        return Told(state=state, ticket=ticket)
    return Told(state=state, ticket=ticket, fault=failure(_reason(page)))


def _ended(order: Order, ticket: str, page: Mapping[str, Any]) -> Told:
    """A success that made nothing was filtered: it is the content's fault, and not paid."""
    pieces = tuple(_pieces(order, page.get("outcome")))
    if pieces:
        return Told(state="succeeded", ticket=ticket, pieces=pieces)
    reason = _reason(page)
    fault = failure(reason) if reason else answers.judged("", "content_policy_violation")
    return Told(state="failed", ticket=ticket, fault=fault)


def _pieces(order: Order, outcome: Any) -> Iterator[Piece]:
    if not isinstance(outcome, dict):
        return
    otherwise = _KINDS.get(order.endpoint, "image/png")
    for i, url in enumerate(_urls(outcome)):
        yield Piece(media_type(order.ask.format, url, otherwise), url=url, name=piece_name(order, i))


def _urls(outcome: Mapping[str, Any]) -> list[str]:
    for name in _LISTS:
        rows = outcome.get(name)
        if isinstance(rows, list) and rows:
            urls = [row.get("url") if isinstance(row, dict) else row for row in rows]
            return [url for url in urls if isinstance(url, str) and url]
    return [url for name in _SINGLE if isinstance(url := outcome.get(name), str) and url][:1]


def _reason(page: Mapping[str, Any]) -> Any:
    """Why it failed lies in one of four places."""
    outcome = page.get("outcome")
    inner = outcome.get("error") if isinstance(outcome, dict) else None
    return page.get("error") or page.get("error_message") or page.get("reason") or inner


def _odd(page: Mapping[str, Any]) -> UpstreamFault:
    """A success that is no request: a reason, or nothing one could read."""
    reason = _reason(page)
    return failure(reason) if reason else BadAnswer("answered without a request of ours")
