"""One line of a chain: made with the key, and read back only if it is exactly as it was made."""

from __future__ import annotations

import hmac
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

GENESIS = "0" * 64
"""What stands for the MAC before the first line."""
_FILE = re.compile(r"(chain-[0-9a-f]{12}|seals-[0-9a-f]{12}|trims)\.(\d{6})\.jsonl")
_TAIL = b',"mac":"'
_TAIL_BYTES = len(_TAIL) + len(GENESIS) + len(b'"}\n')


class Head(NamedTuple):
    """The end of a chain: the number and the MAC of its last line. `place` is the folder that keeps it."""

    n: int
    mac: str
    place: str


class Line(msgspec.Struct):
    """What checking needs of any line; what is None belongs to another kind of chain."""

    chain: str
    n: int
    prev: str
    at: float
    mac: str
    place: str | None = None
    heads: dict[str, Head] | None = None
    trimmed: str | None = None
    upto: int | None = None
    head: str | None = None


class BadLine(Exception):
    """Not a line that was made with this key."""


_line = msgspec.json.Decoder(Line)


def make_line(key: bytes, chain: str, n: int, prev: str, fields: bytes) -> tuple[bytes, str]:
    """The line and its MAC (HMAC-SHA-256 over all bytes before it). `fields` is JSON, an object without its braces."""
    body = b'{"chain":"%b","n":%d,"prev":"%b",%b' % (chain.encode(), n, prev.encode(), fields)
    mac = sign(key, body)
    return b'%b%b%b"}\n' % (body, _TAIL, mac.encode()), mac


def read_line(key: bytes, line: bytes) -> Line:
    """Raises BadLine."""
    body = line[:-_TAIL_BYTES]
    if line != b'%b%b%b"}\n' % (body, _TAIL, sign(key, body).encode()):
        raise BadLine("was changed, or was made with another key")
    try:
        return _line.decode(line)
    except msgspec.DecodeError:
        raise BadLine("was made by another version of the gateway") from None


def sign(key: bytes, text: bytes) -> str:
    return hmac.digest(key, text, "sha256").hex()


def fields_of(**fields: object) -> bytes:
    """As `make_line` takes them."""
    return msgspec.json.encode(fields)[1:-1]


def part_path(folder: Path, chain: str, part: int) -> Path:
    return folder / f"{chain}.{part:06}.jsonl"


def parts_in(folder: Path) -> dict[str, list[tuple[int, Path]]]:
    """Chain -> its parts, (number, file), in order."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(folder.iterdir()):
        named = _FILE.fullmatch(path.name)
        if named is not None:
            found.setdefault(named[1], []).append((int(named[2]), path))
    return found
