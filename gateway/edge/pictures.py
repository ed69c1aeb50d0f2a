"""What a picture is, by its bytes: PNG, JPEG, WebP or GIF, how large, and whether it is all there. Pure.

Nothing is decoded: the file's own structure is walked from its first byte to its end, so that one that was cut off is
told from a whole one, and one that would unpack to more than fits is refused before anybody unpacks it.

Sources: PNG, third edition (W3C), sections 5 and 11; ITU-T T.81 annex B; RFC 9649 (WebP); GIF89a.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

MAX_PARTS = 200_000
"""Chunks, segments or blocks of one file. A GIF of 50 MB has as many; walking them takes about 20 ms."""
_PNG, _RIFF, _WEBP, _JPEG = b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP", b"\xff\xd8\xff"
_GIFS = (b"GIF87a", b"GIF89a")

_SIZES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
"""JPEG's start-of-frame markers, which hold the size."""
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG's markers without a length."""
_SCAN, _END = 0xDA, 0xD9
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The marker after a JPEG's coded data, in which 0xff is followed by 0 or a restart."""
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
"""GIF's blocks."""
_TABLE, _TABLE_SIZE = 0x80, 0x07
"""Whether a GIF's colour table follows, and the logarithm of its length."""


class NotAPicture(ValueError):
    """The text goes on after the name of a parameter, and holds nothing of the file."""


class Look(NamedTuple):
    media_type: str
    width: int
    height: int
    frames: int = 1
    """Of an animation."""


def look(data: bytes, most_pixels: int) -> Look:
    """What `data` is. Raises NotAPicture, also where all its frames together have more than `most_pixels`."""
    try:
        seen = _read(data)
    except (IndexError, struct.error):
        raise NotAPicture("is a picture that is cut off or broken") from None
    if seen.width < 1 or seen.height < 1:
        raise NotAPicture("is a picture without a size")
    if seen.width * seen.height * seen.frames > most_pixels:
        raise NotAPicture(f"is a picture of more than {most_pixels} pixels")
    return seen


def _read(data: bytes) -> Look:
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(_JPEG):
        return _jpeg(data)
    if data.startswith(_RIFF) and data[8:12] == _WEBP:
        return _webp(data)
    if data.startswith(_GIFS):
        return _gif(data)
    raise NotAPicture("is not a PNG, JPEG, WebP or GIF picture")


def _broken() -> NotAPicture:
    return NotAPicture("is a picture that is cut off or broken")


def _png(data: bytes) -> Look:
    length, name, width, height = struct.unpack_from(">I4sII", data, len(_PNG))
    if name != b"IHDR" or length != 13:
        raise _broken()
    at, frames, drawn = len(_PNG), 0, False
    for _ in range(MAX_PARTS):
        length, name = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if at > len(data):
            break
        frames += name == b"fcTL"
        drawn |= name == b"IDAT"
        if name == b"IEND":
            if not drawn:
                break
            return Look("image/png", width, height, max(1, frames))
    raise _broken()


def _jpeg(data: bytes) -> Look:
    at, size = 2, None
    for _ in range(MAX_PARTS):
        if data[at] != 0xFF:
            raise _broken()
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _END:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _SIZES and size is None:
            size = struct.unpack_from(">HH", data, at + 5)
        at += 2 + length
        if marker == _SCAN:
            found = _AFTER_SCAN.search(data, at)
            if found is None or size is None:
                break
            at = found.start()
            if data[at + 1] == _END:
                return Look("image/jpeg", size[1], size[0])
    raise _broken()


def _webp(data: bytes) -> Look:
    (size,) = struct.unpack_from("<I", data, 4)
    end, at, width, height, frames = 8 + size, 12, 0, 0, 0
    if end > len(data):
        raise _broken()
    for _ in range(MAX_PARTS):
        if at >= end:
            break
        name, length = struct.unpack_from("<4sI", data, at)
        start, at = at + 8, at + 8 + length + length % 2
        if start + length > end:
            raise _broken()
        seen = _webp_size(name, data, start)
        if seen is not None:
            width, height = max(width, seen[0]), max(height, seen[1])
            frames += name != b"VP8X"
    if not frames:
        raise _broken()
    return Look("image/webp", width, height, frames)


def _webp_size(name: bytes, data: bytes, at: int) -> tuple[int, int] | None:
    """Of a chunk that tells one, whose content begins at `at`."""
    if name == b"VP8 ":
        _tag, code, width, height = struct.unpack_from("<3s3sHH", data, at)
        if code != b"\x9d\x01\x2a":
            raise _broken()
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L":
        signature, bits = struct.unpack_from("<BI", data, at)
        if signature != 0x2F:
            raise _broken()
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    if name in (b"VP8X", b"ANMF"):
        at += 4 if name == b"VP8X" else 6
        low, width, high, height = struct.unpack_from("<HBHB", data, at)
        return (low | width << 16) + 1, (high | height << 16) + 1
    return None


def _gif(data: bytes) -> Look:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, frames = 13 + _gif_table(flags), 0
    left = MAX_PARTS
    while left > 0:
        left -= 1
        kind = data[at]
        if kind == _TRAILER and frames:
            return Look("image/gif", width, height, frames)
        if kind == _EXTENSION:
            at += 2
        elif kind == _IMAGE:
            x, y, wide, high, flags = struct.unpack_from("<4HB", data, at + 1)
            width, height, frames = max(width, x + wide), max(height, y + high), frames + 1
            at += 11 + _gif_table(flags)
        else:
            break
        while size := data[at]:
            at += 1 + size
            left -= 1
            if left < 0:
                break
        at += 1
    raise _broken()


def _gif_table(flags: int) -> int:
    """Bytes of the colour table that these flags announce."""
    return 3 << ((flags & _TABLE_SIZE) + 1) if flags & _TABLE else 0
