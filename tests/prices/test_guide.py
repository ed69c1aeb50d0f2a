"""Each price of the vendor guide's examples comes out to the cent."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.model import Usage
from gateway.prices import book
from gateway.routing.bill import bill, most_of
from gateway.routing.sold import sold_as

TODAY = date(2026, 11, 22)
GUIDE: list[tuple[str, dict[str, Any], int]] = [
    ("veo-3.1-lite-generate-001", {"seconds": 4.0}, 200_000),
    ("veo-3.1-lite-generate-001", {"seconds": 6.0, "resolution": "720p"}, 300_000),
    ("veo-3.1-lite-generate-001", {"seconds": 8.0, "resolution": "720P"}, 400_000),
    ("gpt-image-2-generate", {"images": 1, "quality": "low"}, 6_000),
    ("gpt-image-2-generate", {"images": 1, "quality": "high"}, 211_000),
    ("gpt-image-2-generate", {"images": 4, "quality": "high", "size": "1024x1024"}, 844_000),
    ("wan2.7-i2v", {"seconds": 5.0}, 625_000),
    ("seedream-5.0-lite", {"images": 1}, 35_000),
    ("Kling-Image2Video-V2.1-Pro", {"seconds": 5.0, "input_images": 1}, 98_000),
    ("elevenlabs-tts-v3", {"characters": 400}, 100_000),
    ("wan2.6-t2v", {}, 150_000),
    ("minimax-tts-speech-2.6-turbo", {"characters": 400}, 60_000),
    ("MiniMax-TTS-Speech-2.6-Turbo", {"characters": 400}, 60_000),
]


@pytest.mark.parametrize(("model", "used", "micro_usd"), GUIDE)
def test_what_the_guide_says(model: str, used: dict[str, Any], micro_usd: int) -> None:
    known = book.find("gmi", model, TODAY)
    assert known is not None
    assert bill(known.price, Usage(0, 0, **used)) == micro_usd
    assert most_of(known.price, Usage(0, 0, **used)) == micro_usd


def test_a_length_between_is_refused_with_those_that_are_sold() -> None:
    known = book.find("gmi", "veo-3.1-lite-generate-001", TODAY)
    assert known is not None
    with pytest.raises(InvalidRequest, match="5 s is not sold; ask for 4, 6 or 8 s") as refused:
        sold_as(known.price, 5.0)
    assert (refused.value.status, refused.value.param) == (400, "seconds")


@pytest.mark.parametrize(("kind", "usd"), [("H100", "2.0"), ("H200", "2.6")])
def test_a_gpu_hour(kind: str, usd: str) -> None:
    hour = book.gpu(kind)
    assert hour is not None
    assert (str(hour.usd_per_hour), hour.source, hour.confidence) == (usd, "gmi-architecture-guide", "guide")


def test_an_image_of_unknown_quality_is_not_billed_but_bounded() -> None:
    known = book.find("gmi", "gpt-image-2-generate", TODAY)
    assert known is not None
    assert bill(known.price, Usage(0, 0, images=1)) is None
    assert most_of(known.price, Usage(0, 0, images=1)) == 211_000
