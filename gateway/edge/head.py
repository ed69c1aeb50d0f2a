"""What a request's head must be, so that its end and the end of its body are beyond doubt: pure functions of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

MAX_HEAD_BYTES = 32 * 1024
MAX_TARGET_BYTES = 8 * 1024
MAX_HEADERS = 100
OF_FRAMING = frozenset({b"content-length", b"expect", b"host", b"transfer-encoding"})
"""The headers that `framing` reads."""
_REQUEST_LINE = re.compile(rb"(?:\r\n)?[A-Z-]+ (?:https?://[^/?#\0-\x20\x7f-\xff]+)?/[!-~]* HTTP/1\.([01])\r\n")
"""In origin or absolute form; one empty line may stand before it."""


class Refusal(Exception):
    """The plain answer that ends a connection. The text never quotes the request."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def check_size(head: bytes) -> None:
    """Of a head, or of its beginning."""
    line = head.find(b"\r\n", 2)  # after the empty line that may stand before it
    if (line if line >= 0 else len(head)) > MAX_TARGET_BYTES:
        raise Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, f"the request line has more than {MAX_TARGET_BYTES} bytes")
    if len(head) > MAX_HEAD_BYTES:
        raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head has more than {MAX_HEAD_BYTES} bytes")


def is_http11(head: bytes) -> bool:
    """Else it is HTTP/1.0. Raises Refusal where the request line is neither."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "malformed request line, or not HTTP/1.1 or HTTP/1.0")
    return line[1] == b"1"


def framing(framed: Iterable[tuple[bytes, bytes]], *, http11: bool) -> tuple[int | None, bool]:
    """The length of the body, None where it is chunked, and whether the caller waits for "100 Continue"
    (RFC 9112 section 6.3). llhttp has refused contradicting and malformed lengths before."""
    length, hosts, expects = 0, 0, False
    codings = []
    for name, value in framed:
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            codings.append(value.lower())
        elif http11 and value.lower() == b"100-continue":
            expects = True
    if hosts > 1 or (http11 and not hosts):
        raise Refusal(HTTPStatus.BAD_REQUEST, "exactly one Host header is needed")
    if codings and not (http11 and codings == [b"chunked"]):
        raise Refusal(HTTPStatus.BAD_REQUEST, "chunked, once and in HTTP/1.1, is the only transfer coding")
    return (None if codings else length), expects
