"""Streams pass through untouched, however the network cuts them, minus the usage frame that we asked for."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Usage
from gateway.upstreams.dialects.openai import EVENTS
from gateway.upstreams.sse import MAX_FRAME_BYTES, Tap

USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
SEEN = Usage(input_tokens=11, output_tokens=3)


def chunk(text: str, **more: object) -> bytes:
    made = {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}
    return b"data: " + json.dumps(made, ensure_ascii=False).encode()


USAGE_FRAME = b"data: " + json.dumps({"id": "c", "choices": [], "usage": USAGE}).encode()
COMPACT_USAGE_FRAME = b'data:{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":3}}'
DONE = b"data: [DONE]"
KEEP_ALIVE = b": keep-alive"
EVENT = b'event: message\ndata: {"choices":[{"delta":{}}],"usage":null}'


def run(pieces: list[bytes], *, drop: bool) -> tuple[bytes, Tap]:
    tap = Tap(EVENTS, drop_usage=drop)
    out = b"".join([tap.feed(piece) for piece in pieces])
    return out + tap.rest(), tap


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def one_blank_line(stream: bytes) -> bytes:
    """Where the network cuts between the blank lines around a frame that is left out, their number may differ."""
    return re.sub(rb"\n(\r?\n)+", b"\n\n", stream).lstrip(b"\r\n")


def tells(frame: bytes) -> bool:
    return frame.endswith(json.dumps({"usage": USAGE}).encode()[1:])


def bare(frame: bytes) -> bytes:
    """As it is passed on to who did not ask for usage."""
    if not tells(frame):
        return frame
    fields = {**json.loads(frame.removeprefix(b"data: "))}
    del fields["usage"]
    return b"data: " + b",".join(
        [b'{"id":"c"', b'"choices":' + json.dumps(fields["choices"], ensure_ascii=False).encode() + b"}"]
    )


_frames = st.one_of(
    st.text(max_size=20).map(chunk),
    st.text(max_size=5).map(lambda text: chunk(text, usage=None)),
    st.text(max_size=5).map(lambda text: chunk(text, usage=USAGE)),
    st.just(chunk('says "usage": {"prompt_tokens": 1} and data: [DONE]')),
    st.sampled_from([KEEP_ALIVE, EVENT, USAGE_FRAME, COMPACT_USAGE_FRAME, b'data: {"choices":[],"usage":null}']),
    st.just(b'data: {"prompt_filter_results":[],"choices":[]}'),
)
_ends = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n", b"\n\n\n", b"\r\n\r\n\r\n"])


@given(st.lists(st.tuples(_frames, _ends), max_size=12), st.booleans(), st.lists(st.integers(0, 10_000), max_size=30))
def test_any_split_gives_the_same_bytes_and_the_same_usage(
    frames: list[tuple[bytes, bytes]], drop: bool, places: list[int]
) -> None:
    frames = [*frames, (DONE, b"\n\n")]
    stream = b"".join(frame + end for frame, end in frames)
    ours = (USAGE_FRAME, COMPACT_USAGE_FRAME)
    expected = b"".join((bare(frame) if drop else frame) + end for frame, end in frames if not (drop and frame in ours))
    out, tap = run(cut(stream, places), drop=drop)
    assert out == expected or (drop and one_blank_line(out) == one_blank_line(expected))
    told = any(frame in ours or tells(frame) for frame, _ in frames)
    assert tap.usage == (SEEN if told else None)
    assert tap.done
    assert not tap.torn


@given(st.binary(max_size=300), st.booleans(), st.lists(st.integers(0, 300), max_size=10))
def test_any_bytes_at_all_pass_through(data: bytes, drop: bool, places: list[int]) -> None:
    assert run(cut(data, places), drop=drop)[0] == data


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"data: x", b": y"]), max_size=40), st.integers(0, 200))
def test_line_ends_in_any_mixture_pass_through(parts: list[bytes], place: int) -> None:
    data = b"".join([*parts, DONE, b"\n\n"])
    assert run(cut(data, [place]), drop=True)[0] == data


def test_frames_leave_as_soon_as_they_are_whole() -> None:
    tap = Tap(EVENTS, drop_usage=True)
    first, second = chunk("a") + b"\n\n", chunk("b") + b"\n\n"
    assert tap.feed(first + second[:5]) == first
    assert tap.feed(second[5:-1]) == b""
    assert tap.feed(second[-1:] + DONE) == second
    assert tap.feed(b"\n\n") == DONE + b"\n\n"


def test_a_frame_that_never_ends_is_told_apart_at_the_end() -> None:
    tap = Tap(EVENTS, drop_usage=True)
    assert tap.feed(b"data: {") == b""
    assert not tap.torn, "nothing of it was forwarded"
    assert tap.rest() == b"data: {"
    assert tap.rest() == b""


def test_a_frame_too_large_to_hold_is_passed_on_in_parts() -> None:
    tap = Tap(EVENTS, drop_usage=True)
    part = b"data: " + b"x" * MAX_FRAME_BYTES
    assert tap.feed(part) == part
    assert tap.torn, "what comes next must end the frame first"
    assert tap.feed(b"y\n\n" + DONE + b"\n\n") == b"y\n\n" + DONE + b"\n\n"
    assert not tap.torn


@pytest.mark.parametrize("size", [1, 7, 64])
def test_many_small_pieces_of_a_large_frame_cost_no_square(size: int) -> None:
    frame = chunk("x" * 20_000) + b"\n\n"
    started = time.perf_counter()
    out, _ = run([frame[at : at + size] for at in range(0, len(frame), size)], drop=True)
    assert out == frame
    assert time.perf_counter() - started < 2.0


def test_of_a_large_frame_only_the_new_piece_is_searched() -> None:
    """A megabyte in packets: to search and copy all that is held for each of them took a second and more."""
    frame = b"data: " + b"x" * (MAX_FRAME_BYTES - 100) + b"\n\n"
    started = time.process_time()
    out, _ = run([frame[at : at + 200] for at in range(0, len(frame), 200)], drop=True)
    assert out == frame
    assert time.process_time() - started < 0.2


def test_frames_are_counted_for_an_estimate() -> None:
    stream = b"".join(chunk("x") + b"\n\n" for _ in range(5))
    assert run([stream], drop=True)[1].frames == 5
