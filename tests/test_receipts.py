from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.edge.account import Account
from gateway.receipts import ELSEWHERE_SECONDS, LAST_TO_GO, MAX_BYTES, MAX_QUEUED, Receipts, encode, is_plain
from gateway.routing.fields import NEUTRAL
from gateway.store.connection import Store
from tests.worlds import request


def receipt(name: str, outcome: str = "local", **changes: Any) -> dict[str, Any]:
    base = {"id": name, "tenant": "acme", "outcome": outcome, "residency": [], "attempts": [{}], "error": None}
    return base | changes


NAMES = st.text("abcXYZ019._-", min_size=1, max_size=64) | st.just("u" * 64)
WORDS = st.sampled_from(["answered", "circuit", "local_has_room", "structured_output_not_supported"])
NUMBERS = st.floats(0, 1e12) | st.integers(0, 10**12)


def rows(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(values)


ATTEMPTS = rows(upstream=NAMES, result=WORDS, status=st.none() | st.just(200), at_ms=NUMBERS, took_ms=NUMBERS)
SEEN = rows(
    upstream=NAMES, **dict.fromkeys(("score", "work", "load", "limit", "queue_depth", "gpu", "age_ms"), NUMBERS)
)
COUNTS = rows(
    estimated=st.booleans(),
    **dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "images", "seconds", "characters"), NUMBERS),
)
FORECASTS = rows(**dict.fromkeys(("first_ms", "total_ms", "output_tokens", "usd"), NUMBERS))
WHOLE = rows(
    id=st.just("a" * 32),
    client_id=st.none() | st.text('a"\\', max_size=128) | st.just('"' * 128),
    time=NUMBERS,
    tenant=NAMES,
    model=st.none() | st.text(max_size=128) | st.just("\x01" * 128),
    policy=st.just("a" * 12),
    rule=st.none() | NAMES,
    residency=st.lists(NAMES, max_size=40),
    candidates=st.lists(SEEN, max_size=12),
    drops=st.dictionaries(st.text("abcde", max_size=12), NUMBERS, max_size=20),
    chosen=st.none() | NAMES,
    attempts=st.lists(ATTEMPTS, max_size=10),
    outcome=st.sampled_from(["local", "spilled", "refused"]),
    reason=st.none() | WORDS,
    spill_when=st.none() | WORDS,
    kept_by=st.sampled_from([None, "share", "budget", "store"]),
    removed=st.sets(st.sampled_from(sorted(NEUTRAL))).map(sorted),
    error=st.none() | WORDS,
    usage=st.none() | COUNTS,
    cost=st.none() | rows(usd=st.none() | NUMBERS, basis=st.just("amortised")),
    forecast=st.none() | FORECASTS,
    times=rows(**dict.fromkeys(("queue_ms", "overhead_ms", "ttft_ms", "total_ms"), NUMBERS)),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(WHOLE)
def test_a_receipt_is_at_most_two_kilobytes(whole: dict[str, Any]) -> None:
    assert whole.keys() == Account(request(), "v1").receipt().keys()
    made = encode(whole)
    assert len(made) <= MAX_BYTES
    shown = json.loads(made)
    assert shown.pop("cut", False) is (len(msgspec.json.encode(whole)) > MAX_BYTES)
    assert shown["attempts"][-1:] == whole["attempts"][-1:]
    assert whole.keys() - shown.keys() <= set(LAST_TO_GO)
    untouched = shown.keys() - {"candidates", "attempts"}
    assert {name: shown[name] for name in untouched} == {name: whole[name] for name in untouched}


def test_what_goes_first_and_what_last() -> None:
    """Each part is 500 bytes: three of them fit."""
    filler = "x" * 500
    whole = receipt("r1", chosen="w1", candidates=[{"upstream": "w1", "rest": filler}, {"upstream": filler}])
    whole |= {"attempts": [{"result": filler}, {"result": "answered"}]}
    for many in range(len(LAST_TO_GO) + 1):
        shown = json.loads(encode(whole | dict.fromkeys(LAST_TO_GO[:many], filler)))
        assert [one["upstream"] for one in shown["candidates"]] == ["w1", filler][: max(0, 2 - many)]
        assert len(shown["attempts"]) == (2 if many < 3 else 1)
        assert [name for name in LAST_TO_GO if shown.get(name)] == list(LAST_TO_GO[:many][-3:])


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


async def test_whose_it_is_does_not_show_in_how_long_it_takes(store: Store) -> None:
    receipts = Receipts(store, 1 << 20, 24)
    receipts.add(receipt("filed"))
    await receipts.flush()
    receipts.add(receipt("queued"))
    for name in ("queued", "filed", "nowhere"):
        began = time.monotonic()
        assert await receipts.find("other", name) is None
        assert time.monotonic() - began >= ELSEWHERE_SECONDS, name


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


async def walked(receipts: Receipts, most: int) -> list[str]:
    """All ids, page by page."""
    found, place = [], None
    while True:
        page = await receipts.page(most, place)
        found += [json.loads(one.json)["id"] for one in page.filed]
        assert len(page.filed) <= most
        if page.ends is None:
            return found
        place = page.ends


@pytest.mark.parametrize("most", [1, 2, 7, 100])
async def test_pages_hold_every_receipt_once_newest_first(store: Store, most: int) -> None:
    receipts, now = Receipts(store, 1 << 20, 24), int((await store.call("TIME"))[0])
    for second in range(3):
        for number in range(4):
            receipts.add(receipt(f"{second}-{number}", "local" if number % 2 else "spilled"))
        await receipts.flush()
        for kind in ("plain", "kept"):  # as if they had been filed in seconds of their own
            for place in (-2, -1):
                entry = (await store.call("LINDEX", f"gw:{{receipts}}:{kind}", place)).decode()
                dated = f"{entry.rpartition(' ')[0]} {now - 9 + second}"
                await store.call("LSET", f"gw:{{receipts}}:{kind}", place, dated)
    found = await walked(receipts, most)
    assert len(found) == len(set(found)) == 12
    assert [name[0] for name in found] == ["2"] * 4 + ["1"] * 4 + ["0"] * 4


async def test_a_page_goes_on_where_it_ended_whatever_is_filed_meanwhile(valkey: Store) -> None:
    receipts = Receipts(valkey, 1 << 20, 24)
    for number in range(6):
        receipts.add(receipt(f"old{number}", "local" if number % 3 else "spilled"))
    await receipts.flush()
    first = await receipts.page(2)
    for number in range(5):
        receipts.add(receipt(f"new{number}"))
    await receipts.flush()
    again = await receipts.page(2, first.begins)
    second = await receipts.page(10, first.ends)
    ids = [json.loads(one.json)["id"] for one in (*first.filed, *second.filed)]
    assert again.filed == first.filed
    assert sorted(ids) == [f"old{number}" for number in range(6)]
    assert second.ends is None


async def test_nothing_is_an_empty_page(valkey: Store) -> None:
    assert await Receipts(valkey, 1 << 20, 24).page(5) == ([], None, None)
    assert await Receipts(valkey, 1 << 20, 24).look("r1") is None
