"""Looking for secrets in whatever a gateway says, writes or keeps.

::

    outputs = {"log": site.log.read_bytes(), **stored(client), **files_in(site.data)}
    assert found({"key": "gw-abc..."}, outputs) == []
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis

SHORTEST = 12
"""Characters of a secret: a shorter one turns up by chance."""
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")


def found(secrets: Mapping[str, str], outputs: Mapping[str, bytes]) -> list[str]:
    """`NAME in PLACE` for each secret that stands somewhere, as it is or in a usual form, compressed or not."""
    hits = set()
    for place, content in outputs.items():
        for piece in unpacked(content):
            hits |= {f"{name} in {place}" for name, secret in secrets.items() if any(f in piece for f in forms(secret))}
    return sorted(hits)


def forms(secret: str) -> set[bytes]:
    """As it is, percent-encoded, in hex, and in base64 wherever it begins within what was encoded."""
    assert len(secret) >= SHORTEST, "too short to be told from chance"
    raw = secret.encode()
    inner = {base64.b64encode(bytes(shift) + raw)[4 if shift else 0 : -4] for shift in range(3)}
    return {raw, quote(secret, safe="").encode(), raw.hex().encode(), *inner}


def unpacked(content: bytes) -> Iterator[bytes]:
    """The content, and all that was compressed within it."""
    yield content
    for begin in _ZLIB.finditer(content):
        try:
            inner = zlib.decompressobj().decompress(content[begin.start() :])
        except zlib.error:
            continue
        yield inner


def stored(client: redis.Redis) -> dict[str, bytes]:
    """`store KEY` -> all that lies there, fields and members too."""
    return {f"store {key.decode(errors='replace')}": repr_of(client, key) for key in client.scan_iter(count=1000)}


def repr_of(client: Any, key: bytes) -> bytes:
    kind = client.type(key).decode()
    held = {
        "string": lambda: [client.get(key)],
        "hash": lambda: [part for pair in client.hgetall(key).items() for part in pair],
        "list": lambda: client.lrange(key, 0, -1),
        "set": lambda: list(client.smembers(key)),
        "zset": lambda: client.zrange(key, 0, -1),
        "stream": lambda: [part for _, entry in client.xrange(key) for pair in entry.items() for part in pair],
    }[kind]()
    return b"\n".join([key, *(part for part in held if part is not None)])


def files_in(folder: Path) -> dict[str, bytes]:
    """`file NAME` -> content, of all regular files below."""
    return {f"file {path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
