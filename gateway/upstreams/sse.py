"""Server-sent events passed through untouched: cut into whole frames, watched for usage, never re-serialised."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.model import Usage

MAX_FRAME_BYTES = 1 << 20
"""A frame that grows past this is passed on as it comes: nothing of ours is worth holding more."""
_SEAM = 2
"""Bytes of a blank line that may stand before the piece that ends it."""
_DATA = b"data:"
_USAGE = b'"usage"'
_TELLING = re.compile(rb'"usage"(?!: ?null)')
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
    without_usage: Callable[[bytes], bytes] | None = None
    """The data of a frame that tells usage beside something else, without it. None: whoever asks for this stream gets
    its usage, asked for or not."""


class Tap:
    """Feed it bytes as they come; it gives back what to forward, always cut at frame boundaries.

    `usage` is the last usage seen. With `drop_usage` it was asked for by us, not by the caller: the frame that holds
    usage and nothing else is left out, and one that holds it beside content passes without it. `frames` counts frames
    with output (for an estimate where no usage comes).
    """

    def __init__(self, events: Events, *, drop_usage: bool) -> None:
        self._read, self._marks, self._token, self._drop = events.reader(), events.marks, events.token, drop_usage
        self._without_usage = events.without_usage
        self._held = bytearray()
        """The beginning of a frame."""
        self.last = self._earlier = b""
        """What was forwarded last, and before that."""
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
    def sample(self) -> bytes:
        """Some of its newest frames: the very last ones may hold no output."""
        return self._earlier + self.last

    @property
    def behind(self) -> int:
        """Frames that came after the one with the last usage."""
        return self.frames - self._told

    def feed(self, data: bytes) -> bytes:
        if self._held:
            data, end = self._go_on(data)
        elif data.endswith(b"\n\n"):
            end = len(data)
        else:
            end = _frames_end(data, len(data))
        if end < len(data):
            if len(data) - end > MAX_FRAME_BYTES:
                self.torn = True
                return data
            self._held += data[end:]
            data = data[:end]
        if data:
            self.torn = False
            self._earlier, self.last = self.last, data
        if self.failed:
            return b""
        end = self._first_telling(data)
        if end < len(data):
            return self._examine(data, _frames_end(data, end))
        self.frames += data.count(self._token)
        return data

    def _go_on(self, data: bytes) -> tuple[bytes, int]:
        """The held beginning with `data` behind it, and where its last whole frame ends. Only the new bytes are
        searched, and nothing is copied before it can be forwarded: a large frame in small pieces costs no square."""
        held = self._held
        before = max(0, len(held) - _SEAM)
        held += data
        end = _frames_end(held, len(held), before)
        if not end and len(held) <= MAX_FRAME_BYTES:
            return b"", 0
        self._held = bytearray()
        return bytes(held), end

    def _first_telling(self, data: bytes) -> int:
        """Where something stands that may have to be read: usage other than null, an end, an error. Else the length."""
        at = len(data)
        for mark in self._marks:
            found = data.find(mark, 0, at)
            if found >= 0:
                at = found
        if _USAGE in data and (told := _TELLING.search(data)):
            return min(at, told.start())
        return at

    def _examine(self, data: bytes, plain: int) -> bytes:
        """The first `plain` bytes, whole frames, pass as they are; the frames after them one by one."""
        self.frames += data.count(self._token, 0, plain)
        return b"".join([data[:plain], *map(self._kept, split(data[plain:]))])

    def _kept(self, frame: bytes) -> bytes:
        """What of it is forwarded."""
        if self.failed:
            return b""
        self.frames += frame.count(self._token)
        if self._first_telling(frame) == len(frame):
            return frame
        data = data_of(frame)
        note = self._read(data)
        if note.usage is not None:
            self.usage, self._told = note.usage, self.frames
        self.done = self.done or note.end
        self.failed = note.failed
        if not self._drop or note.usage is None:
            return frame
        if note.alone:
            return b""
        return frame if self._without_usage is None else frame.replace(data, self._without_usage(data), 1)

    def rest(self) -> bytes:
        """What is left of a frame that never ended; nothing of it was forwarded."""
        held, self._held = bytes(self._held), bytearray()
        return held


def data_of(frame: bytes) -> bytes:
    """The frame's data lines, joined; empty where it has none."""
    text = frame.strip()
    if text.startswith(_DATA) and b"\n" not in text:
        return text[len(_DATA) :].strip()
    return b"\n".join(line[len(_DATA) :].strip() for line in text.splitlines() if line.startswith(_DATA))


def _frames_end(data: bytes | bytearray, before: int, since: int = 0) -> int:
    """Index after the last blank line that lies between `since` and `before`, whatever line ends the upstream uses;
    0 where there is none."""
    unix, dos = data.rfind(b"\n\n", since, before), data.rfind(b"\n\r\n", since, before)
    return max(unix + 2 if unix >= 0 else 0, dos + 3 if dos >= 0 else 0)


def split(data: bytes) -> list[bytes]:
    """Whole frames, each with its blank line; together they are `data`."""
    return _FRAME.findall(data)
