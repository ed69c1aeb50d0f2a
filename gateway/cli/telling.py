"""A story as text for a terminal of 100 columns: the end first, then what led to it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.rehearsal.sentences import Told, facts, headline

WIDTH = 100
MOST_ROWS = 24
"""Of a larger fleet the table shows the beginning; --json has all of it."""
_COLUMNS = (
    ("upstream", "upstream", "{}"),
    ("backend", "backend", "{}"),
    ("load", "load", "{:.3f}"),
    ("after", "after", "{:.3f}"),
    ("outside", "outside", "{:.3f}"),
    ("limit", "limit", "{} requests"),
    ("queue_depth", "queue", "{}"),
    ("gpu", "gpu", "{:.2f}"),
    ("age_ms", "age ms", "{:.0f}"),
    ("score", "score", "{:.3f}"),
    ("wait_ms", "wait ms", "{:.0f}"),
    ("first_ms", "first ms", "{:.0f}"),
    ("usd", "usd", "{:.6f}"),
)
"""Key of a row, its heading, its form."""
_FIRST_TO_GO = ("age_ms", "gpu", "queue_depth", "limit", "first_ms")
"""Columns that a table can be without where long names make it too wide."""


def text(story: Told) -> str:
    """All of a story, without a line end at the end."""
    rows = story["upstreams"]
    lines = [*wrapped([headline(story)]), *wrapped(facts(story))]
    lines += ["", *table(rows)] if rows else []
    for title, items in (
        ("scores", scores(rows)),
        ("spill.when (any is enough)", [one["text"] for one in story["thresholds"]]),
        ("what would change it", [change["text"] for change in story["changes"]]),
    ):
        if items:
            lines += ["", f"{title}:", *wrapped(f"  {item}" for item in items)]
    return "\n".join(lines)


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line for each upstream; why one is dropped takes the place of its numbers."""
    shown = rows[:MOST_ROWS]
    columns = fitting([one for one in _COLUMNS if any(one[0] in row for row in shown if "dropped" not in row)], shown)
    cells = [[cell(row, key, form) for key, _, form in columns] for row in shown]
    widths = widths_of(columns, shown)
    lines = [in_columns([title for _, title, _ in columns], widths)]
    for row, line in zip(shown, cells, strict=True):
        if "dropped" in row:
            name = f"{row['upstream']:<{widths[0]}}  {row['backend']:<{widths[1]}}"
            lines += wrapped([f"{name}  {row['dropped']}: {row['why']}"])
        else:
            lines.append(in_columns(line, widths))
    return [*lines, f"... and {len(rows) - MOST_ROWS} more; --json has them all"] if len(rows) > MOST_ROWS else lines


Columns = Sequence[tuple[str, str, str]]


def fitting(columns: Columns, rows: Sequence[dict[str, Any]]) -> Columns:
    """As many of `columns` as the width holds; names always stay."""
    kept = list(columns) if columns else list(_COLUMNS[:2])
    for key in _FIRST_TO_GO:
        if sum(widths_of(kept, rows)) + 2 * len(kept) - 2 > WIDTH:
            kept = [one for one in kept if one[0] != key]
    return kept


def widths_of(columns: Columns, rows: Sequence[dict[str, Any]]) -> list[int]:
    found = []
    for key, title, form in columns:
        whose = [row for row in rows if "dropped" not in row or key in ("upstream", "backend")]
        found.append(max(len(title), *(len(cell(row, key, form)) for row in whose), 0))
    return found


def in_columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right."""
    pairs = enumerate(zip(cells, widths, strict=True))
    return "  ".join([c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in pairs]).rstrip()


def cell(row: dict[str, Any], key: str, form: str) -> str:
    """A limit is shown in seconds of a GPU, or as a count where it is one; waits are never shown as less."""
    value = row.get(key)
    if value is None:
        return "-"
    if key == "limit" and row.get("work", 1) > 1:
        return f"{value / 1e6:.2f} GPU s"
    if key == "wait_ms":
        value = math.ceil(value)
    return form.format(value)


def scores(rows: Iterable[dict[str, Any]]) -> list[str]:
    """What each of several scorers adds; workers that all score alike stand together."""
    alike: dict[str, list[str]] = {}
    for row in rows:
        if len(row.get("parts", ())) > 1:  # one alone is the score
            said = " + ".join(f"{name} {part:.3f}" for name, part in row["parts"].items())
            alike.setdefault(f"{said} = {row['score']:.3f}", []).append(row["upstream"])
    return [f"{', '.join(names)}: {said}" for said, names in alike.items()]


def wrapped(lines: Iterable[str]) -> list[str]:
    made = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        made += textwrap.wrap(
            line, WIDTH, subsequent_indent=indent, drop_whitespace=True, break_long_words=False, break_on_hyphens=False
        )
    return made
