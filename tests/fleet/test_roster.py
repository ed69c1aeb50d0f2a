"""The roster on a real store: who is registered, who may say so, who is drained, and what is forgotten."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.fleet import roster as module
from gateway.fleet.roster import KEYS, Refused, Registered, Registration, Roster
from gateway.model import Member
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.conftest import PATIENT
from tests.polling import until

ONE = Registration("gpu", "http://10.0.0.9:8000", ("10.0.0.9",), 8000)
OTHER = Registration("gpu", "http://10.0.0.8:8000", ("10.0.0.8",), 8000)
TTL = 30.0


def roster(store: Store, *found: str) -> Roster:
    names, written = list(found), set[str]()
    made = Roster(store, lambda: names, lambda: written, lambda: None)
    made.names, made.written = names, written  # type: ignore[attr-defined]
    return made


async def registered(made: Roster, name: str = "w", one: Registration = ONE, **given: Any) -> Registered:
    told = await made.register(name, one, given.get("ttl", TTL), given.get("ticket"))
    assert isinstance(told, Registered)
    return told


async def test_a_registration_is_seen_by_every_replica(store: Store) -> None:
    here, there = roster(store), roster(store)
    told = await registered(here)
    assert not told.renewed
    assert told.ticket is not None
    await there.look()
    expected = (Member("gpu", "registration", ONE.url, ONE.addresses, 8000, "w"),)
    assert here.members == there.members == expected
    assert told.ticket.encode() not in b"".join(await store.call("HVALS", KEYS[0]))


@pytest.mark.parametrize(
    ("name", "one", "ticketed", "told"),
    [
        ("w", ONE, False, Registered(True, None)),
        ("w", OTHER, False, Refused("name")),
        ("w", OTHER, True, "renewed"),
        ("x", ONE, False, Refused("place", "w")),
        ("x", ONE, True, Refused("place", "w")),
        ("x", OTHER, False, "new"),
    ],
)
async def test_a_liar_takes_neither_name_nor_place_of_another(
    valkey: Store, name: str, one: Registration, ticketed: bool, told: Any
) -> None:
    made = roster(valkey)
    ticket = (await registered(made)).ticket
    answer = await made.register(name, one, TTL, ticket if ticketed else None)
    if isinstance(told, str):
        assert isinstance(answer, Registered)
        assert answer.renewed is (told == "renewed")
    else:
        assert answer == told


@pytest.mark.parametrize(
    "claim",
    [
        Registration("spare", ONE.url, ONE.addresses, 8000),
        Registration("gpu", "https://10.0.0.9:8000", ONE.addresses, 8000),
    ],
)
async def test_without_its_ticket_nobody_moves_a_worker_that_stays_where_it_is(
    valkey: Store, claim: Registration
) -> None:
    made = roster(valkey)
    ticket = (await registered(made)).ticket
    assert await made.register("w", claim, TTL, None) == Refused("name")
    assert made.members == (ONE.member("w"),)
    await registered(made, "w", claim, ticket=ticket)
    assert made.members == (claim.member("w"),)


async def test_without_its_ticket_nobody_cuts_a_worker_short(valkey: Store) -> None:
    async def lasts() -> int:
        return int((await valkey.call("HGET", KEYS[0], "w")).split(b" ")[0])

    made = roster(valkey)
    ticket = (await registered(made, ttl=TTL)).ticket
    first = await lasts()
    await registered(made, ttl=TTL / 10)
    assert await lasts() == first
    await registered(made, ttl=TTL * 2)
    assert await lasts() > first, "one that was killed and comes back says so without its ticket"
    await registered(made, ttl=TTL / 10, ticket=ticket)
    assert await lasts() < first


async def test_a_place_that_was_left_for_another_is_free(valkey: Store) -> None:
    made = roster(valkey)
    ticket = (await registered(made)).ticket
    await registered(made, "w", OTHER, ticket=ticket)
    assert (await registered(made, "x", ONE)).renewed is False
    assert {one.name: one.url for one in made.members} == {"w": OTHER.url, "x": ONE.url}


async def test_who_may_make_a_worker_leave(valkey: Store) -> None:
    made = roster(valkey)
    ticket = (await registered(made)).ticket
    assert await made.leave("w", "not-its-ticket") is None
    assert len(made.members) == 1
    assert await made.leave("w", ticket) is True
    assert await made.leave("w", ticket) is False
    await registered(made)
    assert await made.leave("w", None) is True
    assert made.members == ()
    assert await valkey.call("EXISTS", KEYS[0], KEYS[1]) == 0


async def test_after_its_time_it_is_gone_with_its_name_and_its_place(valkey: Store) -> None:
    made = roster(valkey)
    first = await registered(made, ttl=0.05)
    assert first.ticket is not None

    await until_gone(made)
    assert await valkey.call("EXISTS", KEYS[0], KEYS[1]) == 0
    await registered(made, "x", ONE)
    again = await made.register("w", OTHER, TTL, first.ticket)
    assert again == Registered(False, first.ticket), "it keeps its ticket"


async def until_gone(made: Roster) -> None:
    async with asyncio.timeout(5):
        while made.members:
            await made.look()


async def test_there_are_no_more_registrations_than_fit(valkey: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REGISTERED", 1)
    made = roster(valkey)
    await registered(made)
    assert await made.register("x", OTHER, TTL, None) == Refused("full")
    assert (await registered(made)).renewed


async def test_a_drain_holds_on_all_replicas_until_it_is_undone(store: Store) -> None:
    here, there = roster(store), roster(store)
    await here.drain("w1", "a fan is broken")
    await here.drain("w1", "said again")
    await there.look()
    for made in (here, there):
        assert made.drained["w1"].reason == "a fan is broken"
        assert made.drained["w1"].at > 1e9
    assert await there.undrain("w1") is True
    assert await there.undrain("w1") is False
    await here.look()
    assert here.drained == {}


async def test_when_a_worker_joined_is_the_same_for_all_and_begins_anew_after_it_was_gone(
    valkey: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(module, "GONE_MS", 50)
    here, there = roster(valkey, "w"), roster(valkey, "w")
    assert here.joined("w") is None
    await here.look()
    await there.look()
    first = here.joined("w")
    assert first == there.joined("w") is not None
    await asyncio.sleep(0.1)
    await here.look()
    assert here.joined("w") == first, "who kept it says since when it is there"
    newcomer, other = roster(valkey, "w"), roster(valkey)
    left = time.monotonic()
    while time.monotonic() - left < 0.1:
        await other.look()
    await newcomer.look()
    assert newcomer.joined("w") != first, "nobody had it for a while"


async def test_of_a_found_worker_that_is_gone_for_good_nothing_is_remembered(
    valkey: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TELL_SECONDS", 0.0)
    made = roster(valkey, "found")
    await made.look()
    await made.drain("found", "")
    await made.drain("written-down", "")
    made.names.clear()  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "FORGET_MS", 1)
    await asyncio.sleep(0.01)
    await made.look()
    await made.look()
    assert made.drained.keys() == {"written-down"}
    assert await valkey.call("EXISTS", "gw:{roster}:joined", "gw:{roster}:seen") == 0


async def test_while_nobody_looks_nobody_has_left(valkey: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GONE_MS", 300)
    before = roster(valkey, "found")
    await before.look()
    await before.drain("found", "why")
    joined = before.joined("found")
    await asyncio.sleep(0.6)  # all gateways are down
    monkeypatch.setattr(module, "FORGET_MS", 500)
    after = roster(valkey)
    await after.look()
    assert "found" in after.drained, "its finders have not had the time to find it again"
    after.names.append("found")  # type: ignore[attr-defined]
    await after.look()
    assert after.joined("found") == joined
    after.names.clear()  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        while after.drained:
            await after.look()


async def test_a_found_worker_that_is_written_down_stays_drained(
    valkey: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = roster(valkey, "found")
    await made.look()
    await made.drain("found", "why")
    made.names.clear()  # type: ignore[attr-defined]
    made.written.add("found")  # type: ignore[attr-defined]
    await made.look()
    monkeypatch.setattr(module, "FORGET_MS", 1)
    await asyncio.sleep(0.01)
    await made.look()
    await made.look()
    assert "found" in made.drained
    assert await valkey.call("EXISTS", "gw:{roster}:joined", "gw:{roster}:seen") == 0


async def test_a_flush_takes_neither_workers_nor_drains(valkey: Store) -> None:
    made = roster(valkey, "found")
    await registered(made)
    await made.drain("w1", "why")
    joined = made.joined("found")
    await valkey.call("FLUSHALL")
    await made.look()
    assert [one.name for one in made.members] == ["w"], "it may say that it is still there"
    assert made.drained["w1"].reason == "why"
    assert int(await valkey.call("HLEN", "gw:{roster}:drained")) == 1
    other = roster(valkey)
    await other.look()
    assert other.drained == made.drained
    made._told_at = 0.0
    await made.look()
    assert made.joined("found") == joined


async def test_who_could_not_say_so_is_forgiven_for_a_while_and_no_longer(
    valkey: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FORGIVE_SECONDS", 0.2)
    made = roster(valkey)
    await registered(made)
    await valkey.call("FLUSHALL")
    await made.look()
    assert len(made.members) == 1
    await until_gone(made)
    await registered(made)
    await valkey.call("FLUSHALL")
    await made.look()
    assert await made.leave("w", None) is False
    assert made.members == (), "an operator means it"


async def test_a_drain_survives_a_restart_of_everything(own_server: Embedded, tmp_path: Path) -> None:
    for server in (own_server, None):
        running = server or Embedded.start(tmp_path / "store")
        store = Store(running.url, timeout=PATIENT)
        await store.check()
        made = roster(store)
        if server is not None:
            await made.drain("w1", "why")
        await made.look()
        assert made.drained["w1"].reason == "why"
        await store.aclose()
        running.stop()


async def test_while_the_store_is_away_what_was_seen_last_stays(own_server: Embedded) -> None:
    store = Store(own_server.url, timeout=PATIENT)
    await store.check()
    made = roster(store)
    await registered(made, ttl=0.2)
    await made.drain("w1", "")
    own_server.stop()
    await until(lambda: store.degraded)
    await made.look()
    assert len(made.members) == 1
    assert "w1" in made.drained
    await store.aclose()


async def test_what_another_version_wrote_is_passed_over(valkey: Store) -> None:
    made = roster(valkey)
    await registered(made)
    await valkey.call("HSET", KEYS[0], "odd", f"{10**15} t 10.0.0.1:1 not-json")
    await valkey.call("HSET", KEYS[4], "odd", "no-number")
    await made.look()
    assert [one.name for one in made.members] == ["w"]
    assert made.drained == {}


async def test_ten_thousand_workers_that_came_and_went_leave_nothing_behind(
    valkey: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found ones by the hundred, each wave seen once; registered ones one by one."""
    monkeypatch.setattr(module, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(module, "FORGET_MS", 1)
    made = roster(valkey)
    for wave in range(95):
        made.names[:] = [f"w-{wave}-{number}" for number in range(100)]  # type: ignore[attr-defined]
        await made.look()
    for number in range(500):
        one = replace_port(number)
        await registered(made, f"r-{number}", one, ttl=0.001)
    made.names.clear()  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        while await valkey.call("EXISTS", *KEYS[:5]):
            await made.look()
    assert made.members == ()
    assert (made.drained, made.joined("w-94-1")) == ({}, None)


async def test_a_heartbeat_does_not_read_the_roster(valkey: Store) -> None:
    async def read_by(*beats: Any) -> int:
        await valkey.call("CONFIG", "RESETSTAT")
        for beat in beats:
            await beat
        rows = (await valkey.call("INFO", "commandstats")).decode().splitlines()
        return sum(int(row.split("calls=")[1].split(",")[0]) for row in rows if row.startswith("cmdstat_hgetall"))

    made = roster(valkey)
    ticket = (await registered(made)).ticket
    await registered(made, "x", OTHER)
    x = made.members[1]
    assert await read_by(registered(made, ticket=ticket), registered(made)) == 0
    assert await read_by(registered(made, "w", replace_port(1), ticket=ticket)) > 0
    assert {one.name: one.port for one in made.members} == {"w": 1, "x": 8000}
    assert await read_by(registered(roster(valkey), "x", OTHER)) > 0, "that replica has not seen it yet"
    assert made.members[1] is x, "what has not changed is not read again"


def replace_port(number: int) -> Registration:
    return Registration("gpu", f"http://10.0.0.9:{number}", ("10.0.0.9",), number)
