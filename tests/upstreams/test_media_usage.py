"""Usage of pictures, transcripts and videos, in the shapes that the APIs have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Usage
from gateway.upstreams.dialects.figures import MOST
from gateway.upstreams.dialects.media_usage import of_image_event, of_images, of_transcription, of_video

IMAGE = {
    "input_tokens": 350,
    "output_tokens": 1056,
    "total_tokens": 1406,
    "input_tokens_details": {"text_tokens": 27, "image_tokens": 323},
}
PICTURE = {"b64_json": "aGk="}
MADE = {"created": 1, "data": [PICTURE, PICTURE], "quality": "medium", "size": "1024x1024", "output_format": "png"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            {**MADE, "usage": IMAGE},
            Usage(
                *(350, 1056),
                input_image_tokens=323,
                output_image_tokens=1056,
                images=2,
                quality="medium",
                size="1024x1024",
            ),
        ),
        (
            {**MADE, "usage": {**IMAGE, "output_tokens_details": {"image_tokens": 1000, "text_tokens": 56}}},
            Usage(
                *(350, 1056),
                input_image_tokens=323,
                output_image_tokens=1000,
                images=2,
                quality="medium",
                size="1024x1024",
            ),
        ),
        (
            {
                **MADE,
                "usage": {
                    **IMAGE,
                    "input_tokens_details": {
                        "image_tokens": 323,
                        "cached_tokens": 300,
                        "cached_tokens_details": {"image_tokens": 290},
                    },
                },
            },
            Usage(
                *(350, 1056, 300),
                input_image_tokens=323,
                output_image_tokens=1056,
                cached_image_tokens=290,
                images=2,
                quality="medium",
                size="1024x1024",
            ),
        ),
        (  # one of them was filtered
            {"data": [{"url": "u", "size": "2048x2048"}, {"error": {"code": "OutputImageSensitive"}}], "usage": {}},
            Usage(0, 0, images=1),
        ),
        ({"data": [PICTURE]}, Usage(0, 0, images=1)),
        ({"data": None, "usage": [1], "size": "x" * 100}, Usage(0, 0)),
        (
            {**MADE, "data": [], "usage": {"input_tokens": -1}},
            Usage(0, 0, quality="medium", size="1024x1024", absurd=True),
        ),
    ],
)
def test_pictures(answer: dict[str, Any], expected: Usage) -> None:
    assert of_images(answer) == expected


def test_the_last_event_of_a_picture() -> None:
    last = {"type": "image_generation.completed", **PICTURE, "quality": "high", "size": "1024x1536", "usage": IMAGE}
    made = of_image_event(last)
    assert made is not None
    assert (made.images, made.input_tokens, made.output_image_tokens, made.quality) == (1, 350, 1056, "high")
    assert of_image_event({"type": "image_generation.partial_image", **PICTURE}) is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"type": "duration", "seconds": 9}, Usage(0, 0, audio_seconds=9.0)),
        ({"type": "duration", "seconds": "x"}, Usage(0, 0, absurd=True)),
        (
            {
                "type": "tokens",
                "input_tokens": 14,
                "output_tokens": 45,
                "total_tokens": 59,
                "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
            },
            Usage(14, 45, input_audio_tokens=10),
        ),
        (None, None),
    ],
)
def test_transcripts(usage: Any, expected: Usage | None) -> None:
    assert of_transcription({"text": "hello", "usage": usage}) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"object": "video", "status": "completed", "progress": 100, "seconds": "8", "size": "1280x720"},
            Usage(0, 0, seconds=8.0, size="1280x720"),
        ),
        ({"status": "completed", "seconds": None}, Usage(0, 0, absurd=True)),
        ({"status": "in_progress", "seconds": "8"}, None),
        ({"status": "failed", "seconds": "8", "error": {"code": "moderation"}}, None),
    ],
)
def test_videos(record: dict[str, Any], expected: Usage | None) -> None:
    assert of_video(record) == expected


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
named = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "input_tokens_details", "image_tokens", "seconds", "type"]),
    garbage,
)
answers = st.dictionaries(st.sampled_from(["usage", "data", "seconds", "size", "status"]), garbage | named)


@given(st.sampled_from([of_images, of_image_event, of_transcription, of_video]), answers)
def test_any_json_gives_amounts(read: Callable[[Any], Usage | None], answer: dict[str, Any]) -> None:
    made = read({"status": "completed", "type": "image_edit.completed", **answer})
    if made is not None:
        for value in (made.input_tokens, made.output_tokens, made.images, made.seconds, made.audio_seconds):
            assert 0 <= value <= MOST
