"""Server-sent events passed through untouched: cut into whole frames, watched for usage, never re-serialised."""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.model import Usage

MAX_FRAME_BYTES = 1 << 20
"""A frame that grows past this is passed on as it comes: nothing of ours is worth holding more."""
_DATA = b"data:"
_DONE = b"[DONE]"
_USAGE = b'"usage"'
_NULL_USAGE = (b'"usage":null', b'"usage": null')
_FRAME = re.compile(rb".*?\n(?:\r?\n)+", re.DOTALL)
"""Up to its blank line, and any further blank lines. A line ends with LF or CR LF, in any mixture."""

UsageFrame = Callable[[bytes], tuple[Usage | None, bool]]


class Tap:
    """Feed it bytes as they come; it gives back what to forward, always cut at frame boundaries.

    `usage` is the last usage seen. With `drop_usage` the frame that holds usage and nothing else is left out: it was
    asked for by us, not by the caller. `frames` counts data frames (for an estimate where no usage comes).
    """

    def __init__(self, usage_frame: UsageFrame, *, drop_usage: bool) -> None:
        self._usage_frame, self._drop = usage_frame, drop_usage
        self._held = b""
        self.usage: Usage | None = None
        self.frames = 0
        self.done = False
        """True once `[DONE]` passed: the stream told its end itself."""
        self.torn = False
        """True while a frame has been forwarded in part: whoever goes on with something else must end it first."""

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
        self.frames += data.count(_DATA)
        if self._is_plain(data):
            return data
        return b"".join(frame for frame in _split(data) if self._keep(frame))

    def _is_plain(self, data: bytes) -> bool:
        """The common case, told without cutting: no usage but null, no end mark."""
        if _DONE in data:
            return False
        mentions = data.count(_USAGE)
        return mentions == 0 or mentions == sum(data.count(null) for null in _NULL_USAGE)

    def _keep(self, frame: bytes) -> bool:
        text = frame.strip()
        if not text.startswith(_DATA):
            return True
        payload = text[len(_DATA) :].strip()
        if payload == _DONE:
            self.done = True
            return True
        if _USAGE not in payload:
            return True
        usage, alone = self._usage_frame(payload)
        if usage is not None:
            self.usage = usage
        return not (self._drop and alone and usage is not None)

    def rest(self) -> bytes:
        """What is left of a frame that never ended; nothing of it was forwarded."""
        held, self._held = self._held, b""
        return held


def _frames_end(data: bytes) -> int:
    """Index after the last blank line, whatever line ends the upstream uses; 0 where no frame is complete."""
    if data.endswith(b"\n\n"):
        return len(data)
    unix, dos = data.rfind(b"\n\n"), data.rfind(b"\n\r\n")
    return max(unix + 2 if unix >= 0 else 0, dos + 3 if dos >= 0 else 0)


def _split(data: bytes) -> list[bytes]:
    """Whole frames, each with its blank line; together they are `data`."""
    return _FRAME.findall(data)
