"""The bytes of HTTP/1.1, without I/O: building a request head, reading one response.

llhttp (through httptools) checks the grammar of heads and takes chunked bodies apart. What it leaves open is settled
here (`tests/upstreams/http1/test_wire.py` pins which of the two refuses what): where the head ends, how long the body
is, whether anything follows it, and how much of each is too much. Sources: RFC 9112 sections 2.2, 6 and 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import httptools

from gateway.errors import BadAnswer

MAX_HEAD_BYTES = 64 * 1024
"""Of one response head; also the longest run of chunk framing or trailers without a byte of body."""
MAX_HEADERS = 256
MAX_INFORMATIONAL = 8
"""Heads with a 1xx status before the final one."""

SMALL_BYTES = 1024
"""Pieces of a chunked body below this are copied behind each other."""
_PREFIX = b"HTTP/1."
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [0-9]{3}(?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
_END_OF_HEAD = b"\r\n\r\n"
_NO_CONTENT, _NOT_MODIFIED = 204, 304
_FIRST_FINAL, _LAST_STATUS = 200, 599
_SWITCHING_PROTOCOLS = 101

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OURS = frozenset({b"host", b"content-length", b"transfer-encoding"})

_HEAD, _SIZED, _CHUNKED, _UNTIL_CLOSE, _ENDED = range(5)

_SPENT = httptools.HttpResponseParser(object())
"""Stands in for a parser that has done its work: parser and response refer to each other, and this breaks the cycle."""


@lru_cache(maxsize=1024)
def _header_name(name: bytes) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise ValueError("a header name must be a token (RFC 9110 section 5.6.2)")
    if name.lower() in _OURS:
        raise ValueError(f"{name.decode().lower()} is set from the arguments of request_head, not from its headers")
    return name


def request_head(
    method: str, path: str, host: str, headers: Iterable[tuple[bytes, bytes]], content_length: int | None
) -> bytes:
    """The request up to and including the blank line. A body of no known length goes in chunks.

    Raises ValueError for CR, LF or NUL in any part, blanks in method or path, header names that are no tokens or that
    would contradict the framing. The message never repeats a value.
    """
    start = f"{method} {path} HTTP/1.1".encode("ascii")
    lines = [start, b"host: " + host.encode("ascii")]
    lines += [_header_name(name) + b": " + value for name, value in headers]
    if content_length is None:
        lines.append(b"transfer-encoding: chunked")
    elif content_length or method not in ("GET", "HEAD"):
        lines.append(b"content-length: %d" % content_length)
    joined = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if joined.count(b"\r") != breaks or joined.count(b"\n") != breaks or b"\0" in joined:
        raise ValueError("CR, LF and NUL are not allowed in a request head")
    if start.count(b" ") != 2:
        raise ValueError("blanks are not allowed in method and path")
    return joined + _END_OF_HEAD


def gather(pieces: list[bytes | bytearray], piece: bytes) -> None:
    """Adds a piece of a body; small ones are joined. An object for each would take 20 times as much memory as chunks
    of two bytes are long."""
    if not pieces or len(piece) >= SMALL_BYTES:
        pieces.append(piece)
        return
    last = pieces[-1]
    if isinstance(last, bytearray):
        last += piece
    else:
        pieces.append(bytearray(piece))


class Response:
    """One response, fed with bytes in pieces of any size. `headed` and `complete` tell how far it has come.

    `reusable` holds once `complete`: the connection may carry another exchange. `buffered` counts the body bytes not
    yet taken. `drop()` must be called where the end may not have been reached.
    """

    __slots__ = (
        "_barren", "_bodyless", "_heads", "_informational", "_left", "_parser", "_partial", "_phase", "_pieces",
        "buffered", "complete", "headed", "headers", "reusable", "status",
    )  # fmt: skip

    def __init__(self, *, bodyless: bool = False) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.headed = self.complete = self.reusable = False
        self.buffered = 0
        self._bodyless = bodyless
        self._phase = _HEAD
        self._partial: bytearray | None = None
        self._pieces: list[bytes | bytearray] = []
        self._heads = self._informational = self._left = self._barren = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take bytes as they came. BadAnswer: they cannot be framed without doubt (what was buffered stays valid)."""
        while self._phase == _HEAD:
            rest = self._feed_head(data)
            if not rest:
                return
            data = rest
        if self._phase == _CHUNKED:
            self._feed_chunked(data)
        elif self._phase == _SIZED:
            self._feed_sized(data)
        elif self._phase == _UNTIL_CLOSE:
            self._pieces.append(data)
            self.buffered += len(data)
        else:
            self.reusable = False

    def eof(self) -> bool:
        """The peer ended the connection cleanly. True if that, or what came before, is the end of the message."""
        self.reusable = False
        if self._phase == _UNTIL_CLOSE:
            self._end()
        return self.complete

    def take(self) -> bytes:
        """All body bytes buffered so far, or b"" if there are none."""
        pieces = self._pieces
        if not pieces:
            return b""
        data = b"".join(pieces)  # a single piece is not copied
        pieces.clear()
        self.buffered = 0
        return data

    def drop(self) -> None:
        """Forget the parser and everything buffered."""
        self._parser = _SPENT
        self._partial = None
        self._pieces.clear()
        self.buffered = 0

    # What the parser reports.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase == _HEAD:  # later ones are trailers
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._heads += 1

    def on_body(self, body: bytes) -> None:
        if not self.complete:  # llhttp goes on into whatever follows the message
            gather(self._pieces, body)
            self.buffered += len(body)

    def on_message_complete(self) -> None:
        if self._phase == _CHUNKED:
            self.complete = True

    # The phases.

    def _feed_head(self, data: bytes) -> bytes | None:
        """What follows the head, or None while the head is not complete."""
        seen = 0
        if self._partial is not None:
            seen = max(0, len(self._partial) - len(_END_OF_HEAD) + 1)
            self._partial += data
        whole = self._partial if self._partial is not None else data
        end = whole.find(_END_OF_HEAD, seen) + len(_END_OF_HEAD)
        unfinished = end < len(_END_OF_HEAD)
        if not _PREFIX.startswith(whole[: len(_PREFIX)]):
            raise BadAnswer("the answer does not begin as HTTP/1.x")
        if (len(whole) if unfinished else end) > MAX_HEAD_BYTES:
            raise BadAnswer(f"the response head is longer than {MAX_HEAD_BYTES} bytes")
        if unfinished:
            if self._partial is None:
                self._partial = bytearray(data)
            return None
        self._partial = None
        self._parse_head(bytes(whole[:end]))
        return bytes(whole[end:])

    def _parse_head(self, head: bytes) -> None:
        if head.count(b"\n") > MAX_HEADERS + 2:  # the status line and the blank line
            raise BadAnswer(f"more than {MAX_HEADERS} response headers")
        if not _STATUS_LINE.match(head):  # llhttp lets control characters pass in the reason phrase
            raise BadAnswer("response head: malformed status line")
        try:
            self._parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            raise BadAnswer(f"response head: {_reason(fault)}") from None
        if self._heads != 1 or self._pieces:
            raise BadAnswer("response head: it ends before its blank line")
        status = self._parser.get_status_code()
        if _FIRST_FINAL <= status <= _LAST_STATUS:
            self.status = status
            self._frame(http11=head.startswith(b"HTTP/1.1 "))
            self.headed = True
            return
        self._heads = 0
        self.headers.clear()
        self._informational += 1
        if not 100 <= status < _FIRST_FINAL or status == _SWITCHING_PROTOCOLS:
            raise BadAnswer(f"unexpected status {status}")
        if self._informational > MAX_INFORMATIONAL:
            raise BadAnswer(f"more than {MAX_INFORMATIONAL} informational responses")

    def _frame(self, *, http11: bool) -> None:
        """How the body ends (RFC 9112 section 6.3). llhttp has refused contradicting and malformed lengths before."""
        length: int | None = None
        chunked = False
        self.reusable = http11
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                if chunked or value.strip().lower() != b"chunked":
                    raise BadAnswer("a transfer-encoding other than chunked")
                chunked = True
            elif name == b"connection" and b"close" in value.lower():
                self.reusable = False
        if self._bodyless:
            self._end()
        elif self.status in (_NO_CONTENT, _NOT_MODIFIED):
            # Some servers send the announced body all the same.
            self.reusable = self.reusable and not length and not chunked
            self._end()
        elif chunked:
            self._phase = _CHUNKED
        elif length is None:
            self._phase, self._parser = _UNTIL_CLOSE, _SPENT
            self.reusable = False
        elif length == 0:
            self._end()
        else:
            self._phase, self._left, self._parser = _SIZED, length, _SPENT

    def _feed_sized(self, data: bytes) -> None:
        if len(data) > self._left:
            data = data[: self._left]
            self.reusable = False
        self._left -= len(data)
        self._pieces.append(data)
        self.buffered += len(data)
        if not self._left:
            self._end()

    def _feed_chunked(self, data: bytes) -> None:
        before = self.buffered
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            if not self.complete:
                raise BadAnswer(f"chunked body: {_reason(fault)}") from None
            self.reusable = False
        if self.complete:
            # llhttp skips CR and LF between messages in silence. Nothing may follow the end, so the last line's last
            # character must stand right before CR LF CR LF; a read too short to show it is not worth the doubt.
            tail = data[-5:]
            if self._heads != 1 or tail[1:] != _END_OF_HEAD or tail[:1] in b"\r\n":
                self.reusable = False
            self._end()
        elif self.buffered != before:
            self._barren = 0
        else:
            self._barren += len(data)
            if self._barren > MAX_HEAD_BYTES:
                raise BadAnswer(f"more than {MAX_HEAD_BYTES} bytes of chunk framing without a body")

    def _end(self) -> None:
        self.complete = True
        self._phase, self._parser = _ENDED, _SPENT


def _reason(fault: Exception) -> str:
    """llhttp's own words, which are constants and never quote the input."""
    return "protocol upgrade" if isinstance(fault, httptools.HttpParserUpgrade) else str(fault)
