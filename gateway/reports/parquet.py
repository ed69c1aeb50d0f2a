"""Reports as Parquet; needs the extra `parquet` (`writing.has_parquet`)."""

from __future__ import annotations

from pathlib import Path

import pyarrow
from pyarrow import parquet

from gateway.reports.ask import Report
from gateway.reports.writing import columns, named, rows

TYPES = {"seconds": pyarrow.float64()}
"""Of measures that are no whole numbers."""


def write(report: Report, file: Path) -> None:
    """Amounts are int64 micro-dollars, groups text."""
    names = columns(report)
    text, number = pyarrow.string(), pyarrow.int64()
    whole = {name for name, value in report.total.items() if isinstance(value, int)} | {"reserved", "cost"}
    schema = pyarrow.schema([(named(name), TYPES.get(name, number if name in whole else text)) for name in names])
    lines = [{named(name): line[name] for name in names} for line in rows(report)]
    parquet.write_table(pyarrow.Table.from_pylist(lines, schema), file)
