"""What a request for media comes to: work, what is charged, and the most of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import EndpointName, MediaAsk, MediaRate, Offer, Price, Usage
from gateway.routing.bill import bill
from gateway.routing.estimate import estimate
from gateway.routing.units import (
    INPUT_IMAGE_TOKENS,
    SECONDS,
    frames_of,
    most_of_media,
    price_of_media,
    units_of,
    usage_of_ask,
    work_of_media,
)
from tests.worlds import policy, request

IMAGES: EndpointName = "images/generations"
SERVED = policy().models["m"].served_by[0]
CENT = 10**10
"""Pico-dollars."""
PER_IMAGE = Price(media=(MediaRate("image", 4 * CENT, default=True), MediaRate("image", 16 * CENT, quality="high")))
PER_SECOND = Price(media=(MediaRate("second", 5 * CENT),), sold_seconds=(4, 6, 8), round_up=True)


@pytest.mark.parametrize(
    ("endpoint", "ask", "offer", "units"),
    [
        (IMAGES, {"steps": 50, "size": "1000x1000"}, None, 50.0),
        (IMAGES, {"steps": 1, "size": "500x500", "n": 4}, None, 1.0),
        (IMAGES, {"size": "1000X1000"}, Offer(steps=4), 4.0),
        (IMAGES, {"steps": 10}, Offer(default_size="2000x1000"), 20.0),
        (IMAGES, {"steps": 1, "size": "2K"}, None, 2048 * 2048 / 1e6),
        ("videos", {"steps": 10, "size": "1000x1000", "seconds": 2.0, "fps": 8.0}, None, 160.0),
        ("videos", {"steps": 1, "resolution": "720p", "seconds": 1.0}, Offer(default_fps=1.0), 1280 * 720 / 1e6),
        ("audio/speech", {"characters": 120}, None, 120.0),
        ("audio/transcriptions", {"audio_seconds": 61.5}, None, 61.5),
        ("audio/transcriptions", {}, None, 30.0),
    ],
)
def test_units(endpoint: EndpointName, ask: dict[str, Any], offer: Offer | None, units: float) -> None:
    assert units_of(endpoint, MediaAsk(**ask), offer) == pytest.approx(units)


def test_a_film_without_a_length_is_as_long_as_its_model_makes_them() -> None:
    assert frames_of(MediaAsk(), Offer(default_seconds=5.0, default_fps=24.0)) == 120
    assert usage_of_ask("videos", MediaAsk(n=2)).seconds == 2 * SECONDS


@pytest.mark.parametrize(
    ("size", "resolution", "billed"),
    [
        ("1280x720", None, "720p"),
        ("720*1280", None, "720p"),
        ("1280x720", "1080p", "1080p"),  # as it says
        ("1024x1024", None, "480p"),  # no name: what its model gives
        (None, None, "480p"),
    ],
)
def test_a_film_is_billed_by_the_resolution_of_its_size(size: str | None, resolution: str | None, billed: str) -> None:
    ask = MediaAsk(size=size, resolution=resolution, seconds=4.0)
    assert usage_of_ask("videos", ask, Offer(default_resolution="480p")).resolution == billed


def test_fifty_steps_of_2k_are_as_much_work_as_four_hundred_thumbnails() -> None:
    thumbnail = work_of_media(IMAGES, MediaAsk(steps=1, size="1024x1024"), None)
    large = work_of_media(IMAGES, MediaAsk(steps=50, size="2048x2048"), None)
    assert large == pytest.approx(200 * thumbnail, rel=1e-3)
    assert work_of_media(IMAGES, MediaAsk(steps=50, size="2048x2048"), None, slower=2.0) == pytest.approx(2 * large)


@pytest.mark.parametrize(
    ("price", "endpoint", "ask", "micro"),
    [
        (PER_IMAGE, IMAGES, {"n": 3}, 120_000),
        (PER_IMAGE, IMAGES, {"n": 3, "quality": "high"}, 480_000),
        (PER_SECOND, "videos", {"seconds": 5.0}, 300_000),
        (PER_SECOND, "videos", {"seconds": 8.0}, 400_000),
        (Price(media=(MediaRate("character", 10**8),)), "audio/speech", {"characters": 1000}, 100_000),
        (Price(media=(MediaRate("audio_second", 10**8),)), "audio/transcriptions", {"audio_seconds": 0.5}, 50),
        (PER_IMAGE, "videos", {"seconds": 4.0}, None),
    ],
)
def test_prices_of_media(price: Price, endpoint: EndpointName, ask: dict[str, Any], micro: int | None) -> None:
    assert price_of_media(price, endpoint, MediaAsk(**ask)) == micro
    most = most_of_media(price, endpoint, MediaAsk(**ask))
    assert (most is None) == (micro is None)
    assert (most or 0) >= (micro or 0)


def test_a_picture_that_may_be_charged_by_tokens_is_set_aside_with_a_margin() -> None:
    price = Price.of(input_per_1m=5.0, output_per_1m=30.0)
    priced = Price(tokens=price.tokens, media=(MediaRate("image", 4 * CENT),))
    ask = MediaAsk(n=2, prompt_characters=100, inputs=1)
    prompt = 5 * (400 + INPUT_IMAGE_TOKENS)
    assert most_of_media(priced, "images/edits", ask) == 100_000 + prompt


@given(
    n=st.integers(1, 10),
    quality=st.sampled_from([None, "low", "high"]),
    made=st.integers(0, 10),
    seconds=st.floats(0.1, 9.0, allow_nan=False),
)
def test_whatever_comes_of_it_costs_no_more_than_was_set_aside(
    n: int, quality: str | None, made: int, seconds: float
) -> None:
    """Of what was asked for: fewer pictures, the same kind; a film as long as it was ordered."""
    ask = MediaAsk(n=n, quality=quality)
    set_aside = most_of_media(PER_IMAGE, IMAGES, ask)
    assert set_aside is not None
    assert (bill(PER_IMAGE, Usage(0, 0, images=min(made, n), quality=quality)) or 0) <= set_aside
    film = most_of_media(PER_SECOND, "videos", MediaAsk(seconds=seconds))
    assert film is not None
    assert (bill(PER_SECOND, Usage(0, 0, seconds=seconds)) or 0) <= film


def test_an_estimate_of_media_is_work_and_price_and_no_tokens() -> None:
    asked = request(endpoint=IMAGES, media=MediaAsk(steps=2, size="1000x1000"))
    found = estimate(asked, SERVED, slower=0.5)
    assert (found.input_tokens, found.output_tokens, found.work) == (0, 0, 140_000)
    assert estimate(request(), SERVED).work == 0
