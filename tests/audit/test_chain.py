"""A chain being written: parts, locks, and disks that are full."""

from __future__ import annotations

import errno
import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.audit.chain import Chain
from gateway.audit.lines import part_path
from gateway.audit.verify import verify

from .folders import KEY, OWNERS, add, entries, findings

ROOT = Path(__file__).resolve().parents[2]


def test_a_chain_without_a_line_leaves_no_file(tmp_path: Path) -> None:
    entries(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_parts_follow_each_other(tmp_path: Path) -> None:
    chain = entries(tmp_path, count=7, part_bytes=500)
    chain.sync()
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == [f"chain-{OWNERS[0]}.{part:06}.jsonl" for part in range(1, len(paths) + 1)]
    assert len(paths) > 1
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)
    numbers = [json.loads(line)["n"] for path in paths for line in path.read_text().splitlines()]
    assert numbers == [1, 2, 3, 4, 5, 6, 7]
    assert findings(tmp_path) == []


def test_a_folder_that_is_gone_is_an_error_and_the_chain_goes_on_when_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    chain = entries(folder)
    with pytest.raises(FileNotFoundError):
        add(chain, 1)
    folder.mkdir()
    add(chain, 2)
    assert verify(folder, KEY).entries == 2
    assert findings(folder) == []


def test_a_lock_that_fails_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody looks at the new part in the moment in which it is locked: one line fails, the next does not."""
    real, times = fcntl.flock, iter([True])

    def looked_at(file: int, operation: int) -> None:
        if next(times, False):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        real(file, operation)

    monkeypatch.setattr("gateway.audit.chain.fcntl.flock", looked_at)
    chain = entries(tmp_path)
    with pytest.raises(BlockingIOError):
        add(chain, 1)
    add(chain, 2)
    assert (verify(tmp_path, KEY).entries, findings(tmp_path)) == (2, [])


def test_a_part_that_was_removed_is_missed(tmp_path: Path) -> None:
    chain = entries(tmp_path, count=3)
    chain.sync()
    assert not chain.gone
    part_path(tmp_path, chain.name, 1).unlink()
    chain.sync()
    assert chain.gone
    add(chain, 1)
    assert not chain.gone
    assert findings(tmp_path) == [f"{chain.name}.000002.jsonl:1: lines 1 to 3 are removed, and no trim says so"]


FULL = """
import resource, signal, sys
from pathlib import Path
from tests.audit.folders import add, entries
chain = entries(Path(sys.argv[1]), count=3)
size = chain._size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        add(chain, 1)
    except OSError:
        print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
add(chain, 2)
"""


def test_half_a_line_on_a_full_disk_is_taken_back(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused"] * 3
    report = verify(tmp_path, KEY)
    assert (report.findings, report.notes, report.entries) == ([], [], 5)


def test_a_chain_that_goes_on(tmp_path: Path) -> None:
    first = entries(tmp_path, count=3)
    first.close()
    again = Chain.resume(KEY, tmp_path, first.name)
    add(again, 2)
    assert verify(tmp_path, KEY).entries == 5
    assert findings(tmp_path) == []
