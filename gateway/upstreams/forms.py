"""multipart/form-data (RFC 7578), made anew for an upstream. Nothing that a caller wrote stands in its framing."""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex
from typing import NamedTuple

_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""As browsers do (HTML, "multipart/form-data encoding algorithm")."""
_BOUNDARY_BYTES = 16


class Part(NamedTuple):
    """A field, or with a `file` name (ours, never the caller's) a file."""

    name: str
    data: bytes
    file: str | None = None
    media_type: str | None = None

    def __repr__(self) -> str:
        return f"Part({self.name}, {len(self.data)} bytes)"


def encode(parts: Iterable[Part]) -> tuple[bytes, bytes]:
    """Its content type, and the whole body. The boundary is random: that it stands in a file has a chance of 2^-128."""
    boundary = token_hex(_BOUNDARY_BYTES).encode()
    pieces = []
    for part in parts:
        pieces += [b"--", boundary, b"\r\n", _head(part), part.data, b"\r\n"]
    pieces += [b"--", boundary, b"--\r\n"]
    return b"multipart/form-data; boundary=" + boundary, b"".join(pieces)


def _head(part: Part) -> bytes:
    head = f'Content-Disposition: form-data; name="{part.name.translate(_ESCAPES)}"'
    if part.file is not None:
        head += f'; filename="{part.file.translate(_ESCAPES)}"'
    if part.media_type is not None:
        head += f"\r\nContent-Type: {part.media_type}"
    return head.encode() + b"\r\n\r\n"
