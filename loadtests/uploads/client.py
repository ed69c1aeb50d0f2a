"""A client that sends a form made on the fly: nothing of its size is ever held by anybody."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

Order = Literal["model first", "file first"]
BLOCK = os.urandom(1 << 20)
BOUNDARY = b"----boundary-of-the-client"
_WAIT_SECONDS = 300.0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def field(name: str, value: str) -> bytes:
    return b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (
        BOUNDARY, name.encode(), value.encode(),
    )  # fmt: skip


FILE = (
    b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n"
)
END = b"--" + BOUNDARY + b"--\r\n"


def form(model: str, size: int, order: Order) -> tuple[int, Iterator[bytes]]:
    """Its length, and its pieces: a file of `size` bytes, a multiple of a block, or less than one."""
    before, after = (field("model", model), b"") if order == "model first" else (b"", field("model", model))
    head, tail = before + FILE, b"\r\n" + after + END

    def pieces() -> Iterator[bytes]:
        yield head
        for _ in range(size // len(BLOCK)):
            yield BLOCK
        yield BLOCK[: size % len(BLOCK)]
        yield tail

    return len(head) + size + len(tail), pieces()


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=_WAIT_SECONDS)


def head(key: str, length: int | None, path: str = "/v1/audio/transcriptions", more: str = "") -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {key}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}",
        framing,
    )
    return ("\r\n".join(lines) + f"\r\n{more}\r\n").encode()


def answer(sock: socket.socket) -> Answer:
    with HTTPResponse(sock) as response:
        response.begin()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


def upload(url: str, key: str, model: str, size: int, order: Order) -> Answer:
    length, pieces = form(model, size, order)
    with connect(url) as sock:
        sock.sendall(head(key, length))
        for piece in pieces:
            sock.sendall(piece)
        return answer(sock)
