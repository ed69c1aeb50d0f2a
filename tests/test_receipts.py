from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.receipts import MAX_BYTES, MAX_QUEUED, Receipts, encode, is_plain
from gateway.store.connection import Store


def receipt(name: str, outcome: str = "local", **changes: Any) -> dict[str, Any]:
    base = {"id": name, "tenant": "acme", "outcome": outcome, "residency": [], "attempts": [{}], "error": None}
    return base | changes


@given(st.integers(0, 40), st.integers(1, 40))
def test_a_receipt_is_at_most_two_kilobytes(candidates: int, attempts: int) -> None:
    row = {"upstream": "a-worker-with-a-long-name", "score": 0.5, "load": 0.5, "limit": 10**7, "age_ms": 100.0}
    made = encode(receipt("x", candidates=[row] * candidates, attempts=[row] * attempts))
    assert len(made) <= MAX_BYTES
    assert json.loads(made)["attempts"]


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({}, True),
        ({"outcome": "spilled"}, False),
        ({"residency": ["local"]}, False),
        ({"attempts": [{}, {}]}, False),
        ({"error": "upstream_error"}, False),
    ],
)
def test_which_are_thinned_first(changes: dict[str, Any], plain: bool) -> None:
    assert is_plain(receipt("x", **changes)) is plain


async def test_only_the_tenant_that_made_it_reads_it(store: Store) -> None:
    receipts = Receipts(store, 1 << 20, 24)
    receipts.add(receipt("r1"))
    assert json.loads(await receipts.find("acme", "r1") or b"")["id"] == "r1", "readable before it is filed"
    await receipts.flush()
    assert json.loads(await receipts.find("acme", "r1") or b"")["id"] == "r1"
    assert await receipts.find("other", "r1") is None
    assert await receipts.find("acm", "r1") is None
    assert await receipts.find("acme", "r2") is None


async def test_under_the_cap_the_plain_ones_go_first_and_the_oldest_of_them(store: Store) -> None:
    receipts = Receipts(store, 20_000, 24)
    for index in range(100):
        receipts.add(receipt(f"plain{index}", filler="x" * 300))
        receipts.add(receipt(f"spilled{index}", "spilled", filler="x" * 100))
        await receipts.flush()
    held = int(await store.call("GET", "gw:{receipts}:bytes"))
    assert held <= 20_000
    flat = await store.call("HGETALL", "gw:{receipts}:data")
    data = dict(zip(flat[0::2], flat[1::2], strict=True))
    assert held == sum(len(key) + len(value) for key, value in data.items())
    kept = {key.decode() for key in data}
    assert not any(name.startswith("plain") for name in kept) or {f"spilled{i}" for i in range(100)} <= kept
    assert "spilled99" in kept


async def test_a_receipt_dies_of_age(store: Store) -> None:
    old = Receipts(store, 1 << 20, 24)
    old.add(receipt("r1"))
    await old.flush()
    ageless = Receipts(store, 1 << 20, 0)
    ageless.add(receipt("r2"))
    await ageless.flush()
    assert await old.find("acme", "r1") is None


async def test_many_that_die_at_once_leave_nothing_behind(store: Store) -> None:
    old, ageless = Receipts(store, 1 << 20, 24), Receipts(store, 1 << 20, 0)
    for index in range(900):
        old.add(receipt(f"plain{index}"))
        old.add(receipt(f"kept{index}", "spilled"))
    await old.flush()
    ageless.add(receipt("last"))
    await ageless.flush()
    assert await store.call("HLEN", "gw:{receipts}:data") == 0
    assert await store.call("GET", "gw:{receipts}:bytes") == b"0"


async def test_a_batch_that_is_filed_again_is_there_once(store: Store) -> None:
    """As after a late answer: the store has filed it, the gateway takes it for lost and files it once more."""
    batch = [receipt(f"{kind}{index}", kind, filler="x" * 900) for index in range(30) for kind in ("local", "spilled")]
    receipts = Receipts(store, 100_000, 24)
    for _ in range(3):
        for one in batch:
            receipts.add(one)
        await receipts.flush()
    flat = await store.call("HGETALL", "gw:{receipts}:data")
    assert set(flat[0::2]) == {one["id"].encode() for one in batch}
    assert int(await store.call("GET", "gw:{receipts}:bytes")) == sum(map(len, flat))
    assert [await store.call("LLEN", f"gw:{{receipts}}:{kind}") for kind in ("plain", "kept")] == [30, 30]


async def test_while_the_store_is_away_receipts_wait_and_the_plain_ones_are_dropped_first(store: Store) -> None:
    receipts = Receipts(store, 1 << 20, 24)
    await store.aclose()
    receipts.add(receipt("kept", "spilled"))
    for index in range(MAX_QUEUED + 10):
        receipts.add(receipt(f"plain{index}"))
    await receipts.flush()
    assert receipts.dropped == 11
    assert await receipts.find("acme", "kept") is not None
