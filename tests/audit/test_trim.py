"""What is removed on purpose is no finding; what is removed beside it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.audit.lines import part_path
from gateway.audit.trim import Unsound, trim
from gateway.audit.verify import verify

from .folders import KEY, OWNERS, entries, findings, seal, sealer

DATE = 1004.0
"""Lines 1 to 4 are older: they are of second 1000, 1001 ..."""


def closed(folder: Path, part_bytes: int = 1 << 20) -> str:
    chain, seals = entries(folder, count=8, part_bytes=part_bytes), sealer(folder)
    seal(seals, chain)
    chain.close()
    seals.close()
    return chain.name


@pytest.mark.parametrize("part_bytes", [1 << 20, 500, 1])
def test_the_old_lines_go_and_the_rest_is_whole(tmp_path: Path, part_bytes: int) -> None:
    name = closed(tmp_path, part_bytes)
    assert trim(tmp_path, KEY, DATE) == {name: 4}
    report = verify(tmp_path, KEY)
    assert (report.findings, report.entries) == ([], 4)
    assert trim(tmp_path, KEY, DATE) == {}


def test_twice_and_then_altogether(tmp_path: Path) -> None:
    name = closed(tmp_path)
    trim(tmp_path, KEY, DATE)
    assert trim(tmp_path, KEY, 1006.0) == {name: 6}
    assert findings(tmp_path) == []
    assert trim(tmp_path, KEY, 3000.0) == {name: 8, f"seals-{OWNERS[0]}": 1}
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"place", "trims"}
    assert findings(tmp_path) == []


def test_one_line_more_than_was_signed_is_found(tmp_path: Path) -> None:
    name = closed(tmp_path)
    trim(tmp_path, KEY, DATE)
    path = part_path(tmp_path, name, 1)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    assert findings(tmp_path) == [f"{path.name}:1: lines 1 to 5 are removed, and no trim says so"]


def test_without_its_checkpoint_a_trim_is_a_finding(tmp_path: Path) -> None:
    closed(tmp_path)
    trim(tmp_path, KEY, DATE)
    part_path(tmp_path, "trims", 1).unlink()
    assert len(findings(tmp_path)) == 1


def test_a_folder_that_was_tampered_with_is_not_trimmed(tmp_path: Path) -> None:
    path = part_path(tmp_path, closed(tmp_path), 1)
    raw = path.read_bytes().replace(b"acme", b"acne", 1)
    path.write_bytes(raw)
    with pytest.raises(Unsound):
        trim(tmp_path, KEY, DATE)
    assert path.read_bytes() == raw


def test_the_part_that_is_being_written_stays(tmp_path: Path) -> None:
    chain = entries(tmp_path, count=8, part_bytes=500)
    chain.sync()
    removed = trim(tmp_path, KEY, 5000.0)
    assert 0 < removed[chain.name] < 8
    assert findings(tmp_path) == []
    chain.append(b'"at":1.0')
    assert findings(tmp_path) == []


def test_a_trim_that_was_interrupted_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = closed(tmp_path, part_bytes=1)
    with monkeypatch.context() as patched:
        patched.setattr("gateway.audit.trim._remove", lambda cut: cut.whole[0].unlink())
        trim(tmp_path, KEY, DATE)
    assert findings(tmp_path) == []
    assert trim(tmp_path, KEY, DATE) == {name: 4}
    assert verify(tmp_path, KEY).entries == 4
