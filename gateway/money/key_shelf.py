"""Keys that were made at run time, as they lie in the store: sealed, so that nobody who can write there makes one."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from gateway.model import IssuedKey
from gateway.store.connection import Store
from gateway.store.scripts import load
from gateway.store.sealing import BadSeal, Sealing

MOST_KEYS = 10_000
"""That are not over: 5 MB of the store, 12 MB of each process."""
MOST_ROWS = 3 * MOST_KEYS
"""With those that are over and still known."""
MOST_READ = 2 * MOST_ROWS
"""Whatever else lies among them: somebody may fill the store with rows that are none of ours."""
PAGE = 500
"""Rows of one look: about 300 KB."""
KEYS = tuple(f"gw:{{keys}}:{name}" for name in ("issued", "changes", "state"))
CHANNEL = "gw:keys"
_LOOK, _PUT = (load("gateway.money", name) for name in ("keys_look", "keys_put"))
_USE = b"issued key"


class Page(NamedTuple):
    """`rows`: id -> what lies there. `last`: number of the last change among them; `number`: of all changes."""

    epoch: bytes
    number: int
    last: int
    rows: dict[str, bytes]


def _rows(ids: list[bytes], held: list[bytes]) -> dict[str, bytes]:
    return {id.decode(errors="replace"): sealed for id, sealed in zip(ids, held, strict=True)}


class KeyShelf:
    """All that asks the store raises StoreFault."""

    def __init__(self, store: Store, sealing: Sealing) -> None:
        self._store, self._sealing = store, sealing

    async def look(self, since: int) -> Page:
        """The first PAGE keys that changed after change `since`."""
        epoch, number, *flat = await self._store.eval(_LOOK, KEYS, [since, PAGE])
        rows = _rows(flat[0::3], flat[1::3])
        return Page(epoch, number, number if len(rows) < PAGE else flat[-1], rows)

    async def everything(self) -> tuple[dict[str, bytes], bool]:
        """Id -> what lies there, whatever its number of change says; whether that is all, or MOST_READ were read."""
        rows: dict[str, bytes] = {}
        cursor = b"0"
        while len(rows) < MOST_READ:
            cursor, flat = await self._store.call("HSCAN", KEYS[0], cursor, "COUNT", PAGE)
            rows |= _rows(flat[0::2], flat[1::2])
            if cursor == b"0":
                return rows, True
        return rows, False

    async def put(self, key: IssuedKey, seen: bytes) -> tuple[int, bytes]:
        """What `keys_put.lua` returns, and the key as it was sealed."""
        sealed = self._sealing.close(_USE, msgspec.json.encode(key))
        return await self._write(key.id, seen, sealed), sealed

    async def take_out(self, id: str, seen: bytes) -> int:
        return await self._write(id, seen, b"")

    async def _write(self, id: str, seen: bytes, sealed: bytes) -> int:
        written: int = await self._store.eval(_PUT, KEYS, [id, seen, sealed, CHANNEL])
        return written

    def read(self, id: str, sealed: bytes) -> IssuedKey:
        """Raises BadSeal, for another key's content too."""
        try:
            key = msgspec.json.decode(self._sealing.open(_USE, sealed), type=IssuedKey)
        except msgspec.MsgspecError:
            raise BadSeal("a key of another release of the gateway") from None
        if key.id != id:
            raise BadSeal("the content of another key")
        return key
