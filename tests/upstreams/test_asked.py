from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.model import MediaAsk
from gateway.upstreams.dialects import asked

IMAGES = [
    ({}, {}),
    ({"n": None, "size": None, "quality": None}, {}),
    ({"n": 4}, {"n": 4}),
    ({"size": "auto", "quality": "auto"}, {}),
    ({"size": "1024x1536"}, {"size": "1024x1536"}),
    ({"size": "1024*1024"}, {"size": "1024x1024"}),
    ({"size": "1024X768"}, {"size": "1024x768"}),
    ({"size": "2k"}, {"size": "2K"}),
    ({"width": 640, "height": 480}, {"size": "640x480"}),
    ({"width": 640}, {}),
    ({"quality": "HIGH"}, {"quality": "high"}),
    ({"output_format": "webp", "output_compression": 50}, {"format": "webp"}),
    ({"num_inference_steps": 28, "guidance_scale": 3.5}, {"steps": 28}),
    ({"partial_images": 3, "stream": True}, {"partial_images": 3, "streams": True}),
    ({"stream": False}, {}),
    ({"aspect_ratio": "16:9"}, {"ratio": "16:9"}),
    ({"prompt": "ü🐕"}, {"prompt_characters": 2}),
    ({"prompt": "a" * asked.MAX_PROMPT}, {"prompt_characters": asked.MAX_PROMPT}),
]
SPEECH = [
    ({}, {}),
    ({"voice": "alloy", "response_format": "OPUS"}, {"voice": "alloy", "format": "opus"}),
    ({"voice": {"id": "voice_1"}}, {"voice": "voice_1"}),
    ({"speed": 4, "stream_format": "audio"}, {}),
    ({"stream_format": "sse"}, {"streams": True}),
    ({"input": "ü🐕\u0301"}, {"characters": 3, "prompt_characters": 3}),
]


def fields(body: dict[str, object]) -> dict[str, Raw]:
    return msgspec.json.decode(msgspec.json.encode(body), type=dict[str, Raw])


@pytest.mark.parametrize(("body", "expected"), IMAGES, ids=lambda value: str(value)[:40])
def test_what_a_request_for_pictures_asks_for(body: dict[str, object], expected: dict[str, object]) -> None:
    asks = asked.images(fields({"prompt": "a fox", **body}))
    assert asks == MediaAsk(**{"prompt_characters": 5, **expected})  # type: ignore[arg-type]


@pytest.mark.parametrize(("body", "expected"), SPEECH, ids=lambda value: str(value)[:40])
def test_what_a_request_for_speech_asks_for(body: dict[str, object], expected: dict[str, object]) -> None:
    asks = asked.speech(fields({"input": "hello", **body}))
    assert asks == MediaAsk(**{"characters": 5, "prompt_characters": 5, **expected})  # type: ignore[arg-type]


@pytest.mark.parametrize(("said", "streams"), [({}, False), ({"stream_format": "sse"}, True)])
def test_which_speech_is_a_stream_of_events(said: dict[str, object], streams: bool) -> None:
    assert asked.streams_speech(fields(said)) is streams


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
NAMES = ("n", "size", "quality", "width", "height", "output_format", "partial_images", "num_inference_steps", "voice")


@given(st.dictionaries(st.sampled_from([*NAMES, "speed", "stream_format", "prompt", "input", "x"]), VALUES, max_size=6))
def test_whatever_is_asked_is_understood_or_refused_by_name(body: dict[str, object]) -> None:
    raw = {name: Raw(msgspec.json.encode(value)) for name, value in body.items()}
    for reads in (asked.images, asked.speech):
        ask, refused = MediaAsk(), ""
        try:
            ask = reads(raw)
        except InvalidRequest as refusal:
            refused = refusal.param or "nothing"
        assert refused in ("", *body, "prompt", "input")
        assert 1 <= ask.n <= asked.MAX_N
        assert ask.size is None or ask.size == ask.size.lower().replace("k", "K")
