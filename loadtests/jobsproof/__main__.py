"""`make prove-jobs`: exit 0 where every job had one end, nothing was paid for twice, no film is lost and all books
agree; 1 where not, 2 where it cannot run."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loadtests.bench import machine
from loadtests.jobsproof.judge import Evidence, holds, judge
from loadtests.jobsproof.page import page
from loadtests.jobsproof.run import Plan, prove
from loadtests.simfleet.harness import SimFault
from loadtests.stack import StackFault

FAULTS = (SimFault, StackFault, OSError, TimeoutError, ExceptionGroup)
MOST_WRONG = 10


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    about = machine.describe()
    plan = Plan(options.count, options.clients, options.processes, options.kill_seconds, seed=options.seed)
    try:
        if options.place is not None:
            options.place.mkdir(parents=True)
            run = prove(options.place, plan, lambda told: print(told, flush=True))
        else:
            with tempfile.TemporaryDirectory(prefix="gateway-jobs-") as place:
                run = prove(Path(place), plan, lambda told: print(told, flush=True))
    except FAULTS as fault:
        print(f"make prove-jobs: {type(fault).__name__}: {fault}", file=sys.stderr)
        return 2
    if options.out is not None:
        options.out.write_text(page(plan, run, about))
        print(f"written: {options.out}")
    _told(run)
    print(f"prove-jobs: {'every line holds' if holds(run) else 'NOT every line holds'}")
    return 0 if holds(run) else 1


def _told(run: Evidence) -> None:
    for line in judge(run):
        print(f"{'holds' if line.holds else 'FAILS'}  {line.what}: {line.figure}")
        if line.which:
            print(f"       {', '.join(line.which[:MOST_WRONG])}")
    for what in run.wrong[:MOST_WRONG]:
        print(f"wrong: {what}")


def _parser() -> argparse.ArgumentParser:
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m loadtests.jobsproof", description=__doc__)
    parser.add_argument("--count", type=int, default=usual.count, help=f"jobs ({usual.count:,})")
    parser.add_argument("--clients", type=int, default=usual.clients, help=f"at once ({usual.clients})")
    parser.add_argument("--processes", type=int, default=usual.processes, help=f"of the gateway ({usual.processes})")
    parser.add_argument("--kill-seconds", type=float, default=usual.kill_seconds, help="between two kills")
    parser.add_argument("--seed", type=int, default=usual.seed, help="what everything is drawn from")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a markdown page")
    parser.add_argument("--place", type=Path, metavar="FOLDER", help="where logs and books stay (a new folder)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
