"""Our dialects against simulated providers: the real driver of orders, over an ordinary HTTP client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
from msgspec import Raw

from gateway.errors import Reset
from gateway.model import EndpointName, MediaAsk, Upstream
from gateway.upstreams.credentials import key_header
from gateway.upstreams.desk import target
from gateway.upstreams.dialects.ordered import dialect_of
from gateway.upstreams.dialects.ordering import Answer, Call, Dialect, Order, Picture, Told
from gateway.upstreams.orders import Clock, Patience, fill
from loadtests.simproviders.base import Ask
from loadtests.simproviders.samples import png
from tests.worlds import upstream

IGNORED = frozenset(
    {"accept", "accept-encoding", "accept-language", "connection", "host", "user-agent", "content-length"}
)
"""Headers that are about the client's own HTTP, not about what it asks for."""
FIRST = Picture(data=png(16, 16), media_type="image/png", role="first_frame")
IMAGE = Picture(data=png(16, 16), media_type="image/png", role="image")


def account(dialect: str, url: str, key: str = "sim-key") -> Upstream:
    return upstream("api", "bought", kind="managed", dialect=dialect, url=url, key=key)


def order(
    endpoint: EndpointName,
    model: str,
    prompt: str = "a lighthouse",
    *,
    pictures: tuple[Picture, ...] = (),
    fields: Mapping[str, Any] | None = None,
    mark: str = "",
    **ask: Any,
) -> Order:
    raw = {name: Raw(msgspec.json.encode(value)) for name, value in (fields or {}).items()}
    inputs = sum(picture.role != "mask" for picture in pictures)
    asked = MediaAsk(inputs=inputs, **ask)
    return Order(endpoint=endpoint, model=model, ask=asked, prompt=prompt, pictures=pictures, fields=raw, mark=mark)


def of(to: Upstream, wanted: Order) -> Dialect:
    found = dialect_of(to, wanted.endpoint)
    assert found is not None
    return found


class HttpDesk:
    def __init__(self, to: Upstream, client: httpx.AsyncClient) -> None:
        self._to, self._client = to, client

    async def call(self, call: Call, *, silence: float | None = None, grace: float = 0.0) -> Answer:
        shown = key_header(self._to, time.time())
        headers = [*call.headers, *([shown] if shown else [])]
        url = httpx.URL(self._to.url).copy_with(raw_path=target(self._to, call.path).encode())
        try:
            got = await self._client.request(call.method, url, headers=headers, content=call.body)
        except httpx.TransportError as fault:
            raise Reset(str(fault)) from None
        lower = tuple((name.lower(), value) for name, value in got.headers.raw)
        return Answer(got.status_code, lower, got.content)


async def place(to: Upstream, wanted: Order, *, queued: float | None = None) -> Told:
    """Raises what the driver raises."""
    quick = Clock(sleep=_briefly)
    async with httpx.AsyncClient(trust_env=False) as client:
        patience = Patience(until=time.monotonic() + 5.0, queued=queued)
        return await fill(HttpDesk(to, client), of(to, wanted), to, wanted, patience=patience, clock=quick)


async def _briefly(_: float) -> None:
    await asyncio.sleep(0.01)


def bytes_of(told: Told) -> list[bytes]:
    """Its results, fetched where they lie."""
    made = []
    for piece in told.pieces:
        if piece.data is not None:
            made.append(piece.data)
        else:
            assert piece.url is not None
            made.append(httpx.get(piece.url, trust_env=False).raise_for_status().content)
    return made


def seen(ask: Ask) -> dict[str, Any]:
    """A request as it is compared: method, path, headers that matter, body."""
    headers = {name: value for name, value in ask.headers.items() if name not in IGNORED}
    if "content-type" in headers:
        headers["content-type"] = headers["content-type"].partition(";")[0]
    body = msgspec.json.decode(ask.raw) if ask.raw else None
    return {"method": ask.method, "path": ask.path, "headers": headers, "body": body}
