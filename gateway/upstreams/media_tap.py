"""A stream of pictures or sound: its events have megabytes each, so they pass as they come, and only what they say
besides is taken down."""

from __future__ import annotations

import re

from gateway.model import Usage
from gateway.upstreams.skim import Skim
from gateway.upstreams.sse import Events, data_of

HELD = 16 << 10
"""Bytes of an event that are held back until it is whole: an error is no longer, and nothing of it may be forwarded
before somebody else was asked."""
_BLANK = re.compile(rb"\n\r?\n")
_SEAM = 2
"""Bytes of a blank line that may stand before the piece that ends it."""


class MediaTap:
    """As `sse.Tap`, for events of any length. `pictures`: how many events that complete one end the stream."""

    def __init__(self, events: Events, pictures: int = 1) -> None:
        self._read, self._token, self._left = events.reader(), events.token, pictures
        self._held = bytearray()
        """The beginning of an event, as long as it is short."""
        self._skim: Skim | None = None
        """Of an event whose beginning was forwarded."""
        self._tail = b""
        """Its newest bytes, in which the blank line may have begun."""
        self.last = b""
        self.usage: Usage | None = None
        """Of all its pictures."""
        self.frames = 0
        self.done = self.failed = False

    @property
    def torn(self) -> bool:
        return self._skim is not None

    def feed(self, data: bytes) -> bytes:
        """What of it is to be forwarded now."""
        out: list[bytes] = []
        at = 0
        while at < len(data) and not self.failed:
            end = _blank(self._tail, data, at)
            piece = data[at:] if end < 0 else data[at:end]
            at += len(piece)
            self._tail = b"" if end >= 0 else (self._tail + piece[-_SEAM:])[-_SEAM:]
            self._take(piece, out, whole=end >= 0)
        return b"".join(out)

    def _take(self, piece: bytes, out: list[bytes], *, whole: bool) -> None:
        """More of an event, up to its end where that is there."""
        if self._skim is None:
            self._held += piece
            if not whole and len(self._held) <= HELD:
                return
            piece = bytes(self._held)
            self._held.clear()
            if not whole:
                self._skim = Skim()
        out.append(piece)
        if self._skim is not None:
            self._skim.feed(piece)
        if whole:
            text, self._skim = piece if self._skim is None else self._skim.text, None
            self._look(text)

    def _look(self, frame: bytes) -> None:
        """At a whole event, without its long texts."""
        self.frames += self._token in frame
        data = data_of(frame)
        if not data:
            return
        note = self._read(data)
        self.failed = note.failed
        if note.usage is not None:
            self.usage = note.usage if self.usage is None else _both(self.usage, note.usage)
            self._left -= 1
        self.done = self.done or (note.end and (note.usage is None or self._left <= 0))

    def rest(self) -> bytes:
        """What is left of an event that never ended; nothing of it was forwarded."""
        held, self._held = bytes(self._held), bytearray()
        return held


def _blank(seam: bytes, data: bytes, at: int) -> int:
    """Index in `data` after the first blank line that ends behind `at`; -1 where there is none. `seam`: what stands
    before `at`."""
    near = _BLANK.search(seam + data[at : at + _SEAM])
    if near is not None and near.end() > len(seam):
        return at + near.end() - len(seam)
    found = _BLANK.search(data, at)
    return -1 if found is None else found.end()


def _both(before: Usage, more: Usage) -> Usage:
    """Of several pictures of one stream."""
    return Usage(
        max(before.input_tokens, more.input_tokens),
        before.output_tokens + more.output_tokens,
        max(before.cached_tokens, more.cached_tokens),
        input_image_tokens=max(before.input_image_tokens, more.input_image_tokens),
        cached_image_tokens=max(before.cached_image_tokens, more.cached_image_tokens),
        output_image_tokens=before.output_image_tokens + more.output_image_tokens,
        images=before.images + more.images,
        quality=more.quality or before.quality,
        size=more.size or before.size,
        absurd=before.absurd or more.absurd,
    )
