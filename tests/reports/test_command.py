"""`gateway ledger` into files: all lines, or a word that there are more."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from pyarrow import parquet

from gateway.cli.ledger import ledger
from tests.reports.books import row, written

LINES = 1_234


@pytest.fixture(autouse=True)
def ledger_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = written(tmp_path, [row(f"a{n}", key=f"k{n}") for n in range(LINES)])
    monkeypatch.setenv("GATEWAY_LEDGER_URL", url)


def test_files_hold_all_lines(tmp_path: Path) -> None:
    found = CliRunner().invoke(ledger, ["--by", "key", "--format", "csv"])
    assert (len(found.stdout.splitlines()), found.stderr) == (1 + LINES, "")
    out = tmp_path / "out.parquet"
    CliRunner().invoke(ledger, ["--by", "key", "--format", "parquet", "--out", str(out)])
    assert parquet.read_metadata(out).num_rows == LINES


def test_a_part_is_said_to_be_one() -> None:
    found = CliRunner().invoke(ledger, ["--by", "key", "--format", "csv", "--limit", "2"])
    assert len(found.stdout.splitlines()) == 3
    assert found.stderr.startswith("only 2 lines: there are more")
    assert "there are more lines: --offset" in CliRunner().invoke(ledger, ["--by", "key"]).stdout
