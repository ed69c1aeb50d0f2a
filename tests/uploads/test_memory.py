"""A slice of `make upload-bench`."""

from __future__ import annotations

from pathlib import Path

from loadtests.uploads.__main__ import MIB, measure


def test_64_mb_take_no_memory_in_either_order(tmp_path: Path) -> None:
    found = list(measure(64 * MIB, tmp_path))
    assert [one.order for one in found] == ["model first", "file first"]
    assert all(one.passed for one in found), found
