"""Rows as gateways make them."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from gateway.model import Row
from gateway.money.till import STREAM
from gateway.store.connection import Store

NOW = 1_795_353_000_000_000
"""2026-11-22 13:10 UTC, in microseconds."""
USUAL = Row(
    attempt="owner:1",
    request="req-1",
    began=NOW - 2_000_000,
    ended=NOW,
    tenant="acme",
    key="ci",
    tags=("team-a", "nightly"),
    model="llama",
    endpoint="chat",
    rule="local-first",
    backend="cloud",
    upstream="cloud-1",
    served_as="gpt-oss",
    kind="managed",
    role="asked",
    outcome="spilled",
    reason="saturated",
    result="ok",
    status=200,
    policy="abc123",
    input_tokens=100,
    output_tokens=50,
    cost=1_234,
    basis="list",
    reserved=9_000,
)


def row(number: int, **changes: object) -> Row:
    return replace(USUAL, attempt=f"owner:{number}", request=f"req-{number}", **changes)  # type: ignore[arg-type]


def encoded(*rows: Row) -> list[bytes]:
    return [msgspec.json.encode(each) for each in rows]


async def put(store: Store, *rows: bytes) -> None:
    """One entry of the stream, as the till writes it."""
    await store.call("XADD", STREAM, "*", *(part for each in rows for part in ("row", each)))
