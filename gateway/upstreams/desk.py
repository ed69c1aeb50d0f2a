"""Where the calls of one order are made: through the one door, under the permit of the request that it is for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from gateway.errors import BadAnswer, UpstreamTimeout
from gateway.model import Permit, Policy, Timeouts, Upstream
from gateway.upstreams.client import Client, read_all
from gateway.upstreams.dialects.ordering import LOOK_BYTES, Answer, Call
from gateway.upstreams.http1 import Exchange, freely

KEY_HEADERS = frozenset({b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key", b"xi-api-key"})
"""A call that has one of them shows its own credential."""


Seen = Callable[[str, float, int | None], None]
"""Method, when the call began (monotonic), and the status of its answer; None: it has none."""


@dataclass(frozen=True, slots=True)
class ClientDesk:
    """Of one attempt. `until`: the moment (monotonic) by which all of it ends; `most`: bytes of one answer; `leaves`
    is called before anything does, `may_send` in the turn of the first byte of each call (with what it raises nothing
    leaves), `heard` gets the headers of each answer."""

    client: Client
    permit: Permit
    policy: Policy
    request: str
    attempt: str
    upstream: Upstream
    timeouts: Timeouts
    until: float
    most: int
    trace: tuple[tuple[bytes, bytes], ...] = ()
    """Headers of its trace."""
    leaves: Callable[[], None] = lambda: None
    may_send: Callable[[], None] = freely
    heard: Callable[[list[tuple[bytes, bytes]]], None] = lambda _: None
    seen: Seen | None = None
    """Hears of each call when it is over."""

    async def call(self, call: Call, *, silence: float | None = None, grace: float = 0.0) -> Answer:
        async with self.open(call, silence=silence, grace=grace) as exchange:
            most = min(self.most, LOOK_BYTES) if call.looks else self.most
            return Answer(exchange.status, tuple(exchange.headers), await read_all(exchange, most))

    @asynccontextmanager
    async def open(self, call: Call, *, silence: float | None = None, grace: float = 0.0) -> AsyncIterator[Exchange]:
        """The answer of a call, whatever its status, to be read piece by piece. Raises UpstreamFault."""
        left = max(0.0, self.until + grace - time.monotonic())
        if not left:
            raise UpstreamTimeout("total", 0.0, processed=False)
        silent = self.timeouts.first_byte if silence is None else silence
        limits = replace(self.timeouts, first_byte=min(silent, left), total=left)
        headers = await self._headers(call)
        self.leaves()
        began, status = time.monotonic(), None
        try:
            async with await self._send(call, headers, limits) as exchange:
                status = exchange.status
                self.heard(exchange.headers)
                yield exchange
        finally:
            if self.seen is not None:
                self.seen(call.method, began, status)

    async def _send(self, call: Call, headers: list[tuple[bytes, bytes]], limits: Timeouts) -> Exchange:
        try:
            return await self.client.send(
                self.permit,
                self.policy,
                self.request,
                self.upstream,
                target(self.upstream, call.path),
                headers,
                call.body,
                limits,
                call.method,
                self.may_send,
            )
        except ValueError:  # an upstream's own word, such as the id of its job, that no request may hold
            raise BadAnswer("told something that cannot be asked for") from None

    async def _headers(self, call: Call) -> list[tuple[bytes, bytes]]:
        made = [*call.headers, (b"accept-encoding", b"identity"), (b"x-request-id", self.attempt.encode())]
        own = any(name.lower() in KEY_HEADERS for name, _ in call.headers)
        if not own and (shown := await self.client.shown(self.upstream)) is not None:
            made.append(shown)
        return [*made, *self.trace]


def target(upstream: Upstream, path: str) -> str:
    """The whole path of a `Call`."""
    if path.startswith("/"):
        return path
    base = urlsplit(upstream.url).path.rstrip("/")
    return f"{base.removesuffix('/v1') if upstream.kind == 'local' else base}/{path}"
