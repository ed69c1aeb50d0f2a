"""Ranges of RFC 9110, and what a download says of itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.downloads import File, Span, Unsatisfiable, head, matches, no_such_range, span_of, unchanged

FILE = File(media_type="video/mp4", size=10, etag='"abc"', name="video_1-video.mp4")


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-", Span(0, 10)),
        ("bytes=0-0", Span(0, 1)),
        ("Bytes=2-4", Span(2, 5)),
        ("bytes=4-999", Span(4, 10)),
        ("bytes=-3", Span(7, 10)),
        ("bytes=-999", Span(0, 10)),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=1-2,4-5", None),
        ("items=1-2", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_ranges(header: str | None, span: Span | None) -> None:
    assert span_of(header, 10) == span


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-1", 0)])
def test_ranges_behind_the_end(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        span_of(header, size)


@given(st.text(max_size=30), st.integers(0, 1000))
def test_whatever_is_asked_a_span_lies_in_the_file(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        try:
            span = span_of(header, size)
        except Unsatisfiable:
            continue
        assert span is None or 0 <= span.start < span.end <= size


@pytest.mark.parametrize(
    ("header", "matched"),
    [
        (None, False),
        ('"abc"', True),
        ("*", True),
        ('"x", "abc"', True),
        ('"x"', False),
        ("abc", False),
        ('W/"abc"', False),
    ],
)
def test_tags(header: str | None, matched: bool) -> None:
    assert matches(header, FILE.etag) is matched


def test_answers_without_a_body() -> None:
    assert head(FILE).headers["content-length"] == "10"
    assert head(FILE).headers["content-disposition"] == 'attachment; filename="video_1-video.mp4"'
    assert (unchanged(FILE).status_code, unchanged(FILE).headers["etag"]) == (304, '"abc"')
    assert no_such_range(FILE).headers["content-range"] == "bytes */10"
