"""`make prove-jobs`: exit 0 where every job had one end, nothing was paid for twice and no film is lost; 1 where not, 2
where it cannot run."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loadtests.jobsproof.judge import holds, judge
from loadtests.jobsproof.run import Plan, prove
from loadtests.stack import StackFault


def main(argv: Sequence[str] | None = None) -> int:
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m loadtests.jobsproof", description=__doc__)
    parser.add_argument("--count", type=int, default=usual.count, help=f"jobs ({usual.count:,})")
    parser.add_argument("--clients", type=int, default=usual.clients, help=f"at once ({usual.clients})")
    parser.add_argument("--processes", type=int, default=usual.processes, help=f"of the gateway ({usual.processes})")
    parser.add_argument("--kill-seconds", type=float, default=usual.kill_seconds, help="between two kills")
    parser.add_argument("--seed", type=int, default=usual.seed, help="what everything is drawn from")
    options = parser.parse_args(argv)
    plan = Plan(options.count, options.clients, options.processes, options.kill_seconds, seed=options.seed)
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-jobs-") as place:
            run = asyncio.run(prove(Path(place), plan, lambda told: print(told, flush=True)))
    except (StackFault, OSError) as fault:
        print(f"make prove-jobs: {type(fault).__name__}: {fault}", file=sys.stderr)
        return 2
    for line in judge(run):
        print(f"{'holds' if line.holds else 'FAILS'}  {line.what}: {line.figure}")
    print(f"prove-jobs: {'every line holds' if holds(run) else 'NOT every line holds'}")
    return 0 if holds(run) else 1


if __name__ == "__main__":
    sys.exit(main())
