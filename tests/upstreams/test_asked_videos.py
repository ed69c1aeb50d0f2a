"""What a request for a film asks for, and what is refused before anybody is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.model import MediaAsk
from gateway.upstreams.dialects.asked import videos


def fields(**given: Any) -> dict[str, Raw]:
    body = {"model": "film", "prompt": "a cat", **given}
    return {name: Raw(json.dumps(value).encode()) for name, value in body.items()}


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, {}),
        ({"seconds": "4"}, {"seconds": 4.0}),
        ({"seconds": 5.5}, {"seconds": 5.5}),
        ({"seconds": None, "size": None}, {}),
        ({"size": "1280x720", "n": 2}, {"size": "1280x720", "n": 2}),
        ({"resolution": "720p", "aspect_ratio": "16:9"}, {"resolution": "720p", "ratio": "16:9"}),
        ({"fps": 24, "num_inference_steps": 50}, {"fps": 24.0, "steps": 50}),
        ({"num_frames": 81, "num_outputs_per_prompt": 3, "n": 2}, {"frames": 81, "n": 3}),
        ({"negative_prompt": "dogs", "anything": {"else": 1}}, {}),
    ],
)
def test_a_film(given: dict[str, Any], asked: dict[str, Any]) -> None:
    assert videos(fields(**given)) == MediaAsk(prompt_characters=5, **asked)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        *(
            ({"seconds": wrong}, "seconds")
            for wrong in (0, "0", "0.0", -1, "-1", "", "4s", "1e3", "nan", 99999, [], True)
        ),
        *(({"size": wrong}, "size") for wrong in ("big", "720", "0x720", "720x", "-1x5", 720)),
        *(({"num_frames": wrong}, "num_frames") for wrong in (0, 10**9, "many")),
        *(({"fps": wrong}, "fps") for wrong in (0, 1000)),
        *(({"n": wrong}, "n") for wrong in (0, -1, 1.5, "two")),
        *(({"prompt": wrong}, "prompt") for wrong in ("", "  ", None, 5, "x" * 40_000)),
    ],
)
def test_what_no_film_can_be(given: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        videos(fields(**given))
    assert raised.value.param == param
