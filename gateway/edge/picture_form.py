"""A multipart/form-data body that is here whole: taken apart, bounded, and its texts made JSON, as all else is.

A file's name is thrown away: nothing is ever written under it, and none goes up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Raw

from gateway.edge.form_parts import Head, Parts
from gateway.errors import InvalidRequest, RequestTooLarge

MAX_PARTS = 128
MAX_TEXT_BYTES = 256 * 1024
"""Of one field that is no file."""
TEXTS = frozenset(
    {"prompt", "negative_prompt", "input", "instructions", "model", "user", "voice", "size", "quality", "style"}
)
"""Fields that are text even where it looks like a number."""
_LITERAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?|true|false")
"""What is the same in JSON."""
_METADATA, _RESIDENCY = "metadata", "metadata[data_residency]"
"""How SDKs write a field of an object into a form."""


class File(NamedTuple):
    name: str
    """Of the field."""
    data: bytes

    def __repr__(self) -> str:
        return f"File({self.name}, {len(self.data)} bytes)"


class Form(NamedTuple):
    fields: dict[str, Raw]
    files: tuple[File, ...]


def parse(content_type: bytes, body: bytes) -> Form:
    """Raises InvalidRequest and RequestTooLarge; no text of theirs quotes a value."""
    reader = _Reader(content_type)
    try:
        reader.feed(body)
        reader.close()
    finally:
        reader.drop()
    return Form(_fields(reader.texts), tuple(reader.files))


class _Reader(Parts):
    def __init__(self, content_type: bytes) -> None:
        super().__init__(content_type)
        self.texts: dict[str, list[str]] = {}
        self.files: list[File] = []
        self._count = self._size = 0
        self._name, self._is_file = "", False
        self._pieces: list[bytes] = []

    def _headed(self, head: Head) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise InvalidRequest(f"a form may have at most {MAX_PARTS} parts")
        self._name, self._is_file = head.name, head.filename is not None
        self._pieces, self._size = [], 0

    def _piece(self, data: bytes) -> None:
        self._size += len(data)
        if not self._is_file and self._size > MAX_TEXT_BYTES:
            raise RequestTooLarge(f"`{self._name}` may have at most {MAX_TEXT_BYTES} bytes", param=self._name)
        self._pieces.append(data)

    def _part_ended(self) -> None:
        data, name = b"".join(self._pieces), self._name
        self._pieces = []
        if self._is_file:
            self.files.append(File(name, data))
            return
        try:
            self.texts.setdefault(name, []).append(data.decode())
        except UnicodeDecodeError:
            raise InvalidRequest(f"`{name}` is not valid UTF-8", param=name) from None


def _fields(texts: Mapping[str, list[str]]) -> dict[str, Raw]:
    made: dict[str, Raw] = {}
    for name, values in texts.items():
        if name.endswith("[]"):
            made[name] = Raw(b"[" + b",".join(_json(name, value) for value in values) + b"]")
        elif len(values) > 1:
            raise InvalidRequest(f"`{name}` is given {len(values)} times", param=name)
        else:
            made[name] = Raw(_json(name, values[0]))
    if _RESIDENCY in made:
        if _METADATA in made:
            raise InvalidRequest(f"`{_METADATA}` is given in two ways", param=_METADATA)
        made[_METADATA] = Raw(b'{"data_residency":%b}' % bytes(made.pop(_RESIDENCY)))
    return made


def _json(name: str, value: str) -> bytes:
    if name not in TEXTS and _LITERAL.fullmatch(value):
        return value.encode()
    if name == _METADATA and value.lstrip()[:1] == "{":
        if not _is_object(value):  # it may have demanded something of its data
            raise InvalidRequest(f"`{name}` is not valid JSON", param=name)
        return value.encode()
    return msgspec.json.encode(value)


def _is_object(value: str) -> bool:
    try:
        msgspec.json.decode(value, type=dict[str, Raw])
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
