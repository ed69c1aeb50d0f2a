"""How long a sound is, as far as its first bytes and its size tell. Pure.

Sources: the RIFF/WAVE format (Microsoft, "Multimedia Programming Interface and Data Specifications 1.0").
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

ASSUMED_BITS_PER_SECOND = 64_000
"""Of a compressed sound whose header is not read: what speech is usually kept at. Music has more, so its length is
guessed too long rather than too short."""
HEAD_BYTES = 4096
"""Enough of a file's beginning: what lies before a WAV's samples."""
_RIFF = Struct("<4sI4s")
_CHUNK = Struct("<4sI")
_FORMAT = Struct("<HHIIHH")
_UNKNOWN = (0, 0xFFFFFFFF)
"""Lengths that writers give which do not know theirs yet."""


class Length(NamedTuple):
    seconds: float
    exact: bool
    """Read from its header."""


def length_of(head: bytes, size: int) -> Length:
    """Of a file of `size` bytes that begins with `head`."""
    seconds = _wav(head, size)
    return Length(size * 8 / ASSUMED_BITS_PER_SECOND, False) if seconds is None else Length(seconds, True)


def _wav(head: bytes, size: int) -> float | None:
    if len(head) < _RIFF.size or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at, rate = _RIFF.size, 0
    while at + _CHUNK.size <= len(head):
        name, length = _CHUNK.unpack_from(head, at)
        at += _CHUNK.size
        if name == b"data":
            held = max(0, size - at)
            return None if not rate else (held if length in _UNKNOWN else min(length, held)) / rate
        if name == b"fmt " and at + _FORMAT.size <= len(head):
            rate = _FORMAT.unpack_from(head, at)[3]
        at += length + length % 2
    return None
