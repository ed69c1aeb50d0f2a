"""Pillow makes the pictures; ours must say of each what Pillow says, and tell a cut one from a whole one."""

from __future__ import annotations

import struct
import time
import zlib
from functools import lru_cache
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from gateway.edge.pictures import MAX_PARTS, Look, NotAPicture, look

ROOM = 50_000_000
KINDS = {
    "png": ("PNG", "RGBA", {}),
    "png-palette": ("PNG", "P", {}),
    "png-stored": ("PNG", "L", {"compress_level": 0}),
    "jpeg": ("JPEG", "RGB", {}),
    "jpeg-progressive": ("JPEG", "RGB", {"progressive": True, "quality": 30}),
    "jpeg-restarts": ("JPEG", "L", {"restart_marker_rows": 1}),
    "jpeg-exif": ("JPEG", "RGB", {"exif": b"Exif\x00\x00" + b"\xff\xd9\xff\xda" * 40}),
    "webp": ("WEBP", "RGB", {}),
    "webp-lossless": ("WEBP", "RGB", {"lossless": True}),
    "webp-alpha": ("WEBP", "RGBA", {"exact": True}),
    "gif": ("GIF", "P", {}),
}
MOVING = {"apng": "PNG", "webp-moving": "WEBP", "gif-moving": "GIF"}


@lru_cache
def made(kind: str, width: int = 37, height: int = 23) -> bytes:
    out = BytesIO()
    if kind in MOVING:
        frames = [Image.effect_noise((width, height), 10 + 20 * number) for number in range(3)]
        frames[0].save(out, MOVING[kind], save_all=True, append_images=frames[1:], duration=50)
    else:
        name, mode, more = KINDS[kind]
        Image.effect_noise((width, height), 60).convert(mode).save(out, name, **more)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("kind", [*KINDS, *MOVING])
@pytest.mark.parametrize("size", [(1, 1), (37, 23), (640, 3)])
def test_it_says_what_pillow_says(kind: str, size: tuple[int, int]) -> None:
    data = made(kind, *size)
    with Image.open(BytesIO(data)) as opened:
        frames = sum(1 for _ in ImageSequence.Iterator(opened))
        expected = Look(Image.MIME[opened.format or ""], *opened.size, frames)
    assert look(data, ROOM) == expected
    assert look(data + b"what comes behind the end", ROOM) == expected


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*KINDS, *MOVING]), st.floats(0, 1, exclude_max=True))
def test_whatever_is_cut_off_is_refused(kind: str, where: float) -> None:
    data = made(kind)
    with pytest.raises(NotAPicture):
        look(data[: int(where * len(data))], ROOM)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*KINDS, *MOVING]), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8))
def test_garbage_raises_nothing_else(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(made(kind))
    for at, value in changes:
        data[at % len(data)] = value
    try:
        seen = look(bytes(data), ROOM)
    except NotAPicture:
        return
    assert seen.width * seen.height * seen.frames <= ROOM


@given(st.binary(max_size=200))
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(NotAPicture):
        look(data, ROOM)


@pytest.mark.parametrize("data", [b"", b"<svg/>", b"BM" + b"0" * 60, b"%PDF-1.7", b"GIF89a", b"RIFF0000WEBP"])
def test_what_only_looks_like_one(data: bytes) -> None:
    with pytest.raises(NotAPicture):
        look(data, ROOM)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *more: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(more) + chunk(b"IEND", b"")


DRAWN = chunk(b"IDAT", zlib.compress(b"\0" * 64))


def test_a_bomb_is_refused_by_its_head_and_by_its_frames() -> None:
    with pytest.raises(NotAPicture, match="pixels"):
        look(png(65_000, 65_000, DRAWN), ROOM)
    with pytest.raises(NotAPicture, match="pixels"):
        look(png(2_000, 2_000, *([chunk(b"fcTL", b"\0" * 26)] * 20), DRAWN), ROOM)
    assert look(png(7_000, 7_000, DRAWN), ROOM).width == 7_000


def test_no_size_and_nothing_drawn_are_no_picture() -> None:
    for data in (png(0, 9, DRAWN), png(9, 0, DRAWN), png(9, 9)):
        with pytest.raises(NotAPicture):
            look(data, ROOM)


@pytest.mark.parametrize(
    "data",
    [
        png(9, 9, chunk(b"tEXt", b"") * (1 << 20), DRAWN),
        b"\xff\xd8" + b"\xff\xe0\x00\x02" * (1 << 21),
        b"GIF89a" + b"\x01\x00" * 2 + b"\0\0\0" + b"\x21\xf9" + b"\x01\x00" * (1 << 22),
        b"RIFF" + struct.pack("<I", 8 * (1 << 20) + 4) + b"WEBP" + b"junk\0\0\0\0" * (1 << 20),
    ],
    ids=["png", "jpeg", "gif", "webp"],
)
def test_a_file_of_nothing_but_parts_takes_no_time(data: bytes) -> None:
    began = time.process_time()
    with pytest.raises(NotAPicture):
        look(data, ROOM)
    assert time.process_time() - began < 1.0, f"more than {MAX_PARTS} parts were walked"
