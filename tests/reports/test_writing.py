"""What goes out can be read in again, and is no formula to a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from pyarrow import parquet as arrow

from gateway.model import usd
from gateway.reports import parquet
from gateway.reports.ask import UNRECONCILED, Ask, Report
from gateway.reports.writing import as_csv, as_json, as_table, columns, from_json, named, rows
from tests.reports.books import bought, reader, row, written

EVIL = "=HYPERLINK(1)"
LEDGER = [
    row("a1", cost=1_234_567),
    bought("a2", tenant=EVIL, seconds=2.5, estimated=True),
    bought("a3", tenant='q"uote, and\ncomma', cost=None, list_cost=None, reserved=7, state="unreconciled"),
]


@pytest.fixture(params=["sums", "attempts", "total"])
def report(request: pytest.FixtureRequest, tmp_path: Path) -> Report:
    ledger = reader(written(tmp_path, LEDGER))
    if request.param == "attempts":
        return ledger.attempts(Ask(where=UNRECONCILED))
    return ledger.report(Ask(("tenant", "day")) if request.param == "sums" else Ask())


def test_csv_can_be_read_again(report: Report) -> None:
    found = list(csv.DictReader(io.StringIO(as_csv(report))))
    wanted = [{named(name): line[name] for name in columns(report)} for line in rows(report)]
    assert [{name: value.removeprefix("'") for name, value in line.items()} for line in found] == [
        {name: "" if value is None else str(value) for name, value in line.items()} for line in wanted
    ]


def test_parquet_can_be_read_again(report: Report, tmp_path: Path) -> None:
    parquet.write(report, tmp_path / "out.parquet")
    wanted = [{named(name): line[name] for name in columns(report)} for line in rows(report)]
    assert arrow.read_table(tmp_path / "out.parquet").to_pylist() == wanted


def test_json_can_be_read_again(report: Report) -> None:
    assert from_json(json.loads(as_json(report))) == report


def test_amounts_say_their_unit(report: Report) -> None:
    names = as_csv(report).splitlines()[0].split(",")
    assert [name for name in names if "cost" in name or name.startswith("reserved")] == [
        name for name in names if name.endswith("_micro_usd")
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    found = as_csv(reader(written(tmp_path, [row("a", tenant=text)])).report(Ask(("tenant",))))
    (line,) = csv.DictReader(io.StringIO(found, newline=""))
    assert line["tenant"] == f"'{text}"


def test_the_table_by_hand(tmp_path: Path) -> None:
    found = as_table(reader(written(tmp_path, [row("a1"), bought("a2", estimated=True)])).report(Ask(("outcome",))))
    assert found.split("\n") == [
        "outcome  requests  attempts  input_tokens  output_tokens  images  seconds       cost  list_cost",
        "local           1         1         1,000            200       0      0.0  $0.001000  $0.001000",
        "spilled         1         1         1,000            200       0      0.0  $0.000400  $0.000500",
        "total           2         2         2,000            400       0      0.0  $0.001400  $0.001500",
        "1 attempts ($0.000400) are counted from what passed: the upstream told nothing",
        "$0.001000 is work of our own GPUs as if they were always full: `gateway ledger saved` has their rent",
    ]


def test_amounts_are_exact() -> None:
    assert [usd(0), usd(1), usd(-1_500_000), usd(10**15 + 1)] == [
        "$0.000000", "$0.000001", "-$1.500000", "$1,000,000,000.000001",
    ]  # fmt: skip
