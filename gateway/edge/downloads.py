"""A file on its way to a client: read piece by piece as the client takes it, whole or a range of it.

Each download holds one piece: the next one is read, in a thread, when the client's socket has taken the one before.
Threads serve whoever asked first, so a fast client does not starve a slow one.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import NamedTuple

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.edge.cycle import WIRE, Cycle
from gateway.errors import ArtefactFault
from gateway.jobs.artefacts import Reading

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)
"""One range; what asks for several gets the whole (RFC 9110 section 14.2 allows it)."""
_MOST_DIGITS = 18
_log = logging.getLogger("gateway")


class Span(NamedTuple):
    """Bytes `start` to `end`, the latter excluded, of a file."""

    start: int
    end: int


class Unsatisfiable(Exception):
    """The range lies behind the end of the file."""


def span_of(header: str | None, size: int) -> Span | None:
    """The range that is asked for (RFC 9110 section 14.1.2); None: the whole. Raises Unsatisfiable."""
    found = None if header is None else _RANGE.fullmatch(header.strip())
    if found is None or max(map(len, found.groups())) > _MOST_DIGITS:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        if not int(last) or not size:
            raise Unsatisfiable
        return Span(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return Span(int(first), size if not last else min(int(last) + 1, size))


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    media_type: str
    size: int
    etag: str
    """With its quotes."""
    name: str

    def headers(self) -> dict[str, str]:
        return {
            "content-type": self.media_type,
            "etag": self.etag,
            "accept-ranges": "bytes",
            "content-disposition": f'attachment; filename="{self.name}"',
            "cache-control": "private",
            "x-content-type-options": "nosniff",
        }


class Download(Response):
    """Sends `reading`, which begins at `span`, and closes it whatever happens."""

    def __init__(self, file: File, span: Span | None, reading: Reading) -> None:
        start, end = span or Span(0, file.size)
        headers = {**file.headers(), "content-length": str(end - start)}
        if span is not None:
            headers["content-range"] = f"bytes {start}-{end - 1}/{file.size}"
        self.status_code, self.background = 200 if span is None else 206, None
        self._left, self._reading = end - start, reading
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wire: Cycle = scope["extensions"][WIRE]
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._pour(wire, send)
        except ArtefactFault as fault:
            _log.warning("a download broke off", extra={"fields": {"fault": fault.message}})
            wire.transport.abort()
        finally:
            await self._reading.aclose()

    async def _pour(self, wire: Cycle, send: Send) -> None:
        wire.transport.set_write_buffer_limits(high=0)  # to be paused is to have unsent bytes, however few
        try:
            await self._pieces(wire, send)
        finally:
            wire.transport.set_write_buffer_limits()

    async def _pieces(self, wire: Cycle, send: Send) -> None:
        while self._left:
            await wire.flow.drain()  # the piece before has left: its buffer is free for the next one
            if wire.disconnected:
                return
            piece = (await self._reading.read())[: self._left]
            if not piece:
                raise ArtefactFault(ArtefactFault.UNAVAILABLE, "the artefact is shorter than its record says")
            self._left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": self._left > 0})


def unchanged(file: File) -> Response:
    """To If-None-Match."""
    headers = file.headers()
    headers.pop("content-disposition")
    return Response(status_code=304, headers=headers)


def no_such_range(file: File) -> Response:
    return Response(status_code=416, headers={"content-range": f"bytes */{file.size}", "accept-ranges": "bytes"})


def head(file: File) -> Response:
    """To HEAD: as the whole would be."""
    return Response(headers={**file.headers(), "content-length": str(file.size)})


def matches(header: str | None, etag: str) -> bool:
    """If-None-Match, and If-Range with a tag. A weak tag is none of ours."""
    if header is None:
        return False
    return header.strip() == "*" or etag in [one.strip() for one in header.split(",")]
