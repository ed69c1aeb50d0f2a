"""The guarded fetch: a file at an address that a caller or a provider names. It gets no key and no client data.

Somebody else chose the address, so it may point inwards. Its host is resolved once, every address that comes back must
be public, and the connection goes to the very address that was checked: a name that resolves to something else a moment
later (DNS rebinding) changes nothing. TLS is verified against the name. No redirect is followed, no content coding is
undone, and what comes is bounded in bytes and in time.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from ipaddress import ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.errors import BadAnswer, ConnectFailed, UpstreamFault, UpstreamTimeout
from gateway.model import Timeouts
from gateway.upstreams.addresses import is_public
from gateway.upstreams.client import TooLong
from gateway.upstreams.http1 import Address, Exchange, Pool, request_head

MAX_URL = 8192
"""Characters; signed addresses of object stores have about 1,500."""
CONNECT_SECONDS = 5.0
MOST_TRIED = 3
"""Addresses of one name."""
PORTS = {"http": 80, "https": 443}
RESOLVING = 32
"""Names of one kind that are looked up at once."""
_URL = re.compile(r"https?://[!-~]+", re.IGNORECASE)
_OK = 200

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> IP addresses. Raises OSError."""


class Names:
    """Looks up names by the system's own means, `most` at once, on threads of its own: whoever owns a name may let it
    take half a minute, and nobody else's look may wait for that, nor our own disks and pictures."""

    def __init__(self, most: int = RESOLVING) -> None:
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="resolve")

    async def of(self, host: str, port: int, on_end: Callable[[], object] = bool) -> Sequence[str]:
        """Its IP addresses. `on_end` is called when the thread is free again, which may be long after whoever wanted to
        know was cancelled. Raises OSError."""
        loop = asyncio.get_running_loop()
        looking = self._threads.submit(partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the process has ended meanwhile
                loop.call_soon_threadsafe(on_end)

        looking.add_done_callback(ended)
        return [str(one[4][0]) for one in await asyncio.wrap_future(looking)]


_OF_RESULTS, _OF_WEBHOOKS = Names(), Names()
"""Providers name the first, and callers the second: no webhook is in the way of what was paid for."""


class FetchRefused(UpstreamFault):
    """The address is not one that we go to; nothing was sent. The text never holds it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, processed=False)


class Fetched(NamedTuple):
    media_type: str
    """As the server says, lower-cased, without parameters; "" where it does not."""
    data: bytes

    def __repr__(self) -> str:
        return f"Fetched({self.media_type}, {len(self.data)} bytes)"


class Opened:
    """A file that is being read: `media_type` as in `Fetched`, `size` as the server says, if it does."""

    def __init__(self, exchange: Exchange, most: int) -> None:
        headers = dict(exchange.headers)
        self.media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        told = headers.get(b"content-length", b"")
        self.size = int(told) if told.isdigit() else None
        self._exchange, self._most = exchange, most
        if self.size is not None and self.size > most:  # nothing of it is read
            raise TooLong(f"a file of more than {most} bytes")

    async def pieces(self) -> AsyncIterator[bytes]:
        """As they come: no more of it is read while a piece is worked on. Raises UpstreamFault, TooLong among them."""
        size = 0
        while piece := await self._exchange.read():
            size += len(piece)
            if size > self._most:
                raise TooLong(f"a file of more than {self._most} bytes")
            yield piece


async def fetch(
    url: str, *, hosts: tuple[str, ...] | None, most: int, seconds: float, allow_private: bool = False
) -> Fetched:
    """The whole file, of at most `most` bytes, within `seconds`. As `open`."""
    async with open(url, hosts=hosts, most=most, seconds=seconds, allow_private=allow_private) as opened:
        return Fetched(opened.media_type, b"".join([piece async for piece in opened.pieces()]))


@asynccontextmanager
async def open(
    url: str,
    *,
    hosts: tuple[str, ...] | None,
    most: int,
    seconds: float,
    allow_private: bool = False,
    resolve: Resolve = _OF_RESULTS.of,
) -> AsyncIterator[Opened]:
    """A file at `url`, to be read piece by piece. `seconds` bounds all of it, the reader's own time included.

    `hosts`: globs, one of which its host must match (`*.example.com`); None: any host. `allow_private`: an operator
    said that this address may lie in a network of ours; then any port will do too, else it is 80 or 443.
    Raises FetchRefused where we do not go there, TooLong past `most` bytes, and any other UpstreamFault.
    """
    place = _place(url, hosts, allow_private)
    deadline = asyncio.get_running_loop().time() + seconds
    if place.scheme == "https":
        await asyncio.to_thread(_trust)  # the first time all authorities are read, which takes some 20 ms
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            addresses = await _checked(place, resolve, allow_private)
            exchange, pool = await _connected(place, addresses, deadline)
    except TimeoutError:
        raise UpstreamTimeout("total", seconds, processed=False) from None
    try:
        if exchange.status != _OK:
            raise BadAnswer(f"answered {exchange.status}")
        if dict(exchange.headers).get(b"content-encoding", b"identity").lower() != b"identity":
            raise BadAnswer("answered in a content coding that was not asked for")
        yield Opened(exchange, most)
    finally:
        exchange.close()
        pool.close()


async def place_checked(url: str, *, allow_private: bool = False, resolve: Resolve = _OF_RESULTS.of) -> None:
    """Looks at the address as `open` does, and sends nothing: whoever goes there later may find another one behind its
    name. Raises FetchRefused; ConnectFailed where the name leads nowhere."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await _checked(_place(url, None, allow_private), resolve, allow_private)
    except TimeoutError:
        raise ConnectFailed("the host name cannot be resolved") from None


class _Place(NamedTuple):
    scheme: str
    host: str
    port: int
    shown: str
    """Its Host header."""
    path: str


def _place(url: str, hosts: tuple[str, ...] | None, allow_private: bool) -> _Place:
    """Raises FetchRefused."""
    if len(url) > MAX_URL or _URL.fullmatch(url) is None:
        raise FetchRefused("it is not an http or https address")
    try:
        parts = urlsplit(url)
        host, port, scheme = (parts.hostname or "").rstrip("."), parts.port, parts.scheme.lower()
    except ValueError:
        raise FetchRefused("it is not an http or https address") from None
    if not host or "%" in host or parts.username is not None or parts.password is not None:
        raise FetchRefused("it needs a host, and no user name")
    if hosts is not None and not any(fnmatchcase(host, glob.lower()) for glob in hosts):
        raise FetchRefused("its host is not one of those that are allowed")
    if port is not None and port != PORTS[scheme] and not allow_private:
        raise FetchRefused(f"{scheme} is fetched from port {PORTS[scheme]} alone")
    bracketed = f"[{host}]" if ":" in host else host
    shown = bracketed if port is None else f"{bracketed}:{port}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Place(scheme, host, PORTS[scheme] if port is None else port, shown, path)


async def _checked(place: _Place, resolve: Resolve, allow_private: bool) -> Sequence[str]:
    """All addresses of its host. One that is not public speaks against the whole name."""
    try:
        found = list(dict.fromkeys(await resolve(place.host, place.port)))
    except (OSError, UnicodeError):
        raise ConnectFailed("the host name cannot be resolved") from None
    if not found:
        raise ConnectFailed("the host name cannot be resolved")
    if not allow_private and not all(map(is_public, found)):
        raise FetchRefused("its host is not a public one")
    return found[:MOST_TRIED]


async def post(
    url: str,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
    *,
    seconds: float,
    allow_private: bool = False,
    resolve: Resolve = _OF_WEBHOOKS.of,
) -> int:
    """The status of the answer to a message, of whose body nothing is read. Raises as `open`."""
    place = _place(url, None, allow_private)
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout_at(deadline):
            addresses = await _checked(place, resolve, allow_private)
            exchange, pool = await _connected(place, addresses, deadline, _Message("POST", headers, body))
    except TimeoutError:
        raise UpstreamTimeout("total", seconds) from None
    try:
        return exchange.status
    finally:
        exchange.close()
        pool.close()


class _Message(NamedTuple):
    method: str = "GET"
    headers: Sequence[tuple[bytes, bytes]] = ((b"accept-encoding", b"identity"),)
    body: bytes = b""


_GET = _Message()


async def _connected(
    place: _Place, addresses: Sequence[str], deadline: float, message: _Message = _GET
) -> tuple[Exchange, Pool]:
    """Asks the first address that can be reached. The pool is for this one exchange."""
    head = request_head(message.method, place.path, place.shown, message.headers, len(message.body))
    fault: UpstreamFault | None = None
    for address in addresses:
        left = deadline - asyncio.get_running_loop().time()
        timeouts = Timeouts(connect=min(CONNECT_SECONDS, left), first_byte=left, idle=left, total=left)
        pool = Pool(_address(place, address))
        try:
            return await pool.send(head, message.body, timeouts), pool
        except UpstreamFault as failed:
            pool.close()
            fault = failed
            if failed.processed:
                break
        except BaseException:
            pool.close()
            raise
    assert fault is not None  # noqa: S101 - there is at least one address
    raise fault


def _address(place: _Place, address: str) -> Address:
    """The checked address itself, never the name; the peer that is reached is compared with it once more."""
    secure = place.scheme == "https"
    tls = _trust() if secure else None
    only = (ip_network(address.partition("%")[0]),)
    return Address(address, place.port, tls, place.host if secure else None, only)


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()
