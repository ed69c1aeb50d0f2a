"""One line of a chain: made with the key, and read back only if it is exactly as it was made."""

from __future__ import annotations

import hmac
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

GENESIS = "0" * 64
"""What stands for the MAC before the first line."""
NAME = re.compile(r"(?:chain|seals)-[0-9a-f]{12}")
"""A chain of a process."""
_FILE = re.compile(rf"({NAME.pattern}|trims)\.([0-9]{{6}})\.jsonl")
_END_BYTES = 1 << 20
"""More than the longest line: a seal has 130 bytes for each chain of the last hour, and for each in the folder."""
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


def ends(key: bytes, folder: Path, place: str) -> dict[str, Head]:
    """The last sound line of every chain in the folder, which is named `place`; no more is read of each chain than the
    end of its last parts. Raises OSError."""
    found = {}
    for chain, parts in parts_in(folder).items():
        last = next((line for _, path in reversed(parts) if (line := _last(key, chain, path)) is not None), None)
        if last is not None and last.place in (None, place):
            found[chain] = Head(last.n, last.mac, place)
    return found


def _last(key: bytes, chain: str, path: Path) -> Line | None:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_BYTES))
        lines = file.read().splitlines(keepends=True)
    for raw in reversed(lines):
        with suppress(BadLine):
            line = read_line(key, raw)
            return line if line.chain == chain else None
    return None


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
