from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.edge.media_metering import PICTURE_TOKENS, PROMPT_TOKENS, of_ask, used
from gateway.edge.metering import counted
from gateway.model import MediaAsk, Usage
from gateway.routing.learn import PRIOR
from tests.worlds import request

ASK = MediaAsk(n=2, size="1024x1024", quality="high", inputs=1)
TOLD = Usage(100, 2000, output_image_tokens=2000, images=2)
NAMED = {"size": "1024x1024", "quality": "high", "input_images": 1}
PICTURES = request(endpoint="images/edits", prompt_bytes=40, media=ASK, max_tokens=0, n=2)
SPEECH = request(endpoint="audio/speech", media=MediaAsk(characters=7), max_tokens=0)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (TOLD, replace(TOLD, **NAMED)),
        (replace(TOLD, images=1), replace(TOLD, images=1, **NAMED)),
        (replace(TOLD, size="512x512", quality="low"), replace(TOLD, **{**NAMED, "size": "512x512", "quality": "low"})),
        (None, Usage(0, 0, images=2, estimated=True, **NAMED)),
        (replace(TOLD, images=3), replace(TOLD, absurd=True, estimated=True, **NAMED)),
        (replace(TOLD, absurd=True), replace(TOLD, absurd=True, estimated=True, **NAMED)),
    ],
)
def test_pictures(told: Usage | None, expected: Usage) -> None:
    assert used(told, PICTURES, ASK) == expected


@pytest.mark.parametrize(
    ("told", "lie"),
    [
        (Usage(PROMPT_TOKENS + 40 + PICTURE_TOKENS, 0, images=1), False),
        (Usage(PROMPT_TOKENS + 41 + PICTURE_TOKENS, 0, images=1), True),
        (Usage(0, 2 * PICTURE_TOKENS, images=1), False),
        (Usage(0, 2 * PICTURE_TOKENS + 1, images=1), True),
    ],
)
def test_tokens_that_no_picture_has(told: Usage, lie: bool) -> None:
    assert used(told, PICTURES, ASK).absurd is lie


def test_speech_is_what_was_to_be_said() -> None:
    assert used(None, SPEECH, MediaAsk(characters=7)) == Usage(0, 0, characters=7)
    told = Usage(5, 80, output_audio_tokens=80)
    assert used(told, SPEECH, MediaAsk(characters=7)) == replace(told, characters=7)
    assert used(Usage(5, 10**6), SPEECH, MediaAsk(characters=7)).absurd


def test_of_media_nothing_is_counted_in_tokens() -> None:
    for one, ask in ((PICTURES, ASK), (SPEECH, MediaAsk(characters=7))):
        assert counted(one, PRIOR, 500, bought=True) == of_ask(one, ask)
