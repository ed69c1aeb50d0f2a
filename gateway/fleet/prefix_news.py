"""Tells the other replicas where a conversation went that they would look for elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gateway.errors import StoreFault
from gateway.fleet.prefixes import News, Prefixes
from gateway.store.connection import Store

STREAM_KEY = "gw:prefixes"
KEPT = 64
"""Messages in the stream: each replica writes at most one with each look, and reads what came since its last."""
_news = msgspec.json.Decoder(list[News])


@dataclass(slots=True)
class PrefixNews:
    store: Store
    owner: str
    prefixes: Prefixes
    _last: bytes = b"$"

    async def exchange(self) -> None:
        """Does not raise: without the store each replica goes by what it knows, and tells it later."""
        news, self.prefixes.news = self.prefixes.news, []
        try:
            if self._last == b"$":
                self._last = await self._newest()
            if news:
                told = msgspec.json.encode(news)
                await self.store.call("XADD", STREAM_KEY, "MAXLEN", "~", KEPT, "*", "owner", self.owner, "news", told)
                news = []
            found = await self.store.call("XRANGE", STREAM_KEY, b"(" + self._last, "+", "COUNT", KEPT)
        except StoreFault:
            self.prefixes.news = news + self.prefixes.news
            return
        for message, fields in found:
            self._last = message
            if fields[1] != self.owner.encode():
                self._hear(fields[3])

    async def _newest(self) -> bytes:
        found = await self.store.call("XREVRANGE", STREAM_KEY, "+", "-", "COUNT", 1)
        return found[0][0] if found else b"0-0"

    def _hear(self, told: bytes) -> None:
        try:
            self.prefixes.heard(_news.decode(told))
        except msgspec.DecodeError:
            return  # of another version
