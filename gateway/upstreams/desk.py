"""Where the calls of one order are made: through the one door, under the permit of the request that it is for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from gateway.errors import BadAnswer, OrderLost, UpstreamFault, UpstreamTimeout
from gateway.model import Permit, Policy, Timeouts, Upstream
from gateway.upstreams import answers
from gateway.upstreams.client import Client, read_all
from gateway.upstreams.dialects.ordering import Answer, Call, Piece
from gateway.upstreams.orders import LOOK_SECONDS

KEY_HEADERS = frozenset({b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key", b"xi-api-key"})
"""A call that has one of them shows its own credential."""
TRIES = 3
"""A result that cannot be had at once is asked for so often: it is made, and may be paid."""
_TYPE = b"content-type"


class Made(NamedTuple):
    """A result as it is kept: `name` as in `Artefact`."""

    name: str
    media_type: str
    data: bytes

    def __repr__(self) -> str:
        return f"Made({self.name}, {self.media_type}, {len(self.data)} bytes)"


class Fetch(Protocol):
    """`upstreams/fetch.py`: a GET of an address that an upstream gave us, without our key, redirects or surprises."""

    async def __call__(
        self, url: str, *, hosts: Iterable[str], most: int, seconds: float, allow_private: bool
    ) -> tuple[bytes, str]: ...


@dataclass(frozen=True, slots=True)
class ClientDesk:
    """Of one attempt. `until`: the moment (monotonic) by which all of it ends; `most`: bytes of one answer; `heard`
    gets the headers of each answer."""

    client: Client
    permit: Permit
    policy: Policy
    request: str
    attempt: str
    upstream: Upstream
    timeouts: Timeouts
    until: float
    most: int
    traceparent: str | None = None
    heard: Callable[[list[tuple[bytes, bytes]]], None] = lambda _: None

    async def call(self, call: Call, *, silence: float | None = None) -> Answer:
        left = max(0.0, self.until - time.monotonic())
        silent = self.timeouts.first_byte if silence is None else silence
        limits = replace(self.timeouts, first_byte=min(silent, left), total=left)
        if not left:
            raise UpstreamTimeout("total", 0.0, processed=False)
        try:
            sending = self.client.send(
                self.permit,
                self.policy,
                self.request,
                self.upstream,
                target(self.upstream, call.path),
                self._headers(call),
                call.body,
                limits,
                call.method,
            )
            async with await sending as exchange:
                self.heard(exchange.headers)
                return Answer(exchange.status, tuple(exchange.headers), await read_all(exchange, self.most))
        except ValueError:  # an upstream's own word, such as the id of its job, that no request may hold
            raise BadAnswer("told something that cannot be asked for") from None

    def _headers(self, call: Call) -> list[tuple[bytes, bytes]]:
        made = [*call.headers, (b"accept-encoding", b"identity"), (b"x-request-id", self.attempt.encode())]
        if self.upstream.key is not None and not any(name.lower() in KEY_HEADERS for name, _ in call.headers):
            made.append((b"authorization", b"Bearer " + self.upstream.key.encode()))
        if self.traceparent is not None:
            made.append((b"traceparent", self.traceparent.encode()))
        return made


async def collect(desk: ClientDesk, pieces: Iterable[Piece], fetch: Fetch, hosts: Iterable[str]) -> AsyncIterator[Made]:
    """The results one after the other, so that one is in memory at a time. Raises OrderLost: they are made, and may be
    paid, wherever they are now."""
    allowed = tuple(hosts)
    for piece in pieces:
        for left in reversed(range(TRIES)):
            try:
                made = await _one(desk, piece, fetch, allowed)
                break
            except UpstreamFault as fault:
                if not left:
                    raise OrderLost(f"made, and then: {fault.message}") from fault
        yield made


async def _one(desk: ClientDesk, piece: Piece, fetch: Fetch, hosts: tuple[str, ...]) -> Made:
    if piece.data is not None:
        return Made(piece.name, piece.media_type, piece.data)
    if piece.call is not None:
        answer = await desk.call(piece.call, silence=LOOK_SECONDS)
        if answers.meaning(answer.status) != "answer" or answer.status >= answers.REFUSED:
            raise answers.refusal(answer.status, list(answer.headers), answer.body)
        said = dict(answer.headers).get(_TYPE, b"").decode("latin-1").partition(";")[0].strip().lower()
        return Made(piece.name, said if _is_media(said) else piece.media_type, answer.body)
    seconds = max(0.0, desk.until - time.monotonic())
    private = desk.upstream.kind == "local"
    data, said = await fetch(piece.url or "", hosts=hosts, most=desk.most, seconds=seconds, allow_private=private)
    return Made(piece.name, said if _is_media(said) else piece.media_type, data)


def target(upstream: Upstream, path: str) -> str:
    """The whole path of a `Call`."""
    if path.startswith("/"):
        return path
    base = urlsplit(upstream.url).path.rstrip("/")
    return f"{base.removesuffix('/v1') if upstream.kind == 'local' else base}/{path}"


def _is_media(said: str) -> bool:
    """Whether a Content-Type names what a generation makes; storages call much an octet stream."""
    return said.partition("/")[0] in ("image", "video", "audio")
