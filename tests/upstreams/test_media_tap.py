"""Streams whose events have megabytes: cut anywhere they say the same, and what is kept of them stays small."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Usage
from gateway.upstreams import skim
from gateway.upstreams.dialects.media_endpoints import IMAGES, SPEECH, images_used
from gateway.upstreams.media_tap import HELD, MediaTap
from gateway.upstreams.skim import Skim
from tests.studio import answer_of, events

USED = Usage(12, 1056, output_image_tokens=1056, images=1, quality="high", size="1024x1024")


def stream(partials: int = 2, data: bytes = b"x" * 60, dos: bool = False) -> bytes:
    common = {"size": "1024x1024", "quality": "high"}
    made = b""
    for event in events("image_generation", partials, data):
        head, _, body = event.strip().partition(b"\ndata: ")
        made += head + b"\ndata: " + json.dumps({**json.loads(body), **common}).encode() + b"\n\n"
    return made.replace(b"\n", b"\r\n") if dos else made


CUTS = st.lists(st.integers(0, 200_000), max_size=30)


@given(CUTS, st.sampled_from([60, HELD, 60_000]), st.booleans())
def test_wherever_it_is_cut_it_passes_whole_and_says_the_same(cuts: list[int], size: int, dos: bool) -> None:
    whole = stream(2, b"x" * size, dos)
    tap, out, at = MediaTap(IMAGES.events), b"", 0
    for cut in sorted({*(cut % len(whole) for cut in cuts), len(whole)}):
        out += tap.feed(whole[at:cut])
        at = cut
    assert out + tap.rest() == whole
    assert (tap.usage, tap.done, tap.failed, tap.torn, tap.frames) == (USED, True, False, False, 3)


def test_a_stream_of_two_pictures_ends_with_the_second() -> None:
    tap = MediaTap(IMAGES.events, 2)
    tap.feed(stream(0))
    assert not tap.done
    tap.feed(stream(0))
    assert tap.done
    assert tap.usage is not None
    assert (tap.usage.images, tap.usage.output_tokens, tap.usage.input_tokens) == (2, 2112, 12)


@pytest.mark.parametrize(
    "event",
    [
        b'event: error\ndata: {"type":"error","error":{"message":"no"}}\n\n',
        b'data: {"error":{"message":"no"}}\n\n',
    ],
)
@pytest.mark.parametrize("events", [IMAGES.events, SPEECH.events])
def test_an_error_is_seen_before_a_byte_of_it_passes(event: bytes, events: object) -> None:
    tap = MediaTap(events)  # type: ignore[arg-type]
    for at in range(len(event) - 1):
        assert tap.feed(event[at : at + 1]) == b""
    assert not tap.failed
    assert tap.feed(event[-1:]) == event
    assert tap.failed


def test_words_of_speech() -> None:
    tap = MediaTap(SPEECH.events)
    tap.feed(b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n')
    assert (tap.frames, tap.done) == (1, False)
    tap.feed(b'data: {"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":"many"}}\n\n')
    assert tap.done
    assert tap.usage is not None
    assert tap.usage.absurd


@pytest.mark.parametrize("piece", [b"\n\n", b"\n", b"data:\n\n", b'"', b"\\", b'"\\'], ids=repr)
def test_streams_of_nothing_take_no_time(piece: bytes) -> None:
    tap = MediaTap(IMAGES.events)
    data = piece * (65536 // len(piece))
    began = time.process_time()
    for _ in range(16):
        tap.feed(data)
    assert time.process_time() - began < 3.0


@given(CUTS, st.integers(1, 3), st.sampled_from([10, 600, 100_000]))
def test_a_skimmed_answer_says_what_the_whole_one_says(cuts: list[int], n: int, size: int) -> None:
    whole = answer_of(n, b"x" * size, size="1024x1024", note='a "quoted" \\ word')
    made, at = Skim(), 0
    for cut in sorted({*(cut % len(whole) for cut in cuts), len(whole)}):
        made.feed(whole[at:cut])
        at = cut
    assert images_used(made.text) == images_used(whole)
    assert len(made.text) < 1500
    assert json.loads(made.text)["note"] == json.loads(whole)["note"]


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_short_texts_are_kept_as_they_are(value: object) -> None:
    whole, made = json.dumps(value).encode(), Skim()
    made.feed(whole)
    if all(len(part) < skim.KEPT_TEXT for part in whole.split(b'"')) and len(whole) < skim.MOST:
        assert json.loads(made.text) == value


def test_what_would_be_too_much_is_given_up() -> None:
    for piece in (b"1," * 40_000, b'"a",' * 40_000, b'"' + b"\\n" * 300_000):
        made = Skim()
        made.feed(piece)
        assert (made.given_up, made.text) == (True, b"")
