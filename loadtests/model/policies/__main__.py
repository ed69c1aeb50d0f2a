"""`python -m loadtests.model.policies [--traces DIR] [--seeds N] [--only TEXT] [--write] [FOLDER ...]`"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.errors import PolicyFault
from gateway.policy.compile import compile_folder
from loadtests.model.policies.figures import Figures
from loadtests.model.policies.mix import PATTERNS, Pattern
from loadtests.model.policies.play import play
from loadtests.model.policies.table import HEAD, Made, Rows, block, faults, line, mean, put, summary
from loadtests.model.traffic import Source, source
from loadtests.traces import TraceFault

POLICIES = Path("policies")
READY_MADE = ("local-first", "cost-saver", "latency-first", "eu-residency", "air-gapped", "batch-nights")
SHOWN = ("steady 1.2", "square wave", "evening")
"""In the table that compares the folders."""


def main() -> int:
    """0: every folder keeps what it promises; 1: one does not; 2: a folder or a trace cannot be read."""
    asked = arguments()
    patterns = [one for one in PATTERNS if asked.only in one.name]
    made = Made(asked.seeds, asked.traces is not None)
    try:
        found = run(asked.folders, patterns, source("conversation", asked.traces), asked.seeds)
    except (TraceFault, PolicyFault) as fault:
        print(fault, file=sys.stderr)
        return 2
    if asked.write and not asked.only:
        write(POLICIES, found, made)
    wrong = list(faults(found))
    print("\n".join(wrong) or "PASS: nothing flagged left, nothing flaps, every folder keeps its promise")
    return 1 if wrong else 0


def run(folders: Sequence[Path], patterns: Sequence[Pattern], src: Source, seeds: int) -> Mapping[str, Rows]:
    """Figures by folder name and traffic; told as they come."""
    found: dict[str, Rows] = {}
    began = time.monotonic()
    for folder in folders:
        policy = compile_folder(folder, env=None)
        rows: dict[str, Figures] = {}
        print(f"{folder.name}\n{HEAD[0]}", flush=True)
        for pattern in patterns:
            rows[pattern.name] = mean([play(policy, pattern, src, seed) for seed in range(seeds)])
            print(line(pattern.name, rows[pattern.name]), flush=True)
        found[folder.name] = rows
        print(f"{len(found)} of {len(folders)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def write(root: Path, found: Mapping[str, Rows], made: Made) -> None:
    """Into the README of each ready-made folder, and into the one above where all of them were played."""
    for name in READY_MADE:
        if name in found:
            put(root / name / "README.md", block(found[name], made))
    if set(found) >= set(READY_MADE):
        put(root / "README.md", summary({name: found[name] for name in READY_MADE}, made, SHOWN))


def arguments() -> argparse.Namespace:
    given = os.environ.get("TRACES")
    parser = argparse.ArgumentParser(prog="python -m loadtests.model.policies", description="Judges policy folders.")
    parser.add_argument("folders", nargs="*", type=Path, default=[POLICIES / name for name in READY_MADE])
    parser.add_argument("--traces", type=Path, default=Path(given) if given else None, help="folder of the Azure CSVs")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="", help="only traffic whose name holds this text")
    parser.add_argument("--write", action="store_true", help="put the figures into the READMEs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
