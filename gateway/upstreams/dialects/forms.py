"""A multipart form as bytes (RFC 7578). Pure: the same parts make the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_QUOTED = {'"': "%22", "\r": "%0D", "\n": "%0A"}
"""As browsers write them in names (RFC 7578 section 2, and the HTML standard)."""


class File(NamedTuple):
    name: str
    file_name: str
    media_type: str
    data: bytes


def form(fields: Mapping[str, str] | Iterable[tuple[str, str]], files: Iterable[File] = ()) -> tuple[bytes, bytes]:
    """Content-Type and body; of pairs a name may come more than once. The boundary is a hash of all parts: it stands in
    none of them, but by finding its own preimage."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    parts = [(_head(name, None, None), value.encode()) for name, value in pairs]
    parts += [(_head(file.name, file.file_name, file.media_type), file.data) for file in files]
    whole = hashlib.sha256()
    for head, data in parts:
        whole.update(b"%d %d " % (len(head), len(data)) + head)
        whole.update(data)
    boundary = whole.hexdigest().encode()
    lines = [b"".join((b"--", boundary, b"\r\n", head, b"\r\n\r\n", data, b"\r\n")) for head, data in parts]
    return b"multipart/form-data; boundary=" + boundary, b"".join([*lines, b"--", boundary, b"--\r\n"])


def _head(name: str, file_name: str | None, media_type: str | None) -> bytes:
    said = f'content-disposition: form-data; name="{_quoted(name)}"'
    if file_name is not None:
        said += f'; filename="{_quoted(file_name)}"\r\ncontent-type: {_quoted(media_type or "")}'
    return said.encode()


def _quoted(text: str) -> str:
    return "".join(_QUOTED.get(letter, letter) for letter in text)
