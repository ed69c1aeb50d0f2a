"""Each process seals what it knows of all chains, through the real store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.audit.chain import Chain
from gateway.audit.lines import ends, fields_of, part_path, sign
from gateway.audit.place import audit_key, open_place, read_key
from gateway.audit.seals import HEADS_KEY, Sealer
from gateway.audit.verify import verify
from gateway.background import keep_running
from gateway.errors import StartupFault
from gateway.store.connection import Store

from .folders import KEY, OWNERS, PLACE, add, entries, findings, seal, sealer


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


@pytest.mark.parametrize("name", [b"\xff\xfe", b"chain-1 x", b"trims", b"chain-00000000000b\n"])
async def test_a_name_that_is_none_of_ours_stops_no_seal(valkey: Store, tmp_path: Path, name: bytes) -> None:
    await valkey.call("HSET", HEADS_KEY, name, "x")
    await Sealer(KEY, PLACE, entries(tmp_path, count=1), sealer(tmp_path), valkey).seal()
    assert sealed_heads(tmp_path, OWNERS[0]) == [{f"chain-{OWNERS[0]}": 1}]


async def test_a_sealer_that_fails_can_be_stopped(
    valkey: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A row of another version stands for whatever nobody thought of: the process ends when it is told to."""
    monkeypatch.setattr("gateway.audit.seals.SEAL_SECONDS", 0.05)
    monkeypatch.setattr("gateway.background.RESTART_SECONDS", 0.0)
    name = f"chain-{OWNERS[1]}"
    await valkey.call("HSET", HEADS_KEY, name, f"x {sign(KEY, f'{name} x'.encode())}")
    task = asyncio.create_task(
        keep_running(Sealer(KEY, PLACE, entries(tmp_path, count=1), sealer(tmp_path), valkey).run)
    )
    async with asyncio.timeout(5):
        while not caplog.records:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def test_the_first_seal_holds_what_lay_in_the_folder(valkey: Store, tmp_path: Path) -> None:
    """An earlier life's chain and seals, and the trims: cut short later, they are found."""
    old, seals, trims = entries(tmp_path, count=8), sealer(tmp_path), Chain(KEY, tmp_path, "trims")
    seal(seals, old)
    add(old, 2)
    trims.append(fields_of(at=1.0, before=1.0, trimmed="chain-00000000000c", upto=1, head="0" * 64))
    for chain in (old, seals, trims):
        chain.close()
    found = ends(KEY, tmp_path, PLACE)
    assert {name: head.n for name, head in found.items()} == {old.name: 10, seals.name: 1, "trims": 1}
    new = Sealer(KEY, PLACE, entries(tmp_path, OWNERS[1]), sealer(tmp_path, OWNERS[1]), valkey, found)
    for _ in range(2):
        await new.seal()
    assert sealed_heads(tmp_path, OWNERS[1]) == [{old.name: 10, seals.name: 1, "trims": 1}]
    for chain in (old, seals, trims):
        path = part_path(tmp_path, chain.name, 1)
        raw = path.read_bytes()
        path.write_bytes(b"".join(raw.splitlines(keepends=True)[:-1]))
        assert any("missing after it" in said for said in findings(tmp_path))
        path.unlink()
        assert any("no such file" in said for said in findings(tmp_path))
        path.write_bytes(raw)
    assert findings(tmp_path) == []


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


@pytest.mark.parametrize("text", [b"a" * 64 + b"\n", b" " + b"a" * 32 + b"\r\n"])
def test_who_writes_and_who_verifies_read_a_key_alike(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "audit.key").write_bytes(text)
    assert audit_key("", tmp_path) == read_key(tmp_path / "audit.key") == text.strip()
    assert audit_key(text.decode(), tmp_path) == text.strip()


@pytest.mark.parametrize("text", [b"", b"x", b"x" * 31 + b"\n"])
def test_a_short_key_in_the_file_is_refused_by_both(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "audit.key").write_bytes(text)
    with pytest.raises(StartupFault, match="32 characters"):
        audit_key("", tmp_path)
    with pytest.raises(StartupFault, match="32 characters"):
        read_key(tmp_path / "audit.key")


def test_a_place_keeps_its_name(tmp_path: Path) -> None:
    name = open_place(tmp_path / "audit")
    assert len(name) == 16
    assert open_place(tmp_path / "audit") == name
    (tmp_path / "file").touch()
    with pytest.raises(StartupFault, match="GATEWAY_AUDIT_DIR"):
        open_place(tmp_path / "file")
