"""`make prove-budget`: exit 0 where nothing was overspent and all books agree, 1 where not, 2 where it cannot run."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from loadtests.bench import machine
from loadtests.simfleet.harness import SimFault
from loadtests.spendproof.judge import Evidence, holds, judge
from loadtests.spendproof.page import page
from loadtests.spendproof.run import Plan, prove
from loadtests.stack import StackFault

FAULTS = (SimFault, StackFault, OSError, TimeoutError)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    about, began = machine.describe(), time.monotonic()
    plan = Plan(options.count, options.clients, options.replicas, options.usd, options.seed)
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-budget-") as place:
            seen = prove(Path(place), plan, lambda told: print(told, flush=True))
    except FAULTS as fault:
        print(f"make prove-budget: {type(fault).__name__}: {fault}", file=sys.stderr)
        return 2
    about["took"] = f"{(time.monotonic() - began) / 60:.1f} minutes"
    if options.out is not None:
        options.out.write_text(page(plan, seen, about))
        print(f"written: {options.out}")
    told(seen)
    print(f"prove-budget: {'every line holds' if holds(seen) else 'NOT every line holds'}")
    return 0 if holds(seen) else 1


def told(seen: Evidence) -> None:
    for line in judge(seen):
        print(f"{'holds' if line.holds else 'FAILS'}  {line.what}: {line.figure}")
    print(*[f"wrong: {what}" for what in seen.wrong[:10]], sep="\n", end="\n" if seen.wrong else "")


def _parser() -> argparse.ArgumentParser:
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m loadtests.spendproof", description=__doc__)
    parser.add_argument("--count", type=int, default=usual.count, help=f"requests ({usual.count:,})")
    parser.add_argument("--clients", type=int, default=usual.clients, help=f"at once ({usual.clients})")
    parser.add_argument("--replicas", type=int, default=usual.replicas, help=f"of the gateway ({usual.replicas})")
    parser.add_argument("--usd", default=usual.usd, help=f"the budget ({usual.usd})")
    parser.add_argument("--seed", type=int, default=usual.seed, help=f"what everything is drawn from ({usual.seed})")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a markdown page")
    return parser


if __name__ == "__main__":
    sys.exit(main())
