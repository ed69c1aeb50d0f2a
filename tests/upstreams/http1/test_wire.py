"""The bytes: what we send, what we take for an answer, and who refuses what (llhttp or wire.py)."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadAnswer
from gateway.upstreams.http1 import request_head
from gateway.upstreams.http1.wire import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_INFORMATIONAL,
    SMALL_BYTES,
    Response,
    gather,
)

OK = b"HTTP/1.1 200 OK\r\n"
POISON = OK + b"Content-Length: 2\r\n\r\nyo"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def test_a_request_head() -> None:
    head = request_head("POST", "/v1/x?y=1", "h:80", [(b"Accept", b"*/*"), (b"x-id", b"\xc3\xa4")], 12)
    assert (
        head == b"POST /v1/x?y=1 HTTP/1.1\r\nhost: h:80\r\nAccept: */*\r\nx-id: \xc3\xa4\r\ncontent-length: 12\r\n\r\n"
    )


@pytest.mark.parametrize(("method", "length", "sent"), [("GET", 0, False), ("HEAD", 0, False), ("POST", 0, True)])
def test_an_empty_body_is_announced_where_one_is_expected(method: str, length: int, sent: bool) -> None:
    assert (b"content-length: 0" in request_head(method, "/", "h", [], length)) is sent


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "\r\nX-Injected: 1"])
@pytest.mark.parametrize("where", ["method", "path", "host", "name", "value"])
def test_a_request_head_refuses_line_breaks_and_nul(where: str, bad: str) -> None:
    parts = {"method": "GET", "path": "/", "host": "h", "name": "a", "value": "b"}
    parts[where] += bad + "secret"
    header = (parts["name"].encode(), parts["value"].encode())
    with pytest.raises(ValueError, match=r"CR|token|blanks") as caught:
        request_head(parts["method"], parts["path"], parts["host"], [header], 0)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"\xc3\xa4", b"Host", b"content-length", b"Transfer-Encoding"])
def test_a_request_head_refuses_names_that_are_no_token_or_frame_the_body(name: bytes) -> None:
    with pytest.raises(ValueError, match="header"):
        request_head("POST", "/", "h", [(name, b"1")], 0)


@pytest.mark.parametrize(("method", "path"), [("GET /", "/"), ("GET", "/a b"), ("GET", "/ä"), ("", "/ /")])
def test_a_request_line_has_three_parts(method: str, path: str) -> None:
    with pytest.raises(ValueError, match=r"blanks|ascii"):
        request_head(method, path, "h", [], 0)


def read(*pieces: bytes, bodyless: bool = False) -> Response:
    response = Response(bodyless=bodyless)
    for piece in pieces:
        response.feed(piece)
    return response


WHOLE = [  # bytes, status, body, reusable
    (OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi", True),
    (OK + b"Content-Length: 2 \r\n\r\nhi", 200, b"hi", True),
    (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    (OK + b"Content-Length: 4\r\n\r\n\r\n\r\n", 200, b"\r\n\r\n", True),
    (b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", 503, b"", True),
    (OK + b"Connection: keep-alive, Close\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
    (OK + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", True),
    (CHUNKED + b"2\r\nhi\r\n4;ext=1\r\n you\r\n0\r\n\r\n", 200, b"hi you", True),
    (CHUNKED + b"0\r\n\r\n", 200, b"", True),
    (CHUNKED + b"2\r\nhi\r\n0\r\nX-Trailer: 1\r\nTransfer-Encoding: gzip\r\n\r\n", 200, b"hi", True),
    (b"HTTP/1.1 204 No\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 204, b"", False),
    (b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", 304, b"", False),
    (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", 204, b"", False),
    (
        b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
        200,
        b"hi",
        True,
    ),
    (b"HTTP/1.1 102 P\r\nContent-Length: 5\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi", True),
]


@pytest.mark.parametrize(("raw", "status", "body", "reusable"), WHOLE)
def test_whole_answers(raw: bytes, status: int, body: bytes, reusable: bool) -> None:
    response = read(raw)
    assert (response.complete, response.status, response.take(), response.reusable) == (True, status, body, reusable)
    assert not any(name == b"x-trailer" or name != name.lower() for name, _ in response.headers)


@given(st.sampled_from(WHOLE), st.lists(st.integers(0, 120), max_size=8))
def test_where_the_bytes_are_cut_changes_nothing(case: tuple[bytes, int, bytes, bool], cuts: list[int]) -> None:
    raw, status, body, reusable = case
    marks = sorted({0, *(cut for cut in cuts if cut < len(raw)), len(raw)})
    response = read(*(raw[a:b] for a, b in pairwise(marks)))
    assert (response.complete, response.status, response.take()) == (True, status, body)
    # A chunked end in less than its five bytes is not trusted; every other cut must not cost the connection.
    short_tail = raw.startswith(CHUNKED) and marks[-1] - marks[-2] < 5
    assert response.reusable is (reusable and not short_tail)


@pytest.mark.parametrize("extra", [b"\r\n", b"\n", b"\r\n\r\n", b"H", b"hi", OK, OK + b"\r\n", POISON])
@pytest.mark.parametrize(
    "tail", [b"Content-Length: 2\r\n\r\nhi", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("together", [True, False])
def test_bytes_after_the_end_are_not_body_and_spoil_the_connection(tail: bytes, extra: bytes, together: bool) -> None:
    response = read(OK + tail + extra) if together else read(OK + tail, extra)
    assert (response.complete, response.take(), response.reusable) == (True, b"hi", False)


def test_head_requests_have_no_body_whatever_the_answer_announces() -> None:
    for framing in (b"Content-Length: 9\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n", b"\r\n"):
        response = read(OK + framing, bodyless=True)
        assert (response.complete, response.reusable) == (True, True)
        response.feed(b"x")
        assert not response.reusable


def test_without_a_length_the_body_lasts_until_the_end_of_the_connection() -> None:
    response = read(OK + b"\r\nhel", b"lo")
    assert not response.complete
    assert response.eof()
    assert (response.take(), response.reusable) == (b"hello", False)


@pytest.mark.parametrize("raw", [b"", OK, OK + b"Content-Length: 3\r\n\r\nhi", CHUNKED + b"2\r\nhi\r\n0\r\n"])
def test_an_end_before_the_end_is_none(raw: bytes) -> None:
    assert not read(*[raw] if raw else []).eof()


BY_LLHTTP = [
    b"HTTP/1.9 200 OK\r\n\r\n",
    OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
    OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n",
    OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n",
    OK + b"Content-Length: 2, 2\r\n\r\n",
    OK + b"Content-Length: +2\r\n\r\n",
    OK + b"Content-Length: -2\r\n\r\n",
    OK + b"Content-Length: 1_0\r\n\r\n",
    OK + b"Content-Length: \r\n\r\n",
    OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
    OK + b"Transfer-Encoding:\r\n\r\n",
    OK + b"Content-Length : 2\r\n\r\n",
    OK + b"X: folded\r\n value\r\n\r\n",
    OK + b"X: a\x00b\r\n\r\n",
    OK + b"X: a\rb\r\n\r\n",
    OK + b"X: a\nb: c\r\n\r\n",
    OK + b"X: a\r\n\n\r\n\r\n",
    b"HTTP/1.1 200 OK\nX: 1\n\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"SSH-2.0-OpenSSH",
    b"{",
    b"HTTP/1.1 101 Up\r\n\r\n",
    CHUNKED + b"zz\r\n",
    CHUNKED + b"-1\r\n",
    CHUNKED + b"2\r\nhiX",
    CHUNKED + b"fffffffffffffffffff\r\n",
    CHUNKED + b"2\nhi\r\n",
    CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
]
BY_US = [
    OK + b"Transfer-Encoding: gzip\r\n\r\n",
    OK + b"Transfer-Encoding: identity\r\n\r\n",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 099 Odd\r\n\r\n",
    b"HTTP/1.1 600 Odd\r\n\r\n",
    b"HTTP/1.1 200 O\0K\r\n\r\n",
    b"HTTP/1.1 200 O\x0cK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 100 C\r\n\r\n" * (MAX_INFORMATIONAL + 1),
    OK + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    OK + b"a: " + b"b" * MAX_HEAD_BYTES,
    OK + b"a: " + b"b" * MAX_HEAD_BYTES + b"\r\n\r\n",
]


@pytest.mark.parametrize("raw", BY_LLHTTP + BY_US, ids=lambda raw: repr(raw[:60]))
@pytest.mark.parametrize("bytewise", [False, True])
def test_answers_that_cannot_be_framed_without_doubt(raw: bytes, bytewise: bool) -> None:
    with pytest.raises(BadAnswer):
        read(*([raw[i : i + 1] for i in range(len(raw))] if bytewise else [raw]))


def test_llhttp_itself_refuses_what_we_leave_to_it() -> None:
    for raw in BY_LLHTTP:
        with pytest.raises((httptools.HttpParserError, httptools.HttpParserUpgrade)):
            httptools.HttpResponseParser(object()).feed_data(raw)


def test_llhttp_lets_through_what_we_refuse() -> None:
    for raw in BY_US:
        httptools.HttpResponseParser(object()).feed_data(raw)


def test_the_largest_head_is_accepted() -> None:
    filler = MAX_HEAD_BYTES - len(OK + b"a: \r\nContent-Length: 0\r\n\r\n")
    response = read(OK + b"a: " + b"b" * filler + b"\r\nContent-Length: 0\r\n\r\n")
    assert response.complete
    assert read(OK + b"a: b\r\n" * (MAX_HEADERS - 1) + b"Content-Length: 0\r\n\r\n").complete


@pytest.mark.parametrize(
    "endless", [b"0\r\n" + b"t: v\r\n" * 40_000, b"0\r\nt: " + b"v" * 200_000, b"1;" + b"e" * 200_000]
)
def test_endless_trailers_and_extensions_are_cut_off(endless: bytes) -> None:
    with pytest.raises(BadAnswer, match="without a body"):
        read(CHUNKED, *(endless[at : at + 4096] for at in range(0, len(endless), 4096)))


def test_many_tiny_chunks_are_no_abuse() -> None:
    response = read(CHUNKED)
    for _ in range(40_000):
        response.feed(b"1\r\n")
        response.feed(b"x\r\n")
    assert response.buffered == 40_000


def test_what_was_read_before_a_fault_stays() -> None:
    response = read(CHUNKED)
    with pytest.raises(BadAnswer):
        response.feed(b"2\r\nhi\r\nzz\r\n")
    assert response.take() == b"hi"


def test_many_small_chunks_take_little_more_memory_than_their_bytes() -> None:
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunks = b"2\r\nhi\r\n" * 50_000
    tracemalloc.start()
    try:
        response.feed(chunks)
        assert tracemalloc.get_traced_memory()[0] < 3 * response.buffered
    finally:
        tracemalloc.stop()
    assert response.take() == b"hi" * 50_000
    response.drop()


def test_small_and_large_pieces_keep_their_order() -> None:
    pieces: list[bytes | bytearray] = []
    wanted = [b"a", b"b" * SMALL_BYTES, b"c", b"d", b"e" * SMALL_BYTES, b"f"]
    for piece in wanted:
        gather(pieces, piece)
    assert b"".join(pieces) == b"".join(wanted)
    assert wanted == [b"a", b"b" * SMALL_BYTES, b"c", b"d", b"e" * SMALL_BYTES, b"f"]
