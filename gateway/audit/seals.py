"""Every ten seconds each process notes how long every chain is, so that a chain cut short shows: also another's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

from gateway.audit.chain import Chain
from gateway.audit.journal import now
from gateway.audit.lines import NAME, Head, fields_of, sign
from gateway.errors import StoreFault
from gateway.store.connection import Store

SEAL_SECONDS = 10.0
HEADS_KEY = "gw:audit:heads"
KEPT_SECONDS = 3600
"""How long a head stays in the store after its process last said it: every living process has sealed it long before."""
_log = logging.getLogger("gateway")


class Sealer:
    """Seals the heads of all chains of all processes into `seals`, a chain of this process."""

    def __init__(
        self,
        key: bytes,
        place: str,
        entries: Chain,
        seals: Chain,
        store: Store,
        found: Mapping[str, Head] | None = None,
    ) -> None:
        """`found` are the ends of the chains that lay in the folder at the start (`ends`): the first seal holds them,
        so that what earlier processes left is not cut short unseen."""
        self._key, self._place, self._entries, self._seals, self._store = key, place, entries, seals, store
        self._found = dict(found or {})
        self._heads: dict[str, Head] = {}
        self._sealed: dict[str, Head] = {}

    async def run(self) -> NoReturn:
        """Seals until cancelled, and then once more."""
        try:
            while True:
                await self._try()
                await asyncio.sleep(SEAL_SECONDS)
        finally:
            await asyncio.shield(self._try())

    async def _try(self) -> None:
        try:
            await self.seal()
        except OSError as fault:
            _log.error("the audit could not be sealed", extra={"fields": {"why": fault.strerror}})
        except Exception:
            _log.exception("the audit could not be sealed")

    async def seal(self) -> None:
        """Puts the entries so far on the disk, tells the others, and seals what is new. Raises OSError."""
        for chain in (self._entries, self._seals):
            if chain.n and self._heads.get(chain.name, Head(0, "", "")).n != chain.n:
                head = Head(chain.n, chain.mac, self._place)
                await asyncio.to_thread(chain.sync)
                if chain.gone:
                    _log.error("an audit file was removed or replaced", extra={"fields": {"chain": chain.name}})
                self._heads[chain.name] = head
        with suppress(StoreFault):  # then it is told with the next seal, and meanwhile each knows what it knew
            await self._exchange()
        heads = {**self._found, **{name: head for name, head in self._heads.items() if name != self._seals.name}}
        fresh = {name: head for name, head in self._heads.items() if name.startswith("chain-")}
        if fresh == self._sealed and not self._found:
            return
        self._seals.append(fields_of(at=now(), place=self._place, heads=heads))
        await asyncio.to_thread(self._seals.sync)
        self._sealed = fresh
        self._found.clear()

    async def _exchange(self) -> None:
        """Tells the store of our own chains and learns of the others'. What is not signed with our key is ignored."""
        mine = [name for name in (self._entries.name, self._seals.name) if name in self._heads]
        for name in mine:
            await self._store.call(
                "HSET", HEADS_KEY, name, written(self._key, name, self._heads[name], int(time.time()))
            )
        rows: list[bytes] = await self._store.call("HGETALL", HEADS_KEY)
        for raw, row in zip(rows[0::2], rows[1::2], strict=True):
            name = raw.decode("ascii", "replace")
            told = read(self._key, name, row) if NAME.fullmatch(name) else None
            if told is None:
                continue
            if told[1] < time.time() - KEPT_SECONDS:
                await self._store.call("HDEL", HEADS_KEY, name)
                self._heads.pop(name, None)
            elif name not in mine and told[0].n >= self._heads.get(name, told[0]).n:
                self._heads[name] = told[0]


def written(key: bytes, name: str, head: Head, at: int) -> str:
    """A head as the store holds it."""
    text = f"{head.n} {head.mac} {head.place} {at}"
    return f"{text} {sign(key, f'{name} {text}'.encode())}"


def read(key: bytes, name: str, row: bytes) -> tuple[Head, int] | None:
    """The head and when it was told (epoch seconds); None where it was not written with this key."""
    text, _, mac = row.decode("utf-8", "replace").rpartition(" ")
    if mac != sign(key, f"{name} {text}".encode()):
        return None
    n, head, place, at = text.split(" ")
    return Head(int(n), head, place), int(at)
