"""What of a form is here before it is routed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.edge.replies import Receive
from gateway.edge.upload import SMALL_BYTES, Bounds, Upload

KIND = b"multipart/form-data; boundary=b"
HEAD = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nears\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


def form(size: int) -> list[bytes]:
    """As an HTTP client may write it: each part apart, and the file in pieces."""
    return [HEAD, FILE, b"R" * (size // 2), b"R" * (size - size // 2), b"\r\n--b--\r\n"]


def sends(pieces: list[bytes]) -> Receive:
    left: Iterator[bytes] = iter(pieces)

    async def receive() -> dict[str, Any]:
        data = next(left)
        return {"type": "http.request", "body": data, "more_body": data is not pieces[-1]}

    return receive


@pytest.mark.parametrize(
    ("size", "told", "whole"),
    [(300, True, True), (SMALL_BYTES, True, False), (300, False, False)],
    ids=["small", "large", "of unknown length"],
)
async def test_a_small_form_is_waited_for_however_it_is_written(size: int, told: bool, whole: bool) -> None:
    """Else whether a second worker may be asked would hang on how many reads it took."""
    pieces = form(size)
    upload = Upload(sends(pieces), KIND, Bounds(1 << 20, 5.0, time.monotonic() + 5.0))
    await upload.begin(sum(map(len, pieces)) if told else None)
    assert upload.routable
    source = upload.source("weights", ())
    assert (source.length is not None) is whole
    sent = b""
    while data := await source.read():
        sent += data
    assert sent.count(b"R") == size
    assert upload.repeatable is whole
    upload.close()
