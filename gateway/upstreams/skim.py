"""JSON without its long texts, taken down while it passes: what an answer full of pictures says besides them.

A picture in base64 has megabytes, its usage a hundred bytes; to read these nothing of the picture need be held.
"""

from __future__ import annotations

KEPT_TEXT = 512
"""Bytes of a text that is kept; of a longer one only that it was there, as an empty one."""
MOST = 64 << 10
"""Bytes of what is kept in all."""
MOST_STEPS = 200_000
"""Quotes and escapes that are looked at: base64 has none, and an answer that is made of them is no picture."""
_QUOTE, _SLASH = b'"', b"\\"


class Skim:
    """Feed it bytes as they come. `text` is what is kept; empty once that would be too much."""

    __slots__ = ("_escaped", "_inside", "_kept", "_long", "_steps", "_string", "given_up")

    def __init__(self) -> None:
        self._kept, self._string = bytearray(), bytearray()
        self._inside = self._escaped = self._long = False
        self._steps = 0
        self.given_up = False

    @property
    def text(self) -> bytes:
        return b"" if self.given_up else bytes(self._kept)

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data) and not self.given_up:
            self._steps += 1
            at = self._in_text(data, at) if self._inside else self._between(data, at)
            if self._steps > MOST_STEPS or len(self._kept) > MOST:
                self.given_up = True
                self._kept.clear()

    def _between(self, data: bytes, at: int) -> int:
        quote = data.find(_QUOTE, at)
        end = len(data) if quote < 0 else quote + 1
        self._kept += data[at : min(end, at + MOST + 1)]
        if quote >= 0:
            self._inside, self._long = True, False
            self._string.clear()
        return end

    def _in_text(self, data: bytes, at: int) -> int:
        if self._escaped:
            self._escaped = False
            self._add(data, at, at + 1)
            return at + 1
        quote = data.find(_QUOTE, at)
        end = len(data) if quote < 0 else quote
        slash = data.find(_SLASH, at, end)
        if slash >= 0:
            self._escaped = True
            self._add(data, at, slash + 1)
            return slash + 1
        self._add(data, at, end)
        if quote < 0:
            return end
        self._inside = False
        self._kept += self._string + _QUOTE
        return end + 1

    def _add(self, data: bytes, start: int, end: int) -> None:
        if self._long:
            return
        if len(self._string) + end - start > KEPT_TEXT:
            self._long = True
            self._string.clear()
        else:
            self._string += data[start:end]
