"""Where the store is, and how a connection to it begins: redis-py's reading of the URL, bytes packed by hiredis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError

from gateway.errors import StartupFault

Value = str | bytes | int | float
Target = Connection | UnixDomainSocketConnection
P = TypeVar("P", bound=asyncio.Protocol)

CONNECT_TIMEOUT = 1.0
BACKOFF_FIRST, BACKOFF_MOST = 0.050, 1.0


def parse(url: str) -> Target:
    """redis-py's own reading of the URL, as a connection object that is never opened."""
    try:
        target: Target = ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    except (RedisError, ValueError, TypeError):
        # The cause is left out on purpose: it may quote the URL, and with it the password.
        raise StartupFault(
            "the store's URL is not understood; use redis://[user:password@]host:port/db, rediss://... for TLS, "
            "or unix:///path/to/socket"
        ) from None
    return target


def printable(target: Target) -> str:
    if isinstance(target, UnixDomainSocketConnection):
        return str(target.path)
    return f"{target.host}:{target.port}"


async def connect(target: Target, protocol: Callable[[], P]) -> P:
    """Raises OSError."""
    loop = asyncio.get_running_loop()
    if isinstance(target, UnixDomainSocketConnection):
        _, made = await loop.create_unix_connection(protocol, target.path)
        return made
    tls = target.ssl_context.get() if isinstance(target, SSLConnection) else None
    _, made = await loop.create_connection(protocol, target.host, target.port, ssl=tls)
    return made


def pack(command: tuple[Value, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub says: a tuple of one
    return packed


def greeting(target: Target) -> list[tuple[Value, ...]]:
    """The commands that a fresh connection begins with."""
    words: list[tuple[Value, ...]] = []
    if target.password:
        words.append(("AUTH", *filter(None, (target.username, target.password))))
    if target.db:
        words.append(("SELECT", target.db))
    return words
