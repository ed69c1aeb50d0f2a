"""A multipart form as it comes in: its fields whole, its file in pieces, and nothing that could be read two ways.

python-multipart finds the boundaries. What it leaves open is settled here: what a part's head may say, how large and
how many fields may be, one file only, and that the form ends with its last boundary. Sources: RFC 7578; RFC 2046
section 5.1.1; RFC 8187 (`filename*`); the WHATWG's form encoding, which writes a quote as `%22`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from gateway.errors import InvalidRequest, UnsupportedMedia

MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 << 10
MAX_NAME_BYTES, MAX_FILENAME_BYTES = 128, 255
MAX_PART_HEADERS = 8
MAX_SHOWN = 40
FILE = "file"
TYPE = "multipart/form-data"
_KIND = "Content-Type"
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_PARAM = re.compile(rb'\s*;\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_ESCAPED = re.compile(rb'\\(["\\])')
"""Nothing else: browsers write a backslash of a file's name as it is."""
_MEDIA_TYPE = re.compile(rb"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:\s*;\s*[\x20-\x7e]*)?")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
logging.getLogger("python_multipart.multipart").disabled = True
"""It tells of what came."""
_PLAIN_CODINGS = frozenset({b"7bit", b"8bit", b"binary"})


class Field(NamedTuple):
    name: str
    value: str

    def __repr__(self) -> str:
        return f"Field({len(self.value)} characters)"


class FileHead(NamedTuple):
    """The file begins: pieces of it follow."""

    filename: str
    media_type: bytes


@dataclass(slots=True)
class _Part:
    name: str
    filename: str | None
    media_type: bytes


class FormReader:
    """Feed it; it knows `fields` and `file`, and gives what came of the file. Raises InvalidRequest, whose text never
    quotes what came, but for the name of a field."""

    def __init__(self, content_type: bytes) -> None:
        """Raises UnsupportedMedia, and InvalidRequest where there is no boundary that could be one."""
        self.fields: list[Field] = []
        self.file: FileHead | None = None
        self.file_ended = self.ended = False
        self._pieces: list[bytes] = []
        self._part: _Part | None = None
        self._value = bytearray()
        self._head: dict[bytes, bytes] = {}
        self._name, self._text = bytearray(), bytearray()
        self._parser = MultipartParser(_boundary(content_type), self._callbacks(), max_header_count=MAX_PART_HEADERS)

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError:
            raise InvalidRequest("the form cannot be taken apart: malformed boundary or part head") from None

    def take(self) -> bytes:
        """The pieces of the file that are here; b"" where there are none."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    def peek(self) -> bytes:
        """The first of them, which stays here."""
        return self._pieces[0] if self._pieces else b""

    def close(self) -> None:
        """The body has ended. Raises where the form has not."""
        if not self.ended:
            raise InvalidRequest("the form ends before its last boundary")

    def drop(self) -> None:
        """Parser and form refer to each other."""
        self._parser.callbacks = {}

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._text.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._headed,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._head, self._part = {}, None
        self._value.clear()

    def _header(self) -> None:
        name = bytes(self._name).lower()
        if name in self._head:
            raise InvalidRequest("a part of the form has a header twice")
        self._head[name] = bytes(self._text)
        self._name.clear()
        self._text.clear()

    def _headed(self) -> None:
        part = self._part = _part(self._head)
        if part.name != FILE and part.filename is None:
            if len(self.fields) >= MAX_FIELDS:
                raise InvalidRequest(f"the form has more than {MAX_FIELDS} fields")
            return
        if part.name != FILE:
            raise InvalidRequest("only `file` may be a file", param=part.name[:MAX_SHOWN])
        if self.file is not None:
            raise InvalidRequest("send one `file`", param=FILE)
        self.file = FileHead(part.filename or FILE, part.media_type)

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        assert part is not None  # noqa: S101 - a part's head comes first
        if part.name == FILE:
            self._pieces.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MAX_FIELD_BYTES:
            shown = part.name[:MAX_SHOWN]
            raise InvalidRequest(f"`{shown}` may have at most {MAX_FIELD_BYTES} bytes", param=shown)

    def _end(self) -> None:
        part = self._part
        assert part is not None  # noqa: S101 - as above
        if part.name == FILE:
            self.file_ended = True
            return
        try:
            self.fields.append(Field(part.name, self._value.decode()))
        except UnicodeDecodeError:
            shown = part.name[:MAX_SHOWN]
            raise InvalidRequest(f"`{shown}` is not valid UTF-8", param=shown) from None

    def _finish(self) -> None:
        self.ended = True


def _boundary(content_type: bytes) -> bytes:
    kind, params = _header(content_type, _KIND)
    if kind != TYPE.encode():
        raise UnsupportedMedia(f"send the body as `Content-Type: {TYPE}`", param=_KIND)
    found = params.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(found):
        raise InvalidRequest("the form has no boundary: give 1 to 70 characters that RFC 2046 allows", param=_KIND)
    return found


def _header(value: bytes, name: str | None = None) -> tuple[bytes, Mapping[bytes, bytes]]:
    """What a header says, and its parameters. Raises InvalidRequest where it cannot be read in one way only."""
    kind, params, at = value.partition(b";")[0], dict[bytes, bytes](), 0
    at = len(kind.rstrip())
    rest = value.rstrip()
    while at < len(rest):
        found = _PARAM.match(rest, at)
        key = found[1].lower() if found else b""
        if found is None or key in params:
            raise InvalidRequest("malformed parameters of Content-Type or Content-Disposition", param=name)
        params[key] = found[3] if found[2] is None else _ESCAPED.sub(rb"\1", found[2])
        at = found.end()
    return kind.strip().lower(), params


def _part(head: Mapping[bytes, bytes]) -> _Part:
    kind, params = _header(head.get(b"content-disposition", b""))
    name = _text(params.get(b"name"), MAX_NAME_BYTES)
    if kind != b"form-data" or not name:
        raise InvalidRequest("a part of the form has no `Content-Disposition: form-data` with a name")
    if head.get(b"content-transfer-encoding", b"binary").strip().lower() not in _PLAIN_CODINGS:
        raise InvalidRequest("a part of the form is encoded: send it as it is", param=name[:MAX_SHOWN])
    media_type = head.get(b"content-type", b"application/octet-stream").strip()
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidRequest("a part of the form has a malformed Content-Type", param=name[:MAX_SHOWN])
    return _Part(name, _filename(params), media_type)


def _filename(params: Mapping[bytes, bytes]) -> str | None:
    """A name without a place: what has one is refused, because nobody can know who would go there."""
    raw = params.get(b"filename")
    if b"filename*" in params:
        charset, _, rest = params[b"filename*"].partition(b"'")
        if charset.lower() != b"utf-8" or b"'" not in rest:
            raise InvalidRequest("`filename*` must be UTF-8''..., as RFC 8187 has it", param=FILE)
        raw = unquote_to_bytes(rest.partition(b"'")[2])
    if raw is None:
        return None
    name = _text(raw, MAX_FILENAME_BYTES)
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise InvalidRequest(f"give the file a name of 1 to {MAX_FILENAME_BYTES} bytes, without a path", param=FILE)
    return name


def _text(raw: bytes | None, most: int) -> str:
    """ "" where it cannot be a name."""
    try:
        text = (raw or b"").decode()
    except UnicodeDecodeError:
        return ""
    return "" if len(text.encode()) > most or _CONTROLS.search(text) else text


class FormWriter:
    """The same form for an upstream, with a boundary of our own."""

    def __init__(self) -> None:
        self._boundary = token_hex(16).encode()

    @property
    def content_type(self) -> bytes:
        return b"multipart/form-data; boundary=" + self._boundary

    def fields(self, fields: list[Field]) -> bytes:
        return b"".join([self._head(one.name, b"") + one.value.encode() + b"\r\n" for one in fields])

    def file(self, head: FileHead) -> bytes:
        more = b'; filename="%b"\r\ncontent-type: %b' % (_quoted(head.filename), head.media_type)
        return self._head(FILE, more)

    def end(self) -> bytes:
        return b"--%b--\r\n" % self._boundary

    def _head(self, name: str, more: bytes) -> bytes:
        return b'--%b\r\ncontent-disposition: form-data; name="%b"%b\r\n\r\n' % (self._boundary, _quoted(name), more)


def _quoted(text: str) -> bytes:
    return text.replace('"', "%22").replace("\\", "%5C").encode()
