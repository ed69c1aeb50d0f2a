"""Small real files: a PNG, an MP4, a WAV and an MP3 that a decoder takes, made without one."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from functools import cache

_TIMESCALE = 1000
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)
"""MPEG-1 layer III, 128 kbit/s, 44.1 kHz: a frame of 417 bytes, and of silence."""
_MP3_FRAMES_PER_S = 44_100 / 1152


@cache
def png(width: int = 8, height: int = 8, shade: int = 128) -> bytes:
    """One grey."""
    rows = (b"\0" + bytes([shade]) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


@cache
def wav(seconds: float = 0.1, rate: int = 8000) -> bytes:
    """Silence: one channel, 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(2 * int(seconds * rate)))
    return file.getvalue()


@cache
def mp3(seconds: float = 0.1) -> bytes:
    """Silence."""
    return _MP3_FRAME * max(1, round(seconds * _MP3_FRAMES_PER_S))


@cache
def mp4(seconds: float = 1.0, width: int = 16, height: int = 16) -> bytes:
    """One frame, a PNG, that is shown for so long."""
    frame = png(width, height)
    kind = _box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isommp41")
    film = _box(b"mdat", frame)
    return kind + film + _moov(seconds, width, height, len(frame), at=len(kind) + 8)


def _moov(seconds: float, width: int, height: int, size: int, *, at: int) -> bytes:
    """Index of a film of one frame, whose `size` bytes lie `at` so many from the beginning."""
    length = int(seconds * _TIMESCALE)
    times = struct.pack(">5I", 0, 0, 0, _TIMESCALE, length)
    head = _box(b"mvhd", times, struct.pack(">IH10x", 0x10000, 0x100), _MATRIX, bytes(24), struct.pack(">I", 2))
    shape = struct.pack(">II", width << 16, height << 16)
    track = _box(b"tkhd", struct.pack(">6I", 7, 0, 0, 1, 0, length), bytes(16), _MATRIX, shape)
    name = _box(b"hdlr", bytes(8), b"vide", bytes(13))
    where = _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1), _box(b"url ", struct.pack(">I", 1))))
    info = _box(b"minf", _box(b"vmhd", struct.pack(">IQ", 1, 0)), where, _table(length, width, height, size, at))
    media = _box(b"mdia", _box(b"mdhd", times, struct.pack(">HH", 0x55C4, 0)), name, info)
    return _box(b"moov", head, _box(b"trak", track, media))


def _table(length: int, width: int, height: int, size: int, at: int) -> bytes:
    entry = struct.pack(">6xH16xHHIIIH", 1, width, height, 0x480000, 0x480000, 0, 1) + bytes(32) + b"\0\x18\xff\xff"
    return _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 1), _box(b"png ", entry)),
        _box(b"stts", struct.pack(">4I", 0, 1, 1, length)),
        _box(b"stsc", struct.pack(">5I", 0, 1, 1, 1, 1)),
        _box(b"stsz", struct.pack(">4I", 0, 0, 1, size)),
        _box(b"stco", struct.pack(">3I", 0, 1, at)),
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body
