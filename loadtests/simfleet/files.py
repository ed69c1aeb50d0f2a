"""Small real files, made by hand: pictures, films and sounds that any program can open."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
WAV_RATE = 8_000
"""Samples a second, mono, 16 bits."""
_TIMESCALE = 1_000
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_LANGUAGE = 0x55C4
"""`und`, packed as ISO 14496-12 has it."""


@lru_cache(maxsize=64)
def png(width: int, height: int) -> bytes:
    """A picture of that size in stripes of black and white: one bit for each pixel, so that 4K has a few KB."""
    row = b"\0" + (b"\xf0" * ((width + 7) // 8))
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(row * height, 9)
    return PNG_SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@lru_cache(maxsize=64)
def mp4(seconds: float, width: int, height: int) -> bytes:
    """A film of one frame, a PNG that is shown for all of its time (ISO 14496-12; codec `png ` of QuickTime)."""
    frame, duration = png(width, height), round(seconds * _TIMESCALE)
    kinds = _box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isomiso2mp41")
    moov = _moov(duration, width, height, len(frame), 0)
    offset = len(kinds) + len(moov) + 8
    return kinds + _moov(duration, width, height, len(frame), offset) + _box(b"mdat", frame)


def _moov(duration: int, width: int, height: int, size: int, offset: int) -> bytes:
    times = struct.pack(">4I", 0, 0, _TIMESCALE, duration)
    mvhd = _full(b"mvhd", times, struct.pack(">IHxx8x", 0x10000, 0x100), _MATRIX, bytes(24), struct.pack(">I", 2))
    shown = struct.pack(">5I8x4H", 0, 0, 1, 0, duration, 0, 0, 0, 0)
    tkhd = _full(b"tkhd", shown, _MATRIX, struct.pack(">II", width << 16, height << 16), flags=3)
    mdhd = _full(b"mdhd", times, struct.pack(">HH", _LANGUAGE, 0))
    hdlr = _full(b"hdlr", bytes(4), b"vide", bytes(12), b"frames\0")
    entry = struct.pack(">6xH16xHHIIIH32xHh", 1, width, height, 0x480000, 0x480000, 0, 1, 24, -1)
    stbl = _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), _box(b"png ", entry)),
        _full(b"stts", struct.pack(">3I", 1, 1, duration)),
        _full(b"stsc", struct.pack(">4I", 1, 1, 1, 1)),
        _full(b"stsz", struct.pack(">3I", 0, 1, size)),
        _full(b"stco", struct.pack(">2I", 1, offset)),
    )
    dinf = _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1)))
    minf = _box(b"minf", _full(b"vmhd", bytes(8), flags=1), dinf, stbl)
    return _box(b"moov", mvhd, _box(b"trak", tkhd, _box(b"mdia", mdhd, hdlr, minf)))


def _box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I", 8 + len(data)) + kind + data


def _full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)


@lru_cache(maxsize=16)
def wav(seconds: float) -> bytes:
    """Silence."""
    data = bytes(2 * round(seconds * WAV_RATE))
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, WAV_RATE, 2 * WAV_RATE, 2, 16
    )
    return head + struct.pack("<4sI", b"data", len(data)) + data
