"""Several replicas on a real store: who wins when their folders differ, and what cannot move them."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import PolicyConflict, PolicyFault, StoreFault
from gateway.policy.candidate import Trial
from gateway.policy.folder import Folder
from gateway.policy.live import LivePolicy
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.versions import keeper, shelf
from gateway.versions.keeper import Versions
from gateway.versions.orders import MAX_CONTENT_BYTES, Order, Seal
from gateway.versions.shelf import KEEP, ORDER_KEY, VERSIONS_KEY
from tests.conftest import PATIENT
from tests.policy.good import ENV, GOOD

R, B = "routing.yaml", "backends.yaml"
KEY = b"shared"


class Replica:
    """One process's folder and its `Versions`; `look` is what its loop does each half second."""

    def __init__(self, place: Path, name: str, store: Store, attempts: int, key: bytes | None) -> None:
        self.folder = place / name
        if not self.folder.exists():
            self.folder.mkdir()
            for file, text in GOOD.items():
                (self.folder / file).write_text(text)
            self.edit(attempts)
        self.live = LivePolicy(self.folder, ENV)
        self.versions = Versions(store, name, self.live, None if key is None else Seal(key))

    @property
    def attempts(self) -> int:
        return self.live.current.rules[2].attempts

    def edit(self, attempts: int | str, file: str = R) -> None:
        (self.folder / file).write_text(with_attempts(attempts))

    async def look(self) -> int:
        await self.versions.look()
        return self.attempts


def with_attempts(attempts: int | str) -> str:
    return GOOD[R].replace("attempts: 2", f"attempts: {attempts}")


def bundle(attempts: int | str, **other: str) -> dict[str, bytes]:
    return {name: text.encode() for name, text in {**GOOD, R: with_attempts(attempts), **other}.items()}


class Fleet:
    def __init__(self, place: Path, store: Store) -> None:
        self.place, self.store = place, store

    async def start(self, name: str, attempts: int = 2, key: bytes | None = KEY) -> Replica:
        """A replica that has looked once, as it does before it serves; on its old folder if it lived before."""
        replica = Replica(self.place, name, self.store, attempts, key)
        await replica.look()
        return replica


@pytest.fixture
async def fleet(tmp_path: Path, valkey: Store) -> Fleet:
    return Fleet(tmp_path, valkey)


async def looks(*replicas: Replica) -> list[int]:
    return [await replica.look() for replica in replicas]


async def test_an_edit_of_one_folder_moves_all(fleet: Fleet) -> None:
    a, b, c = [await fleet.start(name) for name in "abc"]
    b.edit(5)
    assert await looks(b, a, c) == [5, 5, 5]
    assert {one.live.current.version for one in (a, b, c)} == {b.live.folder.version}
    assert a.live.behind
    assert not b.live.behind
    b.edit(6)
    assert await looks(b, a, c) == [6, 6, 6]
    a.edit(7)
    assert await looks(a, b, c) == [7, 7, 7]


async def test_folders_that_differ_do_not_take_turns(fleet: Fleet) -> None:
    """The later start brought content that nobody knew: it holds, and goes on to, whoever restarts."""
    a = await fleet.start("a", 3)
    b = await fleet.start("b", 4)
    numbers = set()
    for _ in range(5):
        assert await looks(a, b) == [4, 4]
        assert a.versions.order is not None
        numbers.add(a.versions.order.number)
    assert numbers == {2}
    assert (await fleet.start("a")).attempts == 4, "an old copy does not come back by a restart"


async def test_a_rolling_deployment_goes_forward_only(fleet: Fleet) -> None:
    old = [await fleet.start(f"old{number}", 2) for number in range(2)]
    new = await fleet.start("new", 3)
    assert await looks(*old, new) == [3, 3, 3]
    assert (await fleet.start("old0")).attempts == 3
    assert (await fleet.start("new1", 3)).attempts == 3


async def test_a_copy_that_arrives_late_is_no_step_back(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    a.edit(3)
    await looks(a, b)
    a.edit(4)
    assert await looks(a, b) == [4, 4]
    b.edit(3)  # its configuration tool is slow
    assert await looks(b, a) == [4, 4]
    b.edit(4)
    assert await looks(b, a) == [4, 4]
    assert not b.live.behind


async def test_going_back_on_purpose_is_a_change(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    a.edit(3)
    assert await looks(a, b) == [3, 3]
    a.edit(2)
    assert await looks(a, b) == [2, 2]


async def test_a_reload_puts_an_old_copy_in_force_everywhere(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    a.edit(3)
    await looks(a, b)
    assert await b.versions.reload()
    assert await looks(a, b) == [2, 2]


async def test_a_reload_holds_against_what_cannot_be_followed_here(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    b.live._env = {}
    a.edit(3)
    assert await looks(a, b) == [3, 2]
    b.live._env = ENV
    await b.versions.reload()
    assert await looks(a, b) == [2, 2]
    assert b.versions.fault is None


async def test_who_cannot_follow_takes_nobody_back(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    tried = await a.versions.roll_out(Trial("", "shadow"), bundle(7))
    b.live._env = {}
    a.edit(3)
    assert await looks(a, b) == [3, 2]
    await b.versions.end_trial(tried.policy.version)
    assert await looks(a, b) == [3, 2]
    assert a.live.candidate is None
    with pytest.raises(PolicyFault):
        await b.versions.roll_out(Trial("", "shadow"), bundle(7))
    b.live._env = ENV
    with pytest.raises(PolicyConflict, match="cannot follow"):
        await b.versions.roll_out(Trial("", "shadow"), bundle(7))


async def test_a_bad_folder_is_told_to_nobody(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    a.edit("two")
    assert await looks(a, b) == [2, 2]
    with pytest.raises(PolicyFault, match=r"routing\.yaml:19:23"):
        await a.versions.reload()
    told = await b.versions.replicas()
    assert told["a"]["faults"] == list(a.live.fault or ())
    assert told["b"]["faults"] == []


async def test_what_does_not_compile_here_changes_nothing_and_is_reported(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    told: list[tuple[str, ...] | None] = []
    b.versions.on_fault.append(told.append)
    b.live._env = {}
    a.edit(3)
    assert await looks(a, b) == [3, 2]
    assert b.versions.fault is not None
    assert "API_KEY is not set" in b.versions.fault[0]
    assert await looks(b) == [2]
    assert (await a.versions.replicas())["b"]["store_faults"] == list(b.versions.fault)
    b.live._env = ENV
    b.versions._retry_at = 0.0
    assert await looks(b) == [3]
    assert b.versions.fault is None
    assert len(told) == 2


async def test_an_order_that_is_not_sealed_by_us_moves_nobody(fleet: Fleet) -> None:
    a, stranger = await fleet.start("a"), Seal(b"stranger")
    version = "f" * 12
    await fleet.store.call("SET", ORDER_KEY, stranger.order(Order(10**9, version)))
    await fleet.store.call("HSET", VERSIONS_KEY, version, stranger.content(bundle(9)))
    assert await looks(a, a) == [2, 2]
    assert a.versions.fault is not None
    assert "cannot be trusted" in a.versions.fault[0]
    with pytest.raises(PolicyConflict):
        await a.versions.roll_out(Trial("", "shadow"), bundle(7))
    a.edit(3)
    b = await fleet.start("b")
    assert await looks(a, b) == [3, 3], "an edit replaces it"
    assert a.versions.fault is None


async def test_what_an_earlier_life_left_behind_is_no_fault(fleet: Fleet) -> None:
    """The embedded store has a key of its own for each life of the gateway: the folder holds after a restart."""
    a = await fleet.start("a", key=b"first life")
    tried = await a.versions.roll_out(Trial("", "shadow"), bundle(7))
    await a.versions.promote(tried.policy.version)
    told: list[object] = []
    again = Replica(fleet.place, "a", fleet.store, 2, b"second life")
    again.versions.on_fault.append(told.append)
    assert await looks(again) == [2]
    assert told == []


async def test_content_under_another_versions_name_is_not_taken(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    a.edit(3)
    await a.look()
    await fleet.store.call("HSET", VERSIONS_KEY, a.live.current.version, Seal(KEY).content(bundle(9)))
    assert await looks(b) == [2]
    assert b.versions.fault is not None
    assert "another version" in b.versions.fault[0]


async def test_an_older_order_played_back_is_overwritten(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    old = await fleet.store.call("GET", ORDER_KEY)
    a.edit(3)
    await looks(a, b)
    await fleet.store.call("SET", ORDER_KEY, old)
    assert await looks(b, a) == [3, 3]
    assert await fleet.store.call("GET", ORDER_KEY) != old


async def test_a_flushed_store_is_told_again(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    a.edit(3)
    await looks(a, b)
    await fleet.store.call("FLUSHALL")
    assert await looks(b, a) == [3, 3]
    assert (await fleet.start("c", 3)).attempts == 3
    assert await a.versions.stored() == [a.live.current.version]


async def test_without_a_key_each_has_its_folders_policy(fleet: Fleet) -> None:
    a, b = await fleet.start("a", 2, key=None), await fleet.start("b", 2, key=None)
    a.edit(3)
    assert await looks(a, b, a) == [3, 2, 3]
    assert not await fleet.store.call("EXISTS", ORDER_KEY, VERSIONS_KEY)
    assert {row["version"] for row in (await b.versions.replicas()).values()} == {
        a.live.current.version,
        b.live.current.version,
    }
    with pytest.raises(PolicyConflict, match="GATEWAY_POLICY_KEY"):
        await a.versions.roll_out(Trial("", "shadow"), bundle(7))


async def test_files_work_while_the_store_is_away(tmp_path: Path, own_server: Embedded) -> None:
    store = Store(own_server.url, timeout=PATIENT)
    await store.check()
    fleet = Fleet(tmp_path, store)
    a, b = await fleet.start("a"), await fleet.start("b")
    a.edit(3)
    await looks(a, b)
    own_server.stop()
    b.edit(4)
    assert await looks(b, a) == [4, 3], "b was behind: nobody can say whether its content is known, so it holds"
    a.edit(5)
    assert await looks(a) == [5]
    a.edit(6)
    assert await a.versions.reload()
    assert a.attempts == 6
    with pytest.raises(StoreFault):
        await a.versions.roll_out(Trial("", "shadow"), bundle(7))
    assert a.live.candidate is None
    await store.aclose()


async def test_the_last_versions_are_kept(fleet: Fleet) -> None:
    a = await fleet.start("a")
    for attempts in range(1, KEEP + 6):
        a.edit(attempts % 10 + 1 if attempts < 10 else 1)
        (a.folder / B).write_text(GOOD[B] + f"# {attempts}\n")
        await a.look()
    stored = await a.versions.stored()
    assert len(stored) == KEEP
    assert stored[0] == a.live.current.version
    assert len(await fleet.store.call("HKEYS", VERSIONS_KEY)) == KEEP


async def test_a_trial_is_everywhere_and_ends_everywhere(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    tried = await a.versions.roll_out(Trial("", "share", 0.05), bundle(7))
    c = await fleet.start("c")
    await looks(a, b, c)
    for one in (a, b, c):
        assert one.live.candidate is not None
        assert one.live.candidate.trial.share == 0.05
        assert one.live.candidate.policy.rules[2].attempts == 7
        assert one.attempts == 2
    await b.versions.end_trial(tried.policy.version)
    await looks(a, c)
    assert [one.live.candidate for one in (a, b, c)] == [None] * 3


async def test_a_promoted_candidate_holds_everywhere_until_a_folder_changes(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    tried = await a.versions.roll_out(Trial("", "shadow"), bundle(7))
    await b.look()
    await b.versions.promote(tried.policy.version)
    assert b.live.current.version == tried.policy.version
    assert await looks(a, b) == [7, 7]
    assert a.live.candidate is None
    assert (await fleet.start("a")).attempts == 7, "a restart does not take it back"
    b.edit(7)
    assert await looks(b) == [7]
    assert not b.live.behind
    b.edit(8)
    assert await looks(b, a) == [8, 8]


async def test_a_trial_goes_on_beside_a_new_policy_that_it_fits(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    await a.versions.roll_out(Trial("", "shadow"), bundle(7))
    await b.look()
    b.edit(3)
    await looks(b, a)
    assert a.live.candidate is not None
    (b.folder / B).write_text(GOOD[B].replace("max_num_seqs: 128", "max_num_seqs: 64"))
    await looks(b, a)
    assert a.attempts == 3
    assert a.live.candidate is None
    assert b.live.candidate is None


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (B, "http://10.20.0.12:8000/", "http://10.20.0.13:8000/"),
        (B, "networks: [10.20.0.0/16]", "networks: [10.0.0.0/8]"),
        (B, "us: {}", "us: {within: [eu]}"),
        (B, "h100-2", "h100-9"),
    ],
)
async def test_a_trial_never_changes_what_a_zone_or_an_upstream_is(fleet: Fleet, file: str, old: str, new: str) -> None:
    a = await fleet.start("a")
    with pytest.raises(PolicyConflict, match=r"backends\.yaml"):
        await a.versions.roll_out(Trial("", "shadow"), bundle(7, **{file: GOOD[file].replace(old, new)}))
    assert a.live.candidate is None


async def test_two_that_change_at_once_agree_and_no_change_is_lost(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    assert a.versions.order is not None
    before = a.versions.order.number
    a.edit(3)
    b.edit(4)
    await asyncio.gather(a.look(), b.look())
    first, second = await looks(a, b)
    assert first == second
    assert a.versions.order == b.versions.order
    assert a.versions.order is not None
    assert a.versions.order.number == before + 2, "the second one saw the first before it held"


class Interrupted:
    """The store, before whose next orders somebody else comes in."""

    def __init__(self, store: Store, others: Callable[[], Awaitable[object]], times: int) -> None:
        self._store, self._others = store, [others] * times

    async def eval(self, script: object, keys: Any, args: Any) -> Any:
        if script is shelf.ANNOUNCE and self._others:
            await self._others.pop()()
        return await self._store.eval(script, keys, args)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def interrupt(replica: Replica, others: Callable[[], Awaitable[object]], times: int = 1) -> None:
    replica.versions._shelf._store = Interrupted(replica.versions._shelf._store, others, times)  # type: ignore[assignment]


def trials(*replicas: Replica) -> list[str | None]:
    return [one.live.candidate and one.live.candidate.trial.version for one in replicas]


async def test_a_stopped_trial_does_not_come_back_with_an_edit(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    tried = await a.versions.roll_out(Trial("", "share", 0.5), bundle(7))
    await looks(a, b)
    await b.versions.end_trial(tried.policy.version)
    a.edit(3)
    assert await looks(a, b) == [3, 3]
    assert trials(a, b) == [None, None]


async def test_a_new_trial_is_not_dropped_by_an_edit_elsewhere(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    given = await b.versions.roll_out(Trial("", "shadow"), bundle(8))
    a.edit(4)
    assert await looks(a, b) == [4, 4]
    assert trials(a, b) == [given.trial.version] * 2


async def test_an_edit_that_comes_second_keeps_the_trial_that_came_first(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    begun = await b.versions.roll_out(Trial("", "shadow"), bundle(8))
    await looks(a, b)
    interrupt(a, lambda: b.versions.end_trial(begun.policy.version))
    a.edit(4)
    assert await looks(a, b) == [4, 4]
    assert trials(a, b) == [None, None]
    interrupt(a, lambda: b.versions.roll_out(Trial("", "shadow"), bundle(8)))
    a.edit(5)
    assert await looks(a, b) == [5, 5]
    assert trials(a, b) == [begun.trial.version] * 2
    assert a.live.candidate is not None
    assert a.live.candidate.trial != begun.trial, "the same candidate for a second time is another trial"


@pytest.mark.parametrize("command", ["stop", "start", "promote"])
async def test_a_command_takes_back_nobodys_edit(fleet: Fleet, command: str) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    tried = Folder(Path(), bundle(8)).version
    if command != "start":
        await b.versions.roll_out(Trial("", "shadow"), bundle(8))
    await looks(a, b)

    async def edit() -> None:
        b.edit(5)
        await b.look()

    interrupt(a, edit)
    if command == "stop":
        await a.versions.end_trial(tried)
    elif command == "start":
        await a.versions.roll_out(Trial("", "shadow"), bundle(8))
    else:
        await a.versions.promote(tried)
    assert await looks(a, b) == ([8, 8] if command == "promote" else [5, 5])
    assert [one is not None for one in trials(a, b)] == [command == "start"] * 2
    assert not b.live.fault


@pytest.mark.parametrize("command", ["stop", "promote"])
async def test_a_command_meets_the_candidate_that_was_looked_at_or_none(fleet: Fleet, command: str) -> None:
    """A colleague begins another trial between the look and the command, even between its check and the store."""
    a, b = await fleet.start("a"), await fleet.start("b")
    seen = (await a.versions.roll_out(Trial("", "shadow"), bundle(7))).policy.version
    await looks(a, b)
    act = a.versions.end_trial if command == "stop" else a.versions.promote

    interrupt(a, lambda: b.versions.roll_out(Trial("", "shadow"), bundle(8)))
    other = Folder(Path(), bundle(8)).version
    for _ in range(2):
        with pytest.raises(PolicyConflict, match=f"{seen} is not on trial: the candidate is {other} now"):
            await act(seen)
        assert await looks(a, b) == [2, 2]
        assert trials(a, b) == [other, other]
    await act(other)
    assert await looks(a, b) == ([8, 8] if command == "promote" else [2, 2])
    assert trials(a, b) == [None, None]


async def test_what_is_in_force_or_nowhere_is_not_on_trial(fleet: Fleet) -> None:
    a = await fleet.start("a")
    tried = (await a.versions.roll_out(Trial("", "shadow"), bundle(7))).policy.version
    await a.versions.promote(tried)
    for act in (a.versions.promote, a.versions.end_trial):
        with pytest.raises(PolicyConflict, match=f"nothing is; {tried} is in force"):
            await act(tried)
    await a.versions.end_trial("f" * 12)  # stopped by somebody else: that is what was wanted


@pytest.mark.parametrize(
    "row",
    [
        {"version": "f" * 12},
        {"version": "f" * 12, "folder": "f" * 12, "from": "folder", "faults": ["x"], "trial": None, "host": "old"},
        {"version": "f" * 12, "lanes": {"fast": 1}, "busy": {"waiting": 1, "flying": 2}},
    ],
    ids=["bare", "before it told how busy it is", "a newer release"],
)
async def test_a_replica_of_another_release_stays_on_the_list(fleet: Fleet, row: dict[str, Any]) -> None:
    a = await fleet.start("a")
    other = shelf.Shelf(fleet.store, "other", None)
    await other.tell(row)
    await shelf.Shelf(fleet.store, "stranger", None).tell({"of": "something else"})
    told = await a.versions.replicas()
    assert set(told) == {"a", "other"}
    assert told["other"].items() >= row.items()
    assert told["other"].keys() >= a.versions.state().keys()
    assert told["a"] == a.versions.state()


async def test_a_candidate_that_fits_no_more_is_not_promoted(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    tried = await b.versions.roll_out(Trial("", "shadow"), bundle(8))
    await looks(a, b)

    async def edit() -> None:
        (b.folder / B).write_text(GOOD[B].replace("max_num_seqs: 128", "max_num_seqs: 64"))
        await b.look()

    interrupt(a, edit)
    with pytest.raises(PolicyConflict):
        await a.versions.promote(tried.policy.version)
    assert await looks(a, b) == [2, 2]
    assert a.live.current.version == b.live.folder.version


async def test_nothing_is_promoted_where_the_order_cannot_be_followed(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    tried = await b.versions.roll_out(Trial("", "shadow"), bundle(8))
    await looks(a, b)
    a.live._env = {}
    b.edit(5)
    assert await looks(b, a) == [5, 2]
    a.live._env = ENV
    with pytest.raises(PolicyConflict, match="cannot follow"):
        await a.versions.promote(tried.policy.version)
    assert await looks(b) == [5]


async def test_who_is_interrupted_each_time_says_so(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")

    async def again() -> None:
        b.edit(3 if b.attempts != 3 else 4)
        await b.versions.reload()

    interrupt(a, again, times=keeper._TRIES)
    with pytest.raises(PolicyConflict, match="try again"):
        await a.versions.roll_out(Trial("", "shadow"), bundle(8))
    assert a.live.candidate is None


def unpackable() -> str:
    return "\n# " + base64.b64encode(os.urandom(MAX_CONTENT_BYTES * 5 // 8)).decode() + "\n"


async def test_a_folder_too_large_to_share_holds_here_and_says_so(fleet: Fleet) -> None:
    a, b = await fleet.start("a"), await fleet.start("b")
    (a.folder / R).write_text(with_attempts(9) + unpackable())
    (a.folder / B).write_text(GOOD[B] + unpackable())
    for _ in range(3):
        a.versions._retry_at = 0.0
        assert await looks(a, b) == [9, 2]
    assert a.versions.fault is not None
    assert "too much to be shared" in a.versions.fault[0]
    assert "this replica alone" in a.versions.fault[0]
    await fleet.store.call("FLUSHALL")
    for _ in range(2):
        assert await looks(a, b) == [9, 2]
    assert await fleet.store.call("EXISTS", ORDER_KEY)
    with pytest.raises(PolicyConflict):
        await a.versions.roll_out(Trial("", "shadow"), bundle(7))
    b.edit(3)
    assert await looks(b, a) == [3, 3], "the newest one holds"
    assert a.versions.fault is None
    (a.folder / R).write_text(with_attempts(9) + unpackable())
    assert await looks(a, b) == [9, 3]
    for file, text in ((R, with_attempts(4)), (B, GOOD[B])):
        (a.folder / file).write_text(text)
    assert await looks(a, b) == [4, 4]
    assert a.versions.fault is None


async def test_a_condition_that_cannot_be_compiled_is_a_fault_of_the_folder(fleet: Fleet) -> None:
    a = await fleet.start("a")
    bad = "rules:\n  - name: odd\n    match: {when: '{fleet.load: 1}'}\n    route: {backends: [h100]}\n"
    (a.folder / R).write_text(GOOD[R].replace("rules:\n", bad, 1))
    assert await looks(a) == [2]
    assert a.live.fault is not None
    assert "a key of a map" in a.live.fault[0]


async def test_the_tally_told_is_of_the_trial(fleet: Fleet) -> None:
    asked: list[Trial] = []
    a = await fleet.start("a")

    def tally(trial: Trial) -> dict[str, object]:
        asked.append(trial)
        return {"same": len(asked)}

    a.versions._tally = tally
    first = await a.versions.roll_out(Trial("", "shadow"), bundle(7))
    a.versions.state()
    second = await a.versions.roll_out(Trial("", "shadow"), bundle(7))
    a.versions.state()
    assert asked[-1] == second.trial
    assert first.trial in asked
    assert first.trial.version == second.trial.version
    assert first.trial != second.trial


def test_a_look_is_often_enough() -> None:
    """Two looks and two compilations have to fit into the two seconds that all replicas have."""
    assert 2 * keeper.INTERVAL_SECONDS <= 1.0
