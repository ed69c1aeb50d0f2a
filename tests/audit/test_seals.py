"""Each process seals what it knows of all chains, through the real store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.audit.place import audit_key, open_place
from gateway.audit.seals import HEADS_KEY, Sealer
from gateway.audit.verify import verify
from gateway.errors import StartupFault
from gateway.store.connection import Store

from .folders import KEY, OWNERS, PLACE, add, entries, findings, sealer


def sealed_heads(folder: Path, owner: str) -> list[dict[str, int]]:
    """Chain -> sealed number of lines, for each seal of that process."""
    lines = (folder / f"seals-{owner}.000001.jsonl").read_text().splitlines()
    return [{name: head[0] for name, head in json.loads(line)["heads"].items()} for line in lines]


async def test_every_process_seals_all_chains(valkey: Store, tmp_path: Path) -> None:
    chains = [entries(tmp_path, owner, 3) for owner in OWNERS]
    one, other = (
        Sealer(KEY, PLACE, chain, sealer(tmp_path, owner), valkey) for chain, owner in zip(chains, OWNERS, strict=True)
    )
    await one.seal()
    await other.seal()
    add(chains[1], 2)
    await other.seal()
    await one.seal()
    mine, others = (chain.name for chain in chains)
    assert sealed_heads(tmp_path, OWNERS[0]) == [{mine: 3}, {mine: 3, others: 5, f"seals-{OWNERS[1]}": 1}]
    assert sealed_heads(tmp_path, OWNERS[1])[1] == {mine: 3, others: 5}
    report = verify(tmp_path, KEY)
    assert (report.findings, report.unsealed) == ([], 0)


async def test_nothing_new_is_sealed_once(valkey: Store, tmp_path: Path) -> None:
    seals = Sealer(KEY, PLACE, entries(tmp_path, count=1), sealer(tmp_path), valkey)
    for _ in range(3):
        await seals.seal()
    assert len(sealed_heads(tmp_path, OWNERS[0])) == 1


async def test_without_entries_there_is_nothing_to_seal(valkey: Store, tmp_path: Path) -> None:
    await Sealer(KEY, PLACE, entries(tmp_path), sealer(tmp_path), valkey).seal()
    assert findings(tmp_path) == []
    assert not (tmp_path / f"seals-{OWNERS[0]}.000001.jsonl").exists()


async def test_while_the_store_is_away_each_seals_its_own(tmp_path: Path) -> None:
    await Sealer(KEY, PLACE, entries(tmp_path, count=2), sealer(tmp_path), Store("redis://127.0.0.1:1")).seal()
    assert sealed_heads(tmp_path, OWNERS[0]) == [{f"chain-{OWNERS[0]}": 2}]
    assert findings(tmp_path) == []


async def test_heads_that_somebody_else_put_into_the_store_are_ignored(valkey: Store, tmp_path: Path) -> None:
    await valkey.call("HSET", HEADS_KEY, f"chain-{OWNERS[1]}", f"99 {'0' * 64} {PLACE} 99999999999 {'0' * 64}")
    await valkey.call("HSET", HEADS_KEY, f"chain-{OWNERS[0]}", b"\xff junk")
    await Sealer(KEY, PLACE, entries(tmp_path, count=1), sealer(tmp_path), valkey).seal()
    assert sealed_heads(tmp_path, OWNERS[0]) == [{f"chain-{OWNERS[0]}": 1}]


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    beside = tmp_path / "data"
    key = audit_key("", beside)
    assert len(key) == 64
    assert audit_key("", beside) == key
    assert (beside / "audit.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in beside.iterdir()] == ["audit.key"]
    assert audit_key("a" * 32, beside) == b"a" * 32
    with pytest.raises(StartupFault, match="32 characters"):
        audit_key("short", beside)


def test_a_place_keeps_its_name(tmp_path: Path) -> None:
    name = open_place(tmp_path / "audit")
    assert len(name) == 16
    assert open_place(tmp_path / "audit") == name
    (tmp_path / "file").touch()
    with pytest.raises(StartupFault, match="GATEWAY_AUDIT_DIR"):
        open_place(tmp_path / "file")
