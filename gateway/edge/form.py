"""A multipart form as it comes in: its fields whole, its one file in pieces. And the same form for an upstream."""

from __future__ import annotations

from secrets import token_hex
from typing import NamedTuple

from gateway.edge.form_parts import MAX_SHOWN, Head, Parts, plain_text
from gateway.errors import InvalidRequest

MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 << 10
MAX_FILENAME_BYTES = 255
FILE = "file"


class Field(NamedTuple):
    name: str
    value: str

    def __repr__(self) -> str:
        return f"Field({len(self.value)} characters)"


class FileHead(NamedTuple):
    """The file begins: pieces of it follow."""

    filename: str
    media_type: bytes


class FormReader(Parts):
    """Feed it; it knows `fields` and `file`, and gives what came of the file."""

    def __init__(self, content_type: bytes) -> None:
        super().__init__(content_type)
        self.fields: list[Field] = []
        self.file: FileHead | None = None
        self.file_ended = False
        self._pieces: list[bytes] = []
        self._name, self._value = "", bytearray()

    def take(self) -> bytes:
        """The pieces of the file that are here; b"" where there are none."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    def peek(self) -> bytes:
        """The first of them, which stays here."""
        return self._pieces[0] if self._pieces else b""

    def _headed(self, head: Head) -> None:
        self._name = head.name
        self._value.clear()
        if head.name != FILE and head.filename is None:
            if len(self.fields) >= MAX_FIELDS:
                raise InvalidRequest(f"the form has more than {MAX_FIELDS} fields")
            return
        if head.name != FILE:
            raise InvalidRequest("only `file` may be a file", param=head.name[:MAX_SHOWN])
        if self.file is not None:
            raise InvalidRequest("send one `file`", param=FILE)
        self.file = FileHead(FILE if head.filename is None else _placeless(head.filename), head.media_type)

    def _piece(self, data: bytes) -> None:
        if self._name == FILE:
            self._pieces.append(data)
            return
        self._value += data
        if len(self._value) > MAX_FIELD_BYTES:
            shown = self._name[:MAX_SHOWN]
            raise InvalidRequest(f"`{shown}` may have at most {MAX_FIELD_BYTES} bytes", param=shown)

    def _part_ended(self) -> None:
        if self._name == FILE:
            self.file_ended = True
            return
        try:
            self.fields.append(Field(self._name, self._value.decode()))
        except UnicodeDecodeError:
            shown = self._name[:MAX_SHOWN]
            raise InvalidRequest(f"`{shown}` is not valid UTF-8", param=shown) from None


def _placeless(raw: bytes) -> str:
    """A name that has a place in it is refused, because nobody can know who would go there."""
    name = plain_text(raw, MAX_FILENAME_BYTES)
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise InvalidRequest(f"give the file a name of 1 to {MAX_FILENAME_BYTES} bytes, without a path", param=FILE)
    return name


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
