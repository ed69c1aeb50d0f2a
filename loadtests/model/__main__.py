"""`python -m loadtests.model [--traces DIR] [--out FILE] [--seeds N] [--only TEXT]`: the table of docs/limit.md."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from loadtests.model.scenarios import SCENARIOS
from loadtests.model.table import HEAD, Row, compare, document, line
from loadtests.model.traffic import FILES, source
from loadtests.traces import TraceFault


def main() -> int:
    """0: every target met; 1: one is not; 2: the traces cannot be read."""
    asked = arguments()
    began = time.monotonic()
    try:
        sources = {name: source(name, asked.traces) for name in FILES}
    except TraceFault as fault:
        print(fault, file=sys.stderr)
        return 2
    chosen = [one for one in SCENARIOS if asked.only in one.name]
    rows: list[Row] = []
    print(HEAD, flush=True)
    for number, scenario in enumerate(chosen, 1):
        rows.append(compare(scenario, sources[scenario.src], range(asked.seeds)))
        print(line(rows[-1]), flush=True)
        print(f"{number} of {len(chosen)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if asked.out:
        before = asked.out.read_text() if asked.out.exists() else ""
        asked.out.write_text(document(before, rows, asked.seeds, asked.traces is not None, time.monotonic() - began))
    faults = [f"{row.scenario.name}: {'; '.join(row.faults())}" for row in rows if row.faults()]
    print("\n".join(faults) or "every target met")
    return 1 if faults else 0


def arguments() -> argparse.Namespace:
    given = os.environ.get("TRACES")
    parser = argparse.ArgumentParser(prog="python -m loadtests.model", description="Judges the learned limit.")
    parser.add_argument("--traces", type=Path, default=Path(given) if given else None, help="folder of the Azure CSVs")
    parser.add_argument("--out", type=Path, help="write the table here, as Markdown")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="only scenarios whose name holds this text")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
