"""The feed on the wire: server-sent events to one viewer.

Its own ASGI response: a generator's `finally` in StreamingResponse runs late or never when the viewer leaves, and this
one has to be off the list at once.
"""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.console.live.feed import Feed, Viewer
from gateway.edge.cycle import WIRE, Cycle

HEARTBEAT_SECONDS = 15.0
STALLED_SECONDS = 10.0
"""A viewer that reads nothing for so long is let go."""
HEARTBEAT = b":\n\n"


class Live(Response):
    """Ends with its viewer, or with the process."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, only: frozenset[str]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._feed, self._only = feed, only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises NoCapacity, before anything is sent, where too many look."""
        wire: Cycle = scope["extensions"][WIRE]
        viewer = self._feed.join(self._only)
        wire.on_left = wire.on_shutdown = viewer.end
        try:
            if not wire.disconnected:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._relay(viewer, wire, send)
        finally:
            self._feed.leave(viewer)

    async def _relay(self, viewer: Viewer, wire: Cycle, send: Send) -> None:
        while (pieces := await viewer.take(HEARTBEAT_SECONDS)) is not None:
            await send({"type": "http.response.body", "body": pieces or HEARTBEAT, "more_body": True})
            try:
                async with asyncio.timeout(STALLED_SECONDS):
                    await wire.flow.drain()
            except TimeoutError:
                wire.transport.abort()
                return
        if not wire.disconnected:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
