"""The files that simulated workers make are what they are said to be."""

from __future__ import annotations

import io
import struct
import wave

import pytest
from PIL import Image

from loadtests.simfleet.costs import units
from loadtests.simfleet.files import mp4, png, wav


@pytest.mark.parametrize(("width", "height"), [(1, 1), (64, 48), (1023, 767), (2048, 2048)])
def test_a_picture_has_the_size_that_was_asked_for(width: int, height: int) -> None:
    picture = png(width, height)
    with Image.open(io.BytesIO(picture)) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (width, height))
    assert len(picture) < 8_000


def boxes(data: bytes) -> dict[bytes, bytes]:
    found, at = {}, 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found[kind] = data[at + 8 : at + size]
        at += size
    assert at == len(data)
    return found


def test_a_film_has_its_length_and_its_frame_is_where_it_says() -> None:
    film = mp4(4.5, 832, 480)
    whole = boxes(film)
    assert list(whole) == [b"ftyp", b"moov", b"mdat"]
    moov = boxes(whole[b"moov"])
    timescale, duration = struct.unpack_from(">II", moov[b"mvhd"], 12)
    assert duration / timescale == 4.5
    assert len(moov[b"mvhd"]) == 100
    track = boxes(moov[b"trak"])
    assert len(track[b"tkhd"]) == 84
    assert struct.unpack(">II", track[b"tkhd"][-8:]) == (832 << 16, 480 << 16)
    media = boxes(track[b"mdia"])
    table = boxes(boxes(media[b"minf"])[b"stbl"])
    offset, size = struct.unpack(">I", table[b"stco"][-4:])[0], struct.unpack(">I", table[b"stsz"][-4:])[0]
    with Image.open(io.BytesIO(film[offset : offset + size])) as frame:
        assert frame.size == (832, 480)


def test_a_sound_can_be_played() -> None:
    with wave.open(io.BytesIO(wav(1.5))) as sound:
        assert sound.getnframes() / sound.getframerate() == 1.5


@pytest.mark.parametrize(
    ("kind", "asked", "reference", "expected"),
    [
        ("image", {}, 0, 1.0),
        ("image", {"n": 3, "size": "2048x2048", "num_inference_steps": 50}, 0, 3.0),
        ("image", {"n": 2, "size": "2048x2048", "num_inference_steps": 50}, 20, 20.0),
        ("image", {"size": "512x512", "num_inference_steps": 1}, 20, 0.0125),
        ("video", {"seconds": "5"}, 0, 5.0),
        ("video", {"num_frames": 32, "fps": 16, "size": "1024x1024"}, 20, 2.0),
        ("video", {"seconds": "no", "size": "big"}, 20, 4.0),
        ("speech", {"input": "x" * 30}, 20, 2.0),
    ],
)
def test_what_a_request_costs(kind: str, asked: dict[str, object], reference: int, expected: float) -> None:
    assert units(kind, asked, reference) == pytest.approx(expected)
