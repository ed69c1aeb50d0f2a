"""A multipart/form-data body that is here whole: taken apart, bounded, and its texts made JSON, as all else is.

A file's name is thrown away: nothing is ever written under it, and none goes up.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec import Raw
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.errors import InvalidRequest, RequestTooLarge

MAX_PARTS = 128
MAX_TEXT_BYTES = 256 * 1024
"""Of one field that is no file."""
MAX_HEADERS, MAX_HEADER_BYTES = 8, 4 * 1024
MAX_NAME = 128
TEXTS = frozenset(
    {"prompt", "negative_prompt", "input", "instructions", "model", "user", "voice", "size", "quality", "style"}
)
"""Fields that are text even where it looks like a number."""
_LITERAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?|true|false")
"""What is the same in JSON."""
_NAME = re.compile(r"[^\x00-\x1f\x7f]+")
_DISPOSITION = b"content-disposition"
_METADATA, _RESIDENCY = "metadata", "metadata[data_residency]"
"""How SDKs write a field of an object into a form."""

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # its warnings quote what came


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
    reader = _Reader()
    try:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise InvalidRequest("multipart/form-data needs its boundary in the Content-Type", param="Content-Type")
        parser = MultipartParser(
            boundary,
            reader.callbacks(),  # type: ignore[arg-type]  # a dict of what it calls
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise InvalidRequest("the body is no multipart/form-data of the boundary that its Content-Type names") from None
    if not reader.ended:
        raise InvalidRequest("the form is cut off: its last boundary is missing")
    return Form(_fields(reader.texts), tuple(reader.files))


class _Reader:
    """What the parser calls, part by part."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.files: list[File] = []
        self.ended = False
        self._parts = 0
        self._begin()

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headed,
            "on_part_data": self._piece,
            "on_part_end": self._end,
            "on_end": self._whole,
        }

    def _begin(self) -> None:
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._name, self._is_file = "", False
        self._pieces: list[bytes] = []
        self._size = 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == _DISPOSITION:
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _headed(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidRequest(f"a form may have at most {MAX_PARTS} parts")
        kind, options = parse_options_header(self._disposition)
        name = ""
        with suppress(UnicodeDecodeError):
            name = options.get(b"name", b"").decode()
        if kind != b"form-data" or len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
            raise InvalidRequest("each part of a form needs `Content-Disposition: form-data` and a name")
        self._name, self._is_file = name, b"filename" in options

    def _piece(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if not self._is_file and self._size > MAX_TEXT_BYTES:
            raise RequestTooLarge(f"`{self._name}` may have at most {MAX_TEXT_BYTES} bytes", param=self._name)
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        data, name = b"".join(self._pieces), self._name
        if self._is_file:
            self.files.append(File(name, data))
        else:
            try:
                self.texts.setdefault(name, []).append(data.decode())
            except UnicodeDecodeError:
                raise InvalidRequest(f"`{name}` is not valid UTF-8", param=name) from None
        self._pieces = []

    def _whole(self) -> None:
        self.ended = True


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
