"""Traces of real traffic: when each request came and how long it was, in the three formats that are public."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtests.lengths import Lengths


class TraceFault(Exception):
    """The trace cannot be read; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Format:
    """The columns of one format, and what its time is in: seconds for each unit, or None for a date with its time."""

    name: str
    time: str
    prompt: str
    output: str
    unit: float | None


FORMATS = (
    Format("Azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", None),  # LLM inference, 2023 and 2024
    Format("BurstGPT", "Timestamp", "Request tokens", "Response tokens", 1.0),
    Format("Mooncake", "timestamp", "input_length", "output_length", 0.001),  # JSON lines
)


@dataclass(frozen=True, slots=True)
class Row:
    """One request. `at`: seconds since the trace's first request. `blocks`: Mooncake's ids of the prompt's blocks of
    512 tokens; equal ids mean equal text."""

    at: float
    lengths: Lengths
    blocks: tuple[int, ...] = ()


def read(path: Path) -> list[Row]:
    """Every request with a prompt and an answer, in order of time. Raises TraceFault."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.read(1)
            file.seek(0)
            records: Iterator[Mapping[str, Any]] = map(json.loads, file) if first == "{" else csv.DictReader(file)
            rows = [_row(record) for record in records]
    except OSError as fault:
        raise TraceFault(f"{path}: {fault.strerror or fault}") from None
    except (ValueError, TypeError):
        raise TraceFault(f"{path}: a row does not hold a time and two whole numbers of tokens") from None
    rows = sorted((row for row in rows if row.lengths.prompt > 0 and row.lengths.output > 0), key=lambda row: row.at)
    if not rows:
        raise TraceFault(f"{path}: no requests in it")
    return [Row(row.at - rows[0].at, row.lengths, row.blocks) for row in rows]


def _row(record: Mapping[str, Any]) -> Row:
    for form in FORMATS:
        if {form.time, form.prompt, form.output} <= record.keys():
            at = _epoch(record[form.time]) if form.unit is None else float(record[form.time]) * form.unit
            lengths = Lengths(int(record[form.prompt]), int(record[form.output]))
            return Row(at, lengths, tuple(map(int, record.get("hash_ids") or ())))
    known = "; ".join(f"{form.name}: `{form.time}`, `{form.prompt}`, `{form.output}`" for form in FORMATS)
    raise TraceFault(f"the trace has none of the known sets of columns ({known})")


def _epoch(text: str) -> float:
    """Seconds since 1970; without a zone it is UTC. Only differences matter."""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
