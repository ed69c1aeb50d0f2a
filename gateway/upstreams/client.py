"""The one door out. Nothing is sent to an upstream that the request's permit does not name."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.errors import BadAnswer, PermitMismatch
from gateway.model import Kind, Network, Permit, Policy, Timeouts, Tls, Upstream
from gateway.upstreams.credentials import is_service_account, key_header
from gateway.upstreams.google_tokens import GoogleTokens
from gateway.upstreams.http1 import Address, Exchange, Pool, Source, freely, request_head
from gateway.upstreams.http1.pool import IDLE_SECONDS, TLS_IDLE_SECONDS
from gateway.upstreams.websocket import UpstreamSocket

PROBE_TIMEOUTS = Timeouts(connect=0.5, first_byte=0.5, idle=0.5, total=1.0)
PROBE_PAGE_BYTES = 4 << 20
TOKEN_TIMEOUTS = Timeouts(connect=5.0, first_byte=10.0, idle=5.0, total=20.0)
TOKEN_BYTES = 1 << 16
FORM = ((b"content-type", b"application/x-www-form-urlencoded"), (b"accept", b"application/json"))


class _Key(NamedTuple):
    scheme: str
    host: str
    port: int
    networks: tuple[Network, ...]
    tls: Tls | None
    idle_seconds: float


class Client:
    """Keep-alive pools, one per address, networks, TLS files and time that it keeps a connection. Follows no redirect,
    reads no proxy variable."""

    def __init__(self) -> None:
        self._pools: dict[_Key, Pool] = {}
        self._known: dict[int, tuple[Upstream, Pool, str]] = {}
        self._tls: ssl.SSLContext | None = None
        self._tokens = GoogleTokens(self._form)

    async def send(
        self,
        permit: Permit,
        policy: Policy,
        request: str,
        upstream: Upstream,
        path: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes | Source,
        timeouts: Timeouts,
        method: str = "POST",
        may_send: Callable[[], None] = freely,
    ) -> Exchange:
        """Sends `body` (client data, perhaps still coming) and returns when the answer's head is here. `may_send` as in
        `Pool.send`.

        Raises PermitMismatch before anything is opened where request, policy version or upstream are not those of the
        permit; the pool raises PermitRefused where the connected peer is outside the upstream's declared networks.
        """
        _check(permit, policy, request, upstream)
        pool, host = self._pool_of(upstream)
        length = len(body) if isinstance(body, bytes) else body.length
        return await pool.send(request_head(method, path, host, headers, length), body, timeouts, may_send)

    async def converse(
        self,
        permit: Permit,
        policy: Policy,
        request: str,
        upstream: Upstream,
        path: str,
        headers: Iterable[tuple[bytes, bytes]],
        subprotocols: Sequence[str],
        timeouts: Timeouts,
        most: int,
    ) -> UpstreamSocket:
        """A WebSocket instead, on a connection of its own; checked alike. `most`: bytes of one message."""
        _check(permit, policy, request, upstream)
        pool, host = self._pool_of(upstream)
        return await UpstreamSocket.open(pool.address, host, path, headers, subprotocols, timeouts, most)

    async def page(self, url: str, networks: tuple[Network, ...] = (), tls: Tls | None = None) -> bytes:
        """A monitoring page (no client data). Raises UpstreamFault, also for a status other than 200."""
        status, body = await self.look(url, networks, tls)
        if status != 200:
            raise BadAnswer(f"answered {status}")
        return body

    async def look(self, url: str, networks: tuple[Network, ...] = (), tls: Tls | None = None) -> tuple[int, bytes]:
        """Status and body of a GET that holds no client data. Raises UpstreamFault."""
        return await _get(*self._pool(url, networks, tls, "local"), _path_of(url), (), PROBE_PAGE_BYTES)

    async def look_at(self, upstream: Upstream, path: str, *, most: int = PROBE_PAGE_BYTES) -> tuple[int, bytes]:
        """The same of a worker, whose address is its root, with its key. Raises TooLong past `most` bytes."""
        root = urlsplit(upstream.url).path.rstrip("/").removesuffix("/v1")
        headers = () if upstream.key is None else ((b"authorization", b"Bearer " + upstream.key.encode()),)
        return await _get(*self._pool_of(upstream), root + path, headers, most)

    async def post(self, url: str, headers: Iterable[tuple[bytes, bytes]], body: bytes, timeouts: Timeouts) -> int:
        """The status of the answer to a message that holds no client data. Raises UpstreamFault."""
        pool, host = self._pool(url, (), None, "managed")
        head = request_head("POST", _path_of(url), host, headers, len(body))
        async with await pool.send(head, body, timeouts) as exchange:
            return exchange.status

    async def shown(self, upstream: Upstream) -> tuple[bytes, bytes] | None:
        """The header that shows its key in the calls of an order; None: it has no key. A service account is exchanged
        for a token first. Raises UpstreamFault."""
        if upstream.key is not None and is_service_account(upstream.key):
            return b"authorization", b"Bearer " + (await self._tokens.vertex_token(upstream.key)).encode()
        return key_header(upstream, time.time())

    async def _form(self, url: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a form that holds no client data. Raises UpstreamFault."""
        pool, host = self._pool(url, (), None, "managed")
        head = request_head("POST", _path_of(url), host, FORM, len(body))
        async with await pool.send(head, body, TOKEN_TIMEOUTS) as exchange:
            return exchange.status, await read_all(exchange, TOKEN_BYTES)

    def keep(self, policy: Policy) -> None:
        """Gives up every pool that `policy`, now in force, does not name. What is open there ends by itself.

        A request that still holds an older policy may open such a pool once more; that one goes with the next call.
        """
        self._known.clear()
        named: set[_Key] = set()
        for upstream in policy.upstreams.values():
            named.add(_key(upstream.url, upstream.networks, upstream.tls, upstream.kind))
            if upstream.dcgm is not None:
                named.add(_key(upstream.dcgm, (), upstream.tls, "local"))
            if upstream.metrics is not None:
                named.add(_key(upstream.metrics, upstream.networks, upstream.tls, "local"))
        for key in self._pools.keys() - named:
            self._pools.pop(key).close()

    def _pool_of(self, upstream: Upstream) -> tuple[Pool, str]:
        """The upstream's pool and Host header, worked out once for each object: hashing a key takes longer."""
        known = self._known.get(id(upstream))  # the entry holds the upstream: no other one can have its id
        if known is None:
            known = (upstream, *self._pool(upstream.url, upstream.networks, upstream.tls, upstream.kind))
            self._known[id(upstream)] = known
        return known[1], known[2]

    def _pool(self, url: str, networks: tuple[Network, ...], tls: Tls | None, kind: Kind) -> tuple[Pool, str]:
        key = _key(url, networks, tls, kind)
        if key not in self._pools:
            context = self._context(tls) if key.scheme == "https" else None
            name = (tls.server_name if tls is not None else None) or key.host
            address = Address(key.host, key.port, context, name if context else None, networks)
            self._pools[key] = Pool(address, idle_seconds=key.idle_seconds)
        return self._pools[key], urlsplit(url).netloc.rpartition("@")[2]

    def _context(self, tls: Tls | None) -> ssl.SSLContext:
        if tls is not None:
            return tls.context
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()
        self._pools.clear()
        self._known.clear()


def _check(permit: Permit, policy: Policy, request: str, upstream: Upstream) -> None:
    """Raises PermitMismatch."""
    if permit.request != request or permit.policy != policy.version or upstream.name not in permit.upstreams:
        raise PermitMismatch(f"the permit of this request does not cover upstream {upstream.name}")
    if policy.upstreams.get(upstream.name) is not upstream:
        raise PermitMismatch(f"upstream {upstream.name} is not the one that policy {policy.version} describes")


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _key(url: str, networks: tuple[Network, ...], tls: Tls | None, kind: Kind) -> _Key:
    """Before a worker is its own server, over TLS too; before an API is a balancer."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    idle_seconds = TLS_IDLE_SECONDS if secure and kind == "managed" else IDLE_SECONDS
    return _Key(parts.scheme, parts.hostname or "", port, networks, tls if secure else None, idle_seconds)


async def _get(
    pool: Pool, host: str, path: str, headers: Iterable[tuple[bytes, bytes]], most: int
) -> tuple[int, bytes]:
    async with await pool.send(request_head("GET", path, host, headers, 0), b"", PROBE_TIMEOUTS) as exchange:
        told = dict(exchange.headers).get(b"content-length", b"")
        if told.isdigit() and int(told) > most:  # nothing of it is read
            raise TooLong(f"a body of more than {most} bytes")
        return exchange.status, await read_all(exchange, most)


class TooLong(BadAnswer):
    """A body of more bytes than its reader wants to hold."""

    reason = "page_too_long"


async def read_all(exchange: Exchange, most: int) -> bytes:
    """The whole body. Raises TooLong past `most` bytes."""
    pieces, size = [], 0
    while piece := await exchange.read():
        size += len(piece)
        if size > most:
            raise TooLong(f"a body of more than {most} bytes")
        pieces.append(piece)
    return b"".join(pieces)
