"""What can be true of the usage that an upstream tells, and what is counted where it tells none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.metering import (
    CAP_SPARE,
    NOTICE_TOKENS,
    PROMPT_MARGIN,
    believed,
    counted,
    passed,
    surely,
    unheard,
)
from gateway.model import Learned, Usage
from gateway.routing.bill import bill
from gateway.routing.learn import PRIOR
from gateway.upstreams.dialects.figures import MOST
from gateway.upstreams.dialects.openai import EVENTS
from gateway.upstreams.dialects.surface import ENDPOINTS
from gateway.upstreams.sse import Tap
from tests.worlds import PRICE, request

GUESS = 30
BYTES = len(request().body)
LONGEST, MOST_OUT = max(BYTES, 400) + PROMPT_MARGIN, 2 * 100 + CAP_SPARE
PROMPT = 95
"""400 bytes by the prior."""


def check(told: Usage, least: int = 0, **asked: Any) -> Usage:
    return believed(told, request(**asked), PRIOR, least, lambda: GUESS)


@pytest.mark.parametrize(
    ("told", "least", "asked"),
    [
        (Usage(95, 20), 0, {}),
        (Usage(95, 20, 95), 20, {}),
        (Usage(LONGEST, MOST_OUT), 0, {}),
        (Usage(95, 5_000, reasoning_tokens=4_900), 0, {}),  # what it thought is not under the cap everywhere
        (Usage(LONGEST + 1, 20), 0, {"text_only": False}),
        (Usage(95, 50_000), 0, {"max_tokens": None}),
        (Usage(95, 350), 0, {"n": 3}),
        (Usage(0, 0), 0, {"prompt_bytes": 0, "max_tokens": 0}),  # counting tokens
    ],
)
def test_what_can_be_true_stays_as_it_is(told: Usage, least: int, asked: dict[str, Any]) -> None:
    assert check(told, least, **asked) is told


@pytest.mark.parametrize(
    ("told", "least", "asked", "expected"),
    [
        (Usage(LONGEST + 1, 20), 0, {}, Usage(LONGEST, 20)),
        (Usage(95, MOST_OUT + 1), 0, {}, Usage(95, MOST_OUT)),
        (Usage(95, 2), 10, {}, Usage(95, GUESS)),
        (Usage(95, 2), 40, {}, Usage(95, 40)),
        (Usage(95, 5_000, reasoning_tokens=4_900), 0, {"endpoint": "messages"}, Usage(95, MOST_OUT)),
        (Usage(95, 5_000, reasoning_tokens=4_900), 0, {"endpoint": "responses"}, Usage(95, MOST_OUT)),
        (Usage(0, 0, absurd=True), 0, {}, Usage(PROMPT, GUESS)),  # negative, or no numbers
        (Usage(500, 0, absurd=True), 0, {}, Usage(500, GUESS)),
        (Usage(0, 0, absurd=True), 0, {"max_tokens": 0}, Usage(PROMPT, 0)),
        (Usage(MOST, MOST, MOST, absurd=True), 0, {}, Usage(LONGEST, MOST_OUT, LONGEST)),
    ],
)
def test_what_cannot_is_clamped_and_said(told: Usage, least: int, asked: dict[str, Any], expected: Usage) -> None:
    made = check(told, least, **asked)
    assert (made.input_tokens, made.output_tokens, made.cached_tokens) == (
        *(expected.input_tokens, expected.output_tokens),
        expected.cached_tokens,
    )
    assert (made.absurd, made.estimated) == (True, True)


def test_a_prompt_that_was_not_told_is_estimated_and_no_lie() -> None:
    made = check(Usage(0, 20))
    assert (made.input_tokens, made.output_tokens, made.estimated, made.absurd) == (PROMPT, 20, True, False)


figures = st.integers(0, MOST)
usages = st.builds(
    Usage,
    *(figures, figures, figures),
    cache_write_tokens=figures,
    cache_write_1h_tokens=figures,
    reasoning_tokens=figures,
    input_audio_tokens=figures,
    output_image_tokens=figures,
    absurd=st.booleans(),
)


@given(usages, st.integers(0, 3000), st.sampled_from([None, 0, 100]), st.booleans())
def test_whatever_is_told_is_booked_within_bounds(told: Usage, least: int, cap: int | None, text_only: bool) -> None:
    asked = request(max_tokens=cap, text_only=text_only)
    made = believed(told, asked, PRIOR, 0 if cap == 0 else least, lambda: GUESS)
    assert made is told or made.estimated
    assert 0 <= made.input_tokens <= MOST
    assert 0 <= made.output_tokens <= 2 * MOST
    assert bill(PRICE, made) >= 0
    if made is not told:
        assert made.cached_tokens + made.cache_write_tokens <= made.input_tokens
        assert max(made.reasoning_tokens, made.output_image_tokens) <= made.output_tokens


def test_it_is_counted_by_the_ratio_that_was_learned() -> None:
    assert counted(request(), PRIOR, 7, bought=False) == Usage(PROMPT, 7, estimated=True)
    assert counted(request(), Learned(100, 200, 50), 7, bought=False) == Usage(200, 7, estimated=True)
    assert counted(request(), Learned(100, 200, 50), 7, bought=True) == Usage(250, 7, estimated=True)
    assert counted(request(max_tokens=0), PRIOR, 7, bought=False).output_tokens == 0


@pytest.mark.parametrize(("frames", "n", "least"), [(0, 1, 0), (4, 1, 0), (44, 1, 10), (44, 4, 7)])
def test_frames_that_surely_hold_output(frames: int, n: int, least: int) -> None:
    assert surely(frames, request(n=n)) == least
    assert surely(frames, request(n=n, max_tokens=0)) == 0


@pytest.mark.parametrize(
    ("usage", "seconds", "cap", "written"),
    [
        (Usage(5, 100), 10.0, None, 100 + 10 + NOTICE_TOKENS),
        (Usage(5, 100), 10.0, 105, 105),
        (Usage(5, 1), 0.0, None, 1 + 20 + NOTICE_TOKENS),
        (Usage(5, 100), 10.0, 50, 100),
    ],
)
def test_an_api_writes_on_until_it_notices(usage: Usage, seconds: float, cap: int | None, written: int) -> None:
    assert unheard(usage, request(max_tokens=cap), seconds) == Usage(5, written, estimated=True)


def chunk(text: str) -> bytes:
    return b'data: {"id":"c","choices":[{"delta":{"content":"%b"}}]}\n\n' % text.encode()


@pytest.mark.parametrize(
    ("pieces", "tokens"),
    [
        ([chunk("a")] * 6, 6),
        ([chunk("x" * 42)] * 6, 60),  # several tokens in a frame, as bought APIs send them
        ([chunk("x" * 42)] * 6 + [b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'], 70),
        ([b"data: [DONE]\n\n"], 1),
    ],
)
def test_frames_with_several_tokens_count_as_several(pieces: list[bytes], tokens: int) -> None:
    tap = Tap(EVENTS, drop_usage=True)
    for piece in pieces:
        tap.feed(piece)
    assert passed(tap, 4.2) == tokens


def test_so_do_those_of_named_events() -> None:
    tap = Tap(ENDPOINTS["messages"].events, drop_usage=False)
    for _ in range(5):
        tap.feed(
            b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"%b"}}\n\n' % (b"x" * 42)
        )
    assert passed(tap, 4.2) == 50
