"""Whatever is done to a sealed folder is found, with its place."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.lines import Head, fields_of, part_path
from gateway.audit.place import PLACE_FILE
from gateway.audit.verify import verify

from .folders import KEY, OWNERS, PLACE, add, entries, findings, seal, sealer

SEALED, AFTER = 6, 2
CHAIN = f"chain-{OWNERS[0]}"


@contextmanager
def sealed() -> Iterator[Path]:
    """Two chains in parts of about two lines, sealed by both processes, and a few entries since."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chains = [entries(folder, owner, SEALED, part_bytes=400) for owner in OWNERS]
        for seals in (sealer(folder, owner) for owner in OWNERS):
            seal(seals, *chains)
            seals.close()
        for chain in chains:
            add(chain, AFTER)
            chain.close()
        yield folder


def sealed_bytes(folder: Path) -> list[tuple[Path, int]]:
    """Files, each with how many of its bytes are covered by a seal (of seals files all but the last line, the first of
    another process's is covered by nothing here, so they are whole)."""
    found = []
    left = SEALED
    for path in sorted(folder.glob(f"{CHAIN}.*")):
        lines = path.read_bytes().splitlines(keepends=True)[:left]
        left -= len(lines)
        if lines:
            found.append((path, sum(map(len, lines))))
    return found


def test_what_nobody_touched_is_whole() -> None:
    with sealed() as folder:
        report = verify(folder, KEY)
        assert (report.findings, report.notes) == ([], [])
        assert (report.chains, report.entries, report.unsealed) == (2, 2 * (SEALED + AFTER), 2 * AFTER)


def test_another_key_proves_nothing() -> None:
    with sealed() as folder:
        assert len(verify(folder, b"x" * 32).findings) == 2 * (SEALED + AFTER) + 2


@given(st.data())
def test_any_byte_changed_before_the_seal_is_found(data: st.DataObject) -> None:
    with sealed() as folder:
        path, size = data.draw(st.sampled_from(sealed_bytes(folder)))
        raw = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, size - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw)
        assert any(line.startswith("chain-") for line in findings(folder))


@given(st.data())
def test_any_byte_changed_in_a_seal_is_found(data: st.DataObject) -> None:
    with sealed() as folder:
        path = part_path(folder, f"seals-{OWNERS[1]}", 1)
        raw = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 2))
        raw[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw)
        assert findings(folder)


@given(st.data())
def test_any_byte_removed_or_put_in_before_the_seal_is_found(data: st.DataObject) -> None:
    with sealed() as folder:
        path, size = data.draw(st.sampled_from(sealed_bytes(folder)))
        raw, at = path.read_bytes(), data.draw(st.integers(0, size - 1))
        insert = data.draw(st.binary(min_size=1, max_size=3) | st.none())
        path.write_bytes(raw[:at] + raw[at + 1 :] if insert is None else raw[:at] + insert + raw[at:])
        assert findings(folder)


def lines_of(folder: Path) -> list[tuple[Path, int, bytes]]:
    return [
        (path, number, raw)
        for path in sorted(folder.glob(f"{CHAIN}.*"))
        for number, raw in enumerate(path.read_bytes().splitlines(keepends=True))
    ]


@given(st.integers(0, SEALED - 1), st.integers(0, SEALED + AFTER - 1))
def test_lines_in_another_order_are_found(one: int, other: int) -> None:
    with sealed() as folder:
        lines = lines_of(folder)
        raws = [raw for _, _, raw in lines]
        raws[one], raws[other] = raws[other], raws[one]
        rewrite(lines, raws)
        assert bool(findings(folder)) is (one != other)


@given(st.integers(0, SEALED - 1), st.integers(1, SEALED))
def test_lines_removed_are_found(first: int, count: int) -> None:
    with sealed() as folder:
        lines = lines_of(folder)
        gone = range(first, min(first + count, SEALED))
        rewrite(lines, [b"" if index in gone else raw for index, (_, _, raw) in enumerate(lines)])
        assert findings(folder)


@given(st.data())
def test_a_chain_cut_short_of_its_seal_is_found(data: st.DataObject) -> None:
    with sealed() as folder:
        covered = sealed_bytes(folder)
        index = data.draw(st.integers(0, len(covered) - 1))
        path, size = covered[index]
        keep = data.draw(st.integers(0, size - 1))
        path.write_bytes(path.read_bytes()[:keep])
        for later in sorted(folder.glob(f"{CHAIN}.*")):
            if later.name > path.name:
                later.unlink()
        assert findings(folder)


def rewrite(lines: list[tuple[Path, int, bytes]], raws: list[bytes]) -> None:
    files: dict[Path, bytes] = {}
    for (path, _, _), raw in zip(lines, raws, strict=True):
        files[path] = files.get(path, b"") + raw
    for path, content in files.items():
        path.write_bytes(content)


def test_a_chain_that_is_gone_altogether_is_found() -> None:
    with sealed() as folder:
        for path in folder.glob(f"{CHAIN}.*"):
            path.unlink()
        assert findings(folder) == [
            f"seals-{OWNERS[0]}.000001.jsonl:1: sealed {SEALED} lines of {CHAIN}, and there is no such file"
        ]


def test_a_chain_put_in_the_place_of_another_is_found() -> None:
    with sealed() as folder:
        for path in folder.glob(f"{CHAIN}.*"):
            path.write_bytes((folder / path.name.replace(OWNERS[0], OWNERS[1])).read_bytes())
        assert f"{CHAIN}.000001.jsonl:1: belongs to chain-{OWNERS[1]}" in findings(folder)


def test_seals_cut_short_are_found_by_those_of_another(tmp_path: Path) -> None:
    chain, mine, others = entries(tmp_path, count=2), sealer(tmp_path, OWNERS[0]), sealer(tmp_path, OWNERS[1])
    seal(mine, chain)
    add(chain, 2)
    seal(mine, chain)
    seal(others, mine)
    path = part_path(tmp_path, mine.name, 1)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    chain_path = part_path(tmp_path, chain.name, 1)
    chain_path.write_bytes(b"".join(chain_path.read_bytes().splitlines(keepends=True)[:2]))
    assert findings(tmp_path) == [
        f"{path.name}:1: line 2 is missing after it: {others.name}.000001.jsonl:1 sealed them"
    ]


@pytest.mark.parametrize("cut", [1, 20])
def test_a_line_torn_by_the_end_of_its_process_is_no_finding(tmp_path: Path, cut: int) -> None:
    chain, seals = entries(tmp_path, count=3), sealer(tmp_path)
    seal(seals, chain)
    add(chain, 1)
    path = part_path(tmp_path, chain.name, 1)
    path.write_bytes(path.read_bytes()[:-cut])
    report = verify(tmp_path, KEY)
    assert report.findings == []
    assert report.notes == [f"{path.name}:4: torn: its process ended while it was written"]


def two_hosts(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders, each with ten lines of its own; each host has sealed both."""
    one, other = tmp_path / "one", tmp_path / "other"
    places = {one: PLACE, other: "f" * 16}
    chains = {}
    for folder, owner in zip(places, OWNERS, strict=True):
        folder.mkdir()
        chains[folder] = entries(folder, owner, 10)
    heads = {chain.name: Head(chain.n, chain.mac, places[folder]) for folder, chain in chains.items()}
    for folder, owner in zip(places, OWNERS, strict=True):
        sealer(folder, owner).append(fields_of(at=1.0, place=places[folder], heads=heads))
        (folder / PLACE_FILE).write_text(places[folder])
    return one, other


def test_what_another_folder_keeps_is_only_noted(tmp_path: Path) -> None:
    one, other = two_hosts(tmp_path)
    for folder in (one, other):
        report = verify(folder, KEY)
        assert (report.findings, len(report.notes)) == ([], 1)
        assert verify(folder, KEY, [other, one]).findings == []


@pytest.mark.parametrize("saved", [False, True], ids=["folder", "lines"])
def test_what_one_folder_cannot_show_another_hosts_seals_do(tmp_path: Path, saved: bool) -> None:
    """All of it is put back to an earlier state, seals included."""
    one, other = two_hosts(tmp_path)
    evidence = part_path(other, f"seals-{OWNERS[1]}", 1) if saved else other
    for path in one.glob("*.jsonl"):
        path.unlink()
    assert findings(one) == []
    assert len(verify(one, KEY, [evidence]).findings) == 1
    chain = entries(one, OWNERS[0], 4)
    assert findings(one) == []
    found = verify(one, KEY, [evidence]).findings
    assert len(found) == 1
    assert found[0].startswith(f"{chain.name}.000001.jsonl:4: lines 5 to 10 are missing after it")


def test_a_place_that_was_replaced_is_found(tmp_path: Path) -> None:
    one, other = two_hosts(tmp_path)
    copy = part_path(other, f"seals-{OWNERS[1]}", 1)
    (one / copy.name).write_bytes(copy.read_bytes())
    assert findings(one) == [
        f"{copy.name}:1: is a seal of another folder: a copy, to be given with --seals, or `place` was replaced"
    ]
    (one / copy.name).unlink()
    for said, text in (("was replaced", "0" * 16), ("is gone", None)):
        (one / PLACE_FILE).unlink()
        if text is not None:
            (one / PLACE_FILE).write_text(text)
        assert [said in found for found in findings(one)] == [True]
        assert any("none of its seals knows this folder" in found for found in verify(one, KEY, [other]).findings)


def test_seals_that_prove_nothing_are_told(tmp_path: Path) -> None:
    one, _ = two_hosts(tmp_path)
    (tmp_path / "junk").write_text("junk\n")
    assert len(verify(one, KEY, [tmp_path / "junk"]).findings) == 1
