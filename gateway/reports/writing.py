"""Reports as text for people, CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from importlib.util import find_spec
from typing import Any

import msgspec

from gateway.errors import extra
from gateway.model import usd
from gateway.reports.ask import LISTED, MONEY, Line, Report

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
"""A text that begins so is a formula to some spreadsheet; it gets an apostrophe in front."""
AMOUNTS = frozenset({*MONEY, "reserved"})
SHOWN = ("requests", "attempts", "input_tokens", "output_tokens", "images", "seconds", "cost", "list_cost")
"""Measures of the table; the other formats have all."""
NEEDS_PARQUET = f"Parquet needs pyarrow: {extra('parquet')}"


def has_parquet() -> bool:
    return find_spec("pyarrow") is not None


def columns(report: Report) -> list[str]:
    """As they stand in the lines; without groups the total is the only line."""
    return [*LISTED] if is_list(report) else [*report.by, *(name for name in report.total if name not in report.by)]


def is_list(report: Report) -> bool:
    """Of single attempts."""
    return report.by == LISTED


def rows(report: Report) -> Sequence[Line]:
    return report.lines if report.by else [report.total]


def named(column: str) -> str:
    """What an amount is called outside: with its unit."""
    return f"{column}_micro_usd" if column in AMOUNTS else column


def as_csv(report: Report) -> str:
    """RFC 4180; amounts are whole micro-dollars."""
    made, names = io.StringIO(), columns(report)
    writer = csv.writer(made)
    writer.writerow([named(name) for name in names])
    writer.writerows([[_cell(line[name]) for name in names] for line in rows(report)])
    return made.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value


def as_json(report: Report) -> bytes:
    body = {
        "by": report.by,
        "lines": [_named(line) for line in report.lines],
        "total": _named(report.total),
        "more": report.more,
    }
    return encoded(body)


def encoded(value: Any) -> bytes:
    """JSON of anything that a report is made of; a share is a number."""
    return msgspec.json.encode(value, enc_hook=_share)


def _share(value: Any) -> float:
    if isinstance(value, Fraction):
        return float(value)
    raise NotImplementedError


def _named(line: Line) -> dict[str, Any]:
    return {named(name): value for name, value in line.items()}


def from_json(body: Mapping[str, Any]) -> Report:
    """What `as_json` told."""
    suffix = "_micro_usd"
    lines = [{name.removesuffix(suffix): value for name, value in line.items()} for line in body["lines"]]
    total = {name.removesuffix(suffix): value for name, value in body["total"].items()}
    return Report(tuple(body["by"]), lines, total, body["more"])


def as_table(report: Report) -> str:
    if is_list(report):
        names = ["attempt", "ended", "tenant", "model", "upstream", "result", "reserved"]
        return _aligned(names, [_texts(line, names) for line in report.lines]) + _notes(report)
    names = [*report.by, *SHOWN]
    body = [_texts(line, names) for line in report.lines]
    total = [*(["total", *[""] * (len(report.by) - 1)] if report.by else []), *_texts(report.total, SHOWN)]
    return _aligned(names, [*body, total]) + _notes(report)


def _notes(report: Report) -> str:
    """What must be known of these sums beside them."""
    total, notes = report.total, []
    for count, cost, said in (
        ("estimated", "estimated_cost", "counted from what passed: the upstream told nothing"),
        ("unreconciled", "unreconciled_cost", "booked at what was set aside: their gateway died"),
        ("marked", "marked_cost", "at prices that are old or of low confidence"),
    ):
        if total[count]:
            notes.append(f"{total[count]} attempts ({usd(total[cost])}) are {said}")
    if total["unpriced"]:
        notes.append(f"{total['unpriced']} attempts have no price: they are not in the costs, and were not free")
    if total["simulated"]:
        notes.append(f"{total['simulated']} attempts ({usd(total['simulated_cost'])}) are simulated money")
    if total["own_cost"]:
        notes.append(
            f"{usd(total['own_cost'])} is work of our own GPUs as if they were always full: "
            "`gateway ledger saved` has their rent"
        )
    if report.more:
        notes.append("there are more lines: --offset")
    return "".join(f"\n{note}" for note in notes)


def _texts(line: Line, names: Iterable[str]) -> list[str]:
    return [_text(name, line[name]) for name in names]


def _text(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if name in AMOUNTS:
        return usd(value)
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else "?" for letter in value) or "-"
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def _aligned(names: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(names, *body, strict=True)]
    right = [name in AMOUNTS or name in SHOWN for name in names]
    return "\n".join(
        "  ".join(
            text.rjust(width) if end else text.ljust(width) for text, width, end in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in (names, *body)
    )
