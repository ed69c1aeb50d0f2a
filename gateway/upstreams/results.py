"""What an order made, wherever it lies: in the answer, at the upstream, or at an address that the upstream gave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

from gateway.errors import BadAnswer, OrderLost, PermitMismatch, Refused, UpstreamFault
from gateway.upstreams import answers, fetch
from gateway.upstreams.client import TooLong
from gateway.upstreams.desk import ClientDesk
from gateway.upstreams.dialects.ordering import Piece
from gateway.upstreams.http1 import Exchange
from gateway.upstreams.orders import LOOK_SECONDS

PAUSES = (0.5, 2.0)
"""Seconds after which a result that cannot be had is asked for again: it is made, and may be paid."""
T = TypeVar("T")


class Opened(NamedTuple):
    """A result that is being read. `size` in bytes, where it is known before."""

    name: str
    media_type: str
    size: int | None
    chunks: AsyncIterator[bytes]


class Results:
    """Of one order. `hosts`: globs of where an address may lead; no address of ours is among them, but in tests."""

    def __init__(
        self,
        desk: ClientDesk,
        pieces: Sequence[Piece],
        hosts: tuple[str, ...],
        *,
        allow_private: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.pieces = tuple(pieces)
        self._desk, self._hosts, self._private, self._sleep = desk, hosts, allow_private, sleep

    async def each(self, keep: Callable[[Opened], Awaitable[T]]) -> list[T]:
        """`keep` of every result, one after the other; where one breaks off, `keep` is called for it anew.

        Raises OrderLost where it cannot be had: whoever made it may charge for it.
        """
        return [await self._kept(piece, keep) for piece in self.pieces]

    async def _kept(self, piece: Piece, keep: Callable[[Opened], Awaitable[T]]) -> T:
        pauses = iter(PAUSES)
        while True:
            try:
                async with self._open(piece) as opened:
                    return await keep(opened)
            except UpstreamFault as fault:
                pause = next(pauses, None)
                if pause is None or isinstance(fault, TooLong | fetch.FetchRefused | PermitMismatch):
                    raise OrderLost(f"made, and then: {fault.message}") from fault
                said = fault.retry_after if isinstance(fault, Refused) else None
            await self._sleep(max(pause, said or 0.0))

    @asynccontextmanager
    async def _open(self, piece: Piece) -> AsyncIterator[Opened]:
        desk = self._desk
        if piece.data is not None:
            yield Opened(piece.name, piece.media_type, len(piece.data), _all(piece.data))
        elif piece.call is not None:
            async with desk.open(piece.call, silence=LOOK_SECONDS) as exchange:
                await _refused(exchange)
                opened = fetch.Opened(exchange, desk.most)
                yield Opened(piece.name, _kind(opened.media_type, piece), opened.size, opened.pieces())
        else:
            seconds = max(0.0, desk.until - time.monotonic())
            found = fetch.open(
                piece.url or "", hosts=self._hosts, most=desk.most, seconds=seconds, allow_private=self._private
            )
            async with found as opened:
                yield Opened(piece.name, _kind(opened.media_type, piece), opened.size, opened.pieces())


async def whole(opened: Opened) -> tuple[Opened, bytes]:
    """For whoever wants all of it at once."""
    return opened, b"".join([chunk async for chunk in opened.chunks])


async def _all(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _refused(exchange: Exchange) -> None:
    """Raises the fault of an answer that is no result."""
    if exchange.status != 200:
        raise answers.refusal(exchange.status, exchange.headers, await exchange.read())
    if dict(exchange.headers).get(b"content-encoding", b"identity") != b"identity":
        raise BadAnswer("answered in a content coding that was not asked for")


def _kind(said: str, piece: Piece) -> str:
    """Storages call much an octet stream: then it is what was ordered."""
    return said if said.partition("/")[0] in ("image", "video", "audio") else piece.media_type
