"""One order at one address: our dialects and our driver over httpx, and what it asked for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from msgspec import Raw

from gateway.errors import Reset
from gateway.model import EndpointName, MediaAsk, Speed, Upstream
from gateway.upstreams.credentials import key_header
from gateway.upstreams.dialects.ordered import dialect_of
from gateway.upstreams.dialects.ordering import Answer, Call, Dialect, Order, Picture, Told
from gateway.upstreams.orders import Clock, Patience, fill

PATIENCE = Patience(until=time.monotonic() + 1e6, queued=None, trouble=0.2)


def upstream(dialect: str, url: str, key: str | None = "sim-key") -> Upstream:
    return Upstream(
        name=f"{dialect}-1",
        backend=dialect,
        kind="managed",
        url=url,
        dialect=dialect,
        zone="eu",
        networks=(),
        speed=Speed(0.0, 0.0, 0.0),
        limit=1,
        seats=1,
        key=key,
    )


def order(
    endpoint: EndpointName,
    model: str,
    prompt: str = "A red bicycle",
    *,
    ask: MediaAsk | None = None,
    fields: Mapping[str, object] | None = None,
    pictures: tuple[Picture, ...] = (),
    mark: str = "",
) -> Order:
    given = {name: Raw(json.dumps(value).encode()) for name, value in (fields or {}).items()}
    return Order(
        endpoint=endpoint,
        model=model,
        ask=ask or MediaAsk(),
        prompt=prompt,
        fields=given,
        pictures=pictures,
        mark=mark,
    )


def dialect_at(account: Upstream, endpoint: EndpointName) -> Dialect:
    found = dialect_of(account, endpoint)
    assert found is not None
    return found


def answer(body: object, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    return Answer(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


@dataclass
class HttpDesk:
    """Calls of one upstream over httpx. `calls` are those that were made."""

    account: Upstream
    calls: list[Call] = field(default_factory=list)

    async def call(self, call: Call, *, silence: float | None = None, grace: float = 0.0) -> Answer:
        self.calls.append(call)
        shown = key_header(self.account, time.time())
        headers = [*call.headers, *([] if shown is None else [shown])]
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            root = httpx.URL(self.account.url).copy_with(path="/")
            url = str(root).rstrip("/") + call.path
            try:
                said = await client.request(call.method, url, headers=headers, content=call.body or None)
            except httpx.TransportError:
                raise Reset("broke off") from None
        told = tuple((name.lower(), value) for name, value in said.headers.raw)
        return Answer(said.status_code, told, said.content)


async def buy(account: Upstream, asked: Order, *, patience: Patience = PATIENCE) -> tuple[Told, HttpDesk]:
    desk = HttpDesk(account)

    async def soon(_: float) -> None:
        await asyncio.sleep(0.005)

    dialect = dialect_at(account, asked.endpoint)
    return await fill(desk, dialect, account, asked, patience=patience, clock=Clock(sleep=soon)), desk


def fetched(told: Told, account: Upstream) -> list[bytes]:
    """What was made, from wherever it lies."""
    got: list[bytes] = []
    for piece in told.pieces:
        if piece.data is not None:
            got.append(piece.data)
        elif piece.url is not None:
            got.append(httpx.get(piece.url, trust_env=False).content)
        else:
            assert piece.call is not None
            shown = key_header(account, time.time())
            assert shown is not None
            got.append(httpx.get(account.url + piece.call.path, headers=[shown], trust_env=False).content)
    return got


def body_of(call: Call) -> Any:
    return json.loads(call.body)


def headers_of(call: Call, account: Upstream, now: float = 0.0) -> dict[str, str]:
    shown = key_header(account, now)
    return {name.decode(): value.decode() for name, value in (*call.headers, *(() if shown is None else (shown,)))}
