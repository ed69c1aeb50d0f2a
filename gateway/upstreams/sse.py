"""Server-sent events passed through untouched: cut into whole frames, watched for usage, never re-serialised."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.model import Usage

MAX_FRAME_BYTES = 1 << 20
"""A frame that grows past this is passed on as it comes: nothing of ours is worth holding more."""
_DATA = b"data:"
_USAGE = b'"usage"'
_NULL_USAGE = (b'"usage":null', b'"usage": null')
_FRAME = re.compile(rb".*?\n(?:\r?\n)+", re.DOTALL)
"""Up to its blank line, and any further blank lines. A line ends with LF or CR LF, in any mixture."""


class Note(NamedTuple):
    """What the data of one frame says. `usage` is that of the whole stream so far, None where this frame tells none."""

    usage: Usage | None = None
    alone: bool = False
    """It holds usage and nothing else."""
    end: bool = False
    """The stream is complete: nothing that follows is missed."""
    failed: bool = False
    """It is the upstream's own error: the stream is over, and no success."""


Reader = Callable[[bytes], Note]


@dataclass(frozen=True, slots=True)
class Events:
    """How the stream of an endpoint is read."""

    reader: Callable[[], Reader]
    """Makes the reader of one stream; it is shown the frames that mention usage or hold one of `marks`."""
    marks: tuple[bytes, ...]
    """A frame that ends the stream, or is an error, holds one of them."""
    token: bytes
    """Occurs once in each frame that brings output."""


class Tap:
    """Feed it bytes as they come; it gives back what to forward, always cut at frame boundaries.

    `usage` is the last usage seen. With `drop_usage` the frame that holds usage and nothing else is left out: it was
    asked for by us, not by the caller. `frames` counts frames with output (for an estimate where no usage comes).
    """

    def __init__(self, events: Events, *, drop_usage: bool) -> None:
        self._read, self._marks, self._token, self._drop = events.reader(), events.marks, events.token, drop_usage
        self._held = b""
        self.last = b""
        """What was forwarded last."""
        self.usage: Usage | None = None
        self._told = 0
        self.frames = 0
        self.done = False
        """True once its end mark passed: the stream told its end itself."""
        self.failed = False
        """True once an error event passed: whatever follows is not forwarded, and the stream is no success."""
        self.torn = False
        """True while a frame has been forwarded in part: whoever goes on with something else must end it first."""

    @property
    def outdated(self) -> bool:
        """Whether output came after the last usage."""
        return self.frames > self._told

    def feed(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
            self._held = b""
        end = _frames_end(data)
        if end < len(data):
            if len(data) - end > MAX_FRAME_BYTES:
                self.torn = True
                return data
            self._held = data[end:]
            data = data[:end]
        if data:
            self.torn = False
            self.last = data
        if self._is_plain(data):
            self.frames += data.count(self._token)
            return data
        return b"".join(frame for frame in _split(data) if self._keep(frame))

    def _is_plain(self, data: bytes) -> bool:
        """The common case, told without cutting: no usage but null, no end or error mark."""
        if self.failed:
            return False
        for mark in self._marks:
            if mark in data:
                return False
        mentions = data.count(_USAGE)
        return mentions == 0 or mentions == sum(data.count(null) for null in _NULL_USAGE)

    def _keep(self, frame: bytes) -> bool:
        if self.failed:
            return False
        self.frames += frame.count(self._token)
        data = _data_of(frame)
        if _USAGE not in data and not any(mark in data for mark in self._marks):
            return True
        note = self._read(data)
        if note.usage is not None:
            self.usage, self._told = note.usage, self.frames
        self.done = self.done or note.end
        self.failed = note.failed
        return not (self._drop and note.alone and note.usage is not None)

    def rest(self) -> bytes:
        """What is left of a frame that never ended; nothing of it was forwarded."""
        held, self._held = self._held, b""
        return held


def _data_of(frame: bytes) -> bytes:
    """The frame's data lines, joined; empty where it has none."""
    text = frame.strip()
    if text.startswith(_DATA) and b"\n" not in text:
        return text[len(_DATA) :].strip()
    return b"\n".join(line[len(_DATA) :].strip() for line in text.splitlines() if line.startswith(_DATA))


def _frames_end(data: bytes) -> int:
    """Index after the last blank line, whatever line ends the upstream uses; 0 where no frame is complete."""
    if data.endswith(b"\n\n"):
        return len(data)
    unix, dos = data.rfind(b"\n\n"), data.rfind(b"\n\r\n")
    return max(unix + 2 if unix >= 0 else 0, dos + 3 if dos >= 0 else 0)


def _split(data: bytes) -> list[bytes]:
    """Whole frames, each with its blank line; together they are `data`."""
    return _FRAME.findall(data)
