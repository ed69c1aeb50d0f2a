"""The parts of a multipart form as they come in, piece by piece: below both readers of forms (`form.py`, of what is
routed before its file has come; `picture_form.py`, of what is here whole).

python-multipart finds the boundaries. What it leaves open is settled here, so that nothing can be read two ways: what a
part's head may say, and that the form ends with its last boundary. Sources: RFC 7578; RFC 2046 section 5.1.1; RFC 8187
(`filename*`); the WHATWG's form encoding, which writes a quote as `%22`.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from gateway.errors import InvalidRequest, UnsupportedMedia

MAX_HEADERS, MAX_HEADER_BYTES = 8, 4 * 1024
"""Of one part."""
MAX_NAME_BYTES = 128
MAX_SHOWN = 40
TYPE = "multipart/form-data"
_KIND = "Content-Type"
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_PARAM = re.compile(rb'\s*;\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_ESCAPED = re.compile(rb'\\(["\\])')
"""Nothing else: browsers write a backslash of a file's name as it is."""
_MEDIA_TYPE = re.compile(rb"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:\s*;\s*[\x20-\x7e]*)?")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN_CODINGS = frozenset({b"7bit", b"8bit", b"binary"})
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # its warnings quote what came


class Head(NamedTuple):
    """`filename`: as it was said, whatever it is; None: it is no file."""

    name: str
    filename: bytes | None
    media_type: bytes


class Parts(ABC):
    """Feed it: each part is told by its head, its pieces and its end. Raises InvalidRequest, whose text never quotes
    what came, but for the name of a field."""

    def __init__(self, content_type: bytes) -> None:
        """Raises UnsupportedMedia, and InvalidRequest where there is no boundary that could be one."""
        self.ended = False
        self._head: dict[bytes, bytes] = {}
        self._header_name, self._header_value = bytearray(), bytearray()
        self._parser = MultipartParser(
            _boundary(content_type),
            self._callbacks(),
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )

    @abstractmethod
    def _headed(self, head: Head) -> None: ...

    @abstractmethod
    def _piece(self, data: bytes) -> None: ...

    @abstractmethod
    def _part_ended(self) -> None: ...

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError:
            raise InvalidRequest("the form cannot be taken apart: malformed boundary or part head") from None

    def close(self) -> None:
        """The body has ended. Raises where the form has not."""
        if not self.ended:
            raise InvalidRequest("the form ends before its last boundary")

    def drop(self) -> None:
        """Parser and form refer to each other."""
        self._parser.callbacks = {}

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._head.clear,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._header_ended,
            "on_headers_finished": lambda: self._headed(_head(self._head)),
            "on_part_data": lambda data, start, end: self._piece(data[start:end]),
            "on_part_end": self._part_ended,
            "on_end": self._finish,
        }

    def _header_ended(self) -> None:
        name = bytes(self._header_name).lower()
        if name in self._head:
            raise InvalidRequest("a part of the form has a header twice")
        self._head[name] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

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


def _head(given: Mapping[bytes, bytes]) -> Head:
    kind, params = _header(given.get(b"content-disposition", b""))
    name = plain_text(params.get(b"name"), MAX_NAME_BYTES)
    if kind != b"form-data" or not name:
        raise InvalidRequest("a part of the form has no `Content-Disposition: form-data` with a name")
    if given.get(b"content-transfer-encoding", b"binary").strip().lower() not in _PLAIN_CODINGS:
        raise InvalidRequest("a part of the form is encoded: send it as it is", param=name[:MAX_SHOWN])
    media_type = given.get(b"content-type", b"application/octet-stream").strip()
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidRequest("a part of the form has a malformed Content-Type", param=name[:MAX_SHOWN])
    return Head(name, _filename(params, name), media_type)


def _filename(params: Mapping[bytes, bytes], part: str) -> bytes | None:
    if b"filename*" not in params:
        return params.get(b"filename")
    charset, _, rest = params[b"filename*"].partition(b"'")
    if charset.lower() != b"utf-8" or b"'" not in rest:
        raise InvalidRequest("`filename*` must be UTF-8''..., as RFC 8187 has it", param=part[:MAX_SHOWN])
    return unquote_to_bytes(rest.partition(b"'")[2])


def plain_text(raw: bytes | None, most: int) -> str:
    """ "" where it cannot be a name."""
    try:
        text = (raw or b"").decode()
    except UnicodeDecodeError:
        return ""
    return "" if len(text.encode()) > most or _CONTROLS.search(text) else text
