"""`GET /live` for operators: the feed of the dashboard and of `gateway top`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.console.live.feed import KINDS, Feed
from gateway.console.live.stream import Live
from gateway.errors import InvalidRequest


def live_routes(feed: Feed) -> APIRouter:
    """To be included where access has been checked."""
    api = APIRouter()

    @api.get("/live")
    async def live(only: str = "") -> Response:
        """Server-sent events: everything once, then what changes; `?only=fleet,flow` for some kinds alone."""
        return Live(feed, wanted(only))

    return api


def wanted(only: str) -> frozenset[str]:
    """`hello` comes always: without it nobody can read the rest. Raises InvalidRequest."""
    named = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in named if name not in KINDS]
    if unknown:
        raise InvalidRequest(f"only: one or more of {', '.join(KINDS)}, with commas between", param="only")
    return frozenset({KINDS[0], *named}) if named else frozenset(KINDS)
