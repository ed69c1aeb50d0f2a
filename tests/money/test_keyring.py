"""Keys that are made at run time, on two replicas that share a real store."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import InvalidKey, KeyConflict, StoreFault
from gateway.model import IssuedKey, Policy, Tenant
from gateway.money import key_shelf, keyring
from gateway.money.key_shelf import CHANNEL, KEYS, MOST_KEYS, KeyShelf
from gateway.money.keyring import FORGET_SECONDS, INTERVAL_SECONDS, MOST_FAULTS, SLICE, Keyring
from gateway.policy.issued import granted
from gateway.routing.quotas import all_quotas
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.store.sealing import Sealing
from tests.conftest import PATIENT
from tests.polling import until
from tests.worlds import policy

ISSUED, CHANGES, STATE = KEYS
NOW = time.time()
MADE = replace(policy(), tenants={"acme": Tenant("acme")})
SEAL = Sealing(b"under the pepper", "GATEWAY_KEY_PEPPER")


def hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def key(id: str = "ci", **more: object) -> IssuedKey:
    return IssuedKey(**{"id": id, "tenant": "acme", "hash": hashed(id), "created": time.time(), **more})  # type: ignore[arg-type]


def ring_on(store: Store, seal: Sealing = SEAL) -> Keyring:
    return Keyring(KeyShelf(store, seal), granted)


async def change(ring: Keyring, id: str = "ci", **more: object) -> None:
    """As the admin API does: from what is known to what it is to be."""
    was = ring.keys[id]
    await ring.put(replace(was, serial=was.serial + 1, **more), was)  # type: ignore[arg-type]


def opens(ring: Keyring, id: str = "ci", under: Policy = MADE) -> bool:
    try:
        return ring.tenant(under, hashed(id)) is not None
    except InvalidKey:
        return False


@pytest.fixture
async def two(valkey: Store) -> tuple[Keyring, Keyring]:
    """Both have looked, as before they serve; neither runs."""
    rings = ring_on(valkey), ring_on(valkey)
    for ring in rings:
        await ring.look()
    return rings


async def test_a_key_that_one_replica_makes_opens_at_the_other_after_a_look(two: tuple[Keyring, Keyring]) -> None:
    a, b = two
    await a.put(key())
    assert opens(a)
    assert not opens(b)
    await b.look()
    assert opens(b)
    made = b.tenant(MADE, hashed("ci"))
    assert made is not None
    assert (made.name, made.key) == ("acme", "ci")


@pytest.mark.parametrize("heard", [True, False])
async def test_what_is_revoked_is_so_everywhere_within_a_second(
    embedded: Embedded, two: tuple[Keyring, Keyring], heard: bool
) -> None:
    """By the channel at once; where that fails, at the next look."""
    a, b = two
    store = Store(embedded.url, timeout=PATIENT)
    ears = store.subscription(CHANNEL, b.woken, b.woken)
    tasks = [asyncio.create_task(b.run()), *([asyncio.create_task(ears.run())] if heard else [])]
    try:
        await a.put(key())
        await until(lambda: opens(b))
        began = time.monotonic()
        await change(a, revoked=time.time())
        await until(lambda: not opens(b), 1.0)
        assert time.monotonic() - began < (INTERVAL_SECONDS if heard else 2 * INTERVAL_SECONDS)
        with pytest.raises(InvalidKey, match="revoked"):
            b.tenant(MADE, hashed("ci"))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.aclose()


async def test_without_the_store_the_last_copy_stays_and_nothing_new_is_made(own_server: Embedded) -> None:
    store = Store(own_server.url, timeout=PATIENT)
    await store.check()
    ring = ring_on(store)
    await ring.put(key())
    own_server.stop()
    await until(lambda: store.degraded)
    with pytest.raises(StoreFault):
        await ring.look()
    assert opens(ring)
    with pytest.raises(StoreFault):
        await ring.put(key("other"))
    assert not opens(ring, "other")
    await store.aclose()


async def test_without_the_store_a_key_is_revoked_here_and_everywhere_when_it_is_back(tmp_path: Path) -> None:
    server = Embedded.start(tmp_path)
    stores = [Store(server.url, timeout=PATIENT) for _ in range(2)]
    a, b = (ring_on(store) for store in stores)
    heard: list[int] = []
    a.on_change.append(lambda: heard.append(1))
    try:
        for store in stores:
            await store.check()
        await a.put(key())
        await b.look()
        server.stop()
        await until(lambda: all(store.degraded for store in stores))
        for _ in range(2):
            with pytest.raises(StoreFault):
                await a.revoke("ci")
            assert not opens(a)
        assert len(heard) == 2
        assert opens(b), "it cannot know"
        server = Embedded.start(tmp_path)
        await until(lambda: not any(store.degraded for store in stores))
        await b.look()
        await change(b, hash=hashed("new"))
        await a.look()
        await b.look()
        assert b.keys["ci"].revoked == a.keys["ci"].revoked is not None
    finally:
        for store in stores:
            await store.aclose()
        server.stop()


async def test_what_is_revoked_while_another_replica_changes_it_is_revoked(two: tuple[Keyring, Keyring]) -> None:
    a, b = two
    await a.put(key())
    await b.look()
    await change(a, hash=hashed("new"))
    await change(a, hash=hashed("newer"))
    told = await b.revoke("ci")
    await a.look()
    assert a.keys["ci"].revoked == told.revoked is not None


async def test_what_is_revoked_while_it_is_rotated_or_put_back_is_revoked(
    valkey: Store, two: tuple[Keyring, Keyring]
) -> None:
    a, b = two
    await a.put(key())
    await asyncio.gather(change(a, hash=hashed("new")), a.revoke("ci"))
    await b.look()
    assert b.keys["ci"].revoked
    await a.put(key("two"))
    await valkey.call("FLUSHALL")
    await asyncio.gather(a.look(), a.revoke("two"))
    await b.look()
    assert b.keys["two"].revoked


async def test_a_flushed_store_gets_its_keys_back_and_a_revoked_one_stays_so(
    valkey: Store, two: tuple[Keyring, Keyring]
) -> None:
    a, b = two
    await a.put(key())
    await a.put(key("bad", serial=2, revoked=NOW))
    await valkey.call("FLUSHALL")
    await a.look()
    await b.look()
    assert (opens(b), opens(b, "bad"), b.keys["bad"].revoked) == (True, False, NOW)


async def test_a_revoked_key_is_not_opened_by_its_older_entry(valkey: Store, two: tuple[Keyring, Keyring]) -> None:
    """Whoever can write to the store plays back what was there before."""
    a, b = two
    await a.put(key())
    before = await valkey.call("HGET", ISSUED, "ci")
    await change(a, revoked=NOW)
    await b.look()
    await valkey.call("HSET", ISSUED, "ci", before)
    await valkey.call("ZADD", CHANGES, 10**6, "ci")
    for ring in two:
        await ring.look()
        assert not opens(ring)
    a._whole_at = float("-inf")
    await a.look()
    newcomer = ring_on(valkey)
    await newcomer.look()
    assert not opens(newcomer)


@pytest.mark.parametrize("numbered", [True, False])
async def test_who_can_write_to_the_store_makes_no_key(
    valkey: Store, two: tuple[Keyring, Keyring], numbered: bool
) -> None:
    a, b = two
    await a.put(key())
    sealed = await valkey.call("HGET", ISSUED, "ci")
    forged = {
        "own": Sealing(b"another pepper", "")
        .close(b"issued key", sealed[64:].replace(hashed("ci").encode(), hashed("own").encode())),
        "moved": sealed,
        "changed": sealed.replace(b'"acme"', b'"best"'),
        "junk": b"\xff\x00",
    }  # fmt: skip
    for id, content in forged.items():
        await valkey.call("HSET", ISSUED, id, content)
        if numbered:
            await valkey.call("ZADD", CHANGES, 1000, id)
    b._whole_at = b._whole_at if numbered else float("-inf")
    await b.look()
    assert b.faults.keys() == forged.keys()
    assert b.keys.keys() == {"ci"}
    assert not opens(b, "own")
    await valkey.call("HDEL", ISSUED, *forged)
    b._whole_at = float("-inf")
    await b.look()
    assert not b.faults


async def test_a_store_full_of_junk_is_one_line_and_blocks_no_key(
    valkey: Store, two: tuple[Keyring, Keyring], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_shelf, "MOST_READ", 2000)
    monkeypatch.setattr(keyring, "MOST_KEYS", 2)
    a, _ = two
    await a.put(key())
    for number in range(8):
        junk = (part for row in range(1000) for part in (f"junk-{number}-{row}", "x"))
        await valkey.call("HSET", ISSUED, *junk)
    a._whole_at = float("-inf")
    await a.look()
    (line,) = (record for record in caplog.records if record.name == "gateway" and record.levelname == "ERROR")
    assert line.__dict__["fields"] == {"entries": len(a._bad), "fault": "not sealed with our GATEWAY_KEY_PEPPER"}
    assert 2000 <= len(a._bad) < 3000
    assert len(a.faults) == MOST_FAULTS
    assert not a._due(), "it is not read again and again"
    await a.put(key("more"))
    assert opens(a, "more")
    assert await valkey.call("HLEN", ISSUED) == 8002, "under another pepper they may be keys"


async def test_a_key_that_somebody_spoils_in_the_store_stays_good_and_is_put_back(
    valkey: Store, two: tuple[Keyring, Keyring]
) -> None:
    a, b = two
    await a.put(key())
    await valkey.call("HSET", ISSUED, "ci", "x")
    a._whole_at = float("-inf")
    await a.look()
    assert opens(a)
    assert not a.faults
    await b.look()
    assert opens(b)


SPOILED = {
    "number": ("HSET", STATE, "number", "abc"),
    "broken number": ("HSET", STATE, "number", "1.5"),
    "greatest number": ("HSET", STATE, "number", str(2**63 - 1)),
    "no epoch": ("HDEL", STATE, "epoch"),
    "state": ("SET", STATE, "x"),
    "changes": ("SET", CHANGES, "x"),
    "keys": ("SET", ISSUED, "x"),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_who_can_write_to_the_store_stops_no_revocation(
    valkey: Store, two: tuple[Keyring, Keyring], name: str
) -> None:
    a, b = two
    await a.put(key())
    await b.look()
    if SPOILED[name][0] == "SET":
        await valkey.call("DEL", SPOILED[name][1])
    await valkey.call(*SPOILED[name])
    for _ in range(2):
        await a.look()
    await change(a, revoked=NOW)
    await b.look()
    assert not opens(b)
    newcomer = ring_on(valkey)
    await newcomer.look()
    assert newcomer.keys["ci"].revoked == NOW


async def test_a_change_that_the_store_refuses_is_not_half_written(valkey: Store, two: tuple[Keyring, Keyring]) -> None:
    a, _ = two
    await a.put(key())
    before = await valkey.call("HGET", ISSUED, "ci")
    await valkey.call("HSET", STATE, "number", "abc")
    with pytest.raises(StoreFault):
        await change(a, revoked=NOW)
    assert await valkey.call("HGET", ISSUED, "ci") == before


async def test_two_who_change_one_key_at_once_do_not_undo_each_other(two: tuple[Keyring, Keyring]) -> None:
    a, b = two
    await a.put(key())
    await b.look()
    await change(a, revoked=NOW)
    with pytest.raises(KeyConflict, match="at the same time"):
        await change(b, hash=hashed("new"))
    await b.look()
    assert not opens(b)


@pytest.mark.parametrize("heard", [False, True])
async def test_what_is_made_of_an_older_state_undoes_nothing(two: tuple[Keyring, Keyring], heard: bool) -> None:
    """A rotation and a revocation that begin together: at one replica, or at one that looks between the two."""
    a, b = two
    await a.put(key())
    await b.look()
    ring = b if heard else a
    was = ring.keys["ci"]
    await change(a, revoked=NOW)
    await ring.look()
    with pytest.raises(KeyConflict, match="at the same time"):
        await ring.put(replace(was, serial=2, hash=hashed("new")), was)
    for one in two:
        await one.look()
        assert one.keys["ci"].revoked == NOW


async def test_of_two_who_make_a_key_of_one_id_one_is_told_so(two: tuple[Keyring, Keyring]) -> None:
    a, b = two
    made = await asyncio.gather(a.put(key()), a.put(key(tenant="other")), return_exceptions=True)
    assert [type(one) for one in made] == [type(None), KeyConflict]
    with pytest.raises(KeyConflict):
        await b.put(key(tenant="other"))
    await b.look()
    assert b.keys["ci"].tenant == "acme"


async def test_the_secret_before_is_good_for_its_grace_alone(two: tuple[Keyring, Keyring]) -> None:
    a, _ = two
    until_then = time.time() + 60
    await a.put(key(hash=hashed("new"), old_hash=hashed("ci"), old_until=until_then, expires=None))
    old, new = a.tenant(MADE, hashed("ci")), a.tenant(MADE, hashed("new"))
    assert old is not None
    assert new is not None
    assert (old.expires, new.expires, old.key) == (until_then, None, new.key)


async def test_keys_come_in_pages_and_no_more_than_there_may_be(
    monkeypatch: pytest.MonkeyPatch, two: tuple[Keyring, Keyring]
) -> None:
    monkeypatch.setattr(key_shelf, "PAGE", 2)
    monkeypatch.setattr(keyring, "MOST_KEYS", 5)
    monkeypatch.setattr(keyring, "MOST_ROWS", 6)
    a, b = two
    for number in range(5):
        await a.put(key(f"k{number}"))
    while len(b.keys) < 5:
        before = len(b.keys)
        await b.look()
        assert len(b.keys) > before
    with pytest.raises(KeyConflict, match="5 keys already"):
        await a.put(key("k5"))
    await change(a, "k0", revoked=NOW)
    await a.put(key("k5"))
    await change(a, "k1", revoked=NOW)
    with pytest.raises(KeyConflict, match="6 keys already"):
        await a.put(key("k6"))


async def test_a_flushed_store_gets_back_more_than_one_look_can_bring(
    monkeypatch: pytest.MonkeyPatch, valkey: Store, two: tuple[Keyring, Keyring]
) -> None:
    monkeypatch.setattr(keyring, "PUT_BACK", 2)
    a, _ = two
    for number in range(5):
        await a.put(key(f"k{number}"))
    await valkey.call("FLUSHALL")
    for _ in range(3):
        await a.look()
    assert await valkey.call("HLEN", ISSUED) == 5


def long_after(ring: Keyring) -> None:
    ring._now = lambda: time.time() + FORGET_SECONDS + 120
    ring._whole_at = float("-inf")


async def test_what_expired_long_ago_is_forgotten(valkey: Store) -> None:
    ring = ring_on(valkey)
    await ring.put(key(expires=time.time() + 60))
    await ring.put(key("lasting"))
    long_after(ring)
    await ring.look()
    assert ring.keys.keys() == {"lasting"}
    assert await valkey.call("HKEYS", ISSUED) == [b"lasting"]


@pytest.mark.parametrize("expires", [None, time.time() + 2 * FORGET_SECONDS], ids=["lasting", "ending"])
async def test_a_key_that_was_revoked_long_ago_is_not_opened_by_its_older_entry(
    valkey: Store, expires: float | None
) -> None:
    ring = ring_on(valkey)
    await ring.put(key(expires=expires))
    before = await valkey.call("HGET", ISSUED, "ci")
    await change(ring, revoked=NOW)
    long_after(ring)
    await ring.look()
    await valkey.call("HSET", ISSUED, "ci", before)
    long_after(ring)
    await ring.look()
    assert not opens(ring)
    newcomer = ring_on(valkey)
    await newcomer.look()
    assert not opens(newcomer)


async def test_an_id_that_is_given_again_is_not_closed_by_an_entry_of_the_key_before(valkey: Store) -> None:
    ring = ring_on(valkey)
    await ring.put(key(expires=time.time() + 60))
    await change(ring, revoked=NOW)
    before = await valkey.call("HGET", ISSUED, "ci")
    long_after(ring)
    await ring.look()
    await ring.put(key())
    await valkey.call("HSET", ISSUED, "ci", before)
    long_after(ring)
    await ring.look()
    assert opens(ring)
    assert await valkey.call("HGET", ISSUED, "ci") != before


@pytest.mark.parametrize("serial", [2, 9])
async def test_revoked_is_for_good_whatever_else_was_changed_after_a_split(
    two: tuple[Keyring, Keyring], valkey: Store, serial: int
) -> None:
    a, b = two
    await a.put(key())
    await b.look()
    await change(a, revoked=NOW)
    revoked = await valkey.call("HGET", ISSUED, "ci")
    _, rotated = await KeyShelf(valkey, SEAL).put(key(serial=serial, hash=hashed("new")), revoked)
    for ring in two:
        ring._whole_at = float("-inf")
        await ring.look()
    assert await valkey.call("HGET", ISSUED, "ci") != rotated
    newcomer = ring_on(valkey)
    await newcomer.look()
    assert newcomer.keys["ci"].revoked == NOW


async def test_without_a_pepper_there_are_no_such_keys() -> None:
    ring = Keyring(None, granted)
    await ring.look()
    with pytest.raises(KeyConflict, match="GATEWAY_KEY_PEPPER"):
        await ring.put(key())


async def test_whoever_remembers_callers_hears_of_each_change_and_of_nothing_else(two: tuple[Keyring, Keyring]) -> None:
    a, b = two
    heard: list[int] = []
    b.on_change.append(lambda: heard.append(len(b.keys)))
    await b.look()
    await a.put(key())
    await b.look()
    await b.look()
    assert heard == [1]


async def test_budgets_of_keys_made_at_run_time_are_among_those_that_are_looked_at(valkey: Store) -> None:
    ring = ring_on(valkey)
    await ring.put(key("plain"))
    await ring.put(key(terms='{"budgets": [{"usd": 5, "per": "day"}]}'))
    (bounded,) = made = await ring.tenants(MADE)
    assert [one.name for one in bounded.quotas] == ["key acme/ci: usd per day"]
    assert bounded.quotas[0] in all_quotas(MADE, made)
    assert await ring.tenants(MADE) is made
    await ring.put(key("another"))
    assert (await ring.tenants(MADE))[0] is bounded
    assert await ring.tenants(replace(MADE, tenants={})) == ()
    await change(ring, revoked=NOW)
    assert await ring.tenants(MADE) == ()


async def test_ten_thousand_bounded_keys_leave_the_loop_to_others_between_slices() -> None:
    worked = 0

    def grant(_policy: Policy, key: IssuedKey) -> Tenant:
        nonlocal worked
        worked += 1
        return Tenant("acme", key=key.id)

    ring = Keyring(None, grant)
    ring.keys = {f"k{number}": key(f"k{number}", terms='{"limits": {}}') for number in range(MOST_KEYS)}
    running = asyncio.create_task(ring.tenants(MADE))
    most = 0
    while not running.done():
        before = worked
        await asyncio.sleep(0)
        most = max(most, worked - before)
    assert len(running.result()) == worked == MOST_KEYS
    assert most <= SLICE
    await ring.tenants(MADE)
    assert worked == MOST_KEYS


def test_no_repr_shows_a_hash() -> None:
    assert hashed("ci") not in repr(key(old_hash=hashed("ci")))


async def test_without_a_shelf_news_do_not_keep_the_loop_busy() -> None:
    """Or nothing else would ever run: this test would not end."""
    ring = Keyring(None, granted)
    ring.woken()
    running = asyncio.create_task(ring.run())
    await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
