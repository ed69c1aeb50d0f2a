"""`make mixed`: thumbnails of one step beside 50-step 2K pictures on four diffusion workers, spread by leased work and
by request counts. Exit 0 where leased work has the shorter tail, 1 not, 2 something is missing."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import httpx

from loadtests.bench import table
from loadtests.mixed.arms import Arm, ByCount, ByWork, play
from loadtests.mixed.picture import draw
from loadtests.mixed.site import WORKERS, Site, running
from loadtests.mixed.trace import KINDS, trace
from loadtests.simfleet.harness import SimFault
from loadtests.stack import StackFault

COUNT, ROUNDS, BUSY, UNIT_S = 3_000, 3, 0.75, 0.3
"""`UNIT_S`: 50 steps at 1024x1024 take 0.3 s here, and a 2K picture 1.2 s: some twenty times as fast as on a GPU.
`COUNT`: with fewer the 99th percentile is a matter of luck."""
LESS = 0.30
"""By how much the 99th percentile must be shorter."""
WARM = 40
"""Requests before anything is counted: how long a unit takes is learned."""
SECONDS = 120.0
FAULTS = (SimFault, StackFault, httpx.HTTPError, OSError)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.mixed", description=__doc__)
    parser.add_argument("--requests", type=int, default=COUNT, help=f"of each round and arm ({COUNT})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"each with a trace of its own ({ROUNDS})")
    parser.add_argument("--busy", type=float, default=BUSY, help=f"share of the workers' time ({BUSY})")
    parser.add_argument("--picture", type=Path, help="where the picture of both goes")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-mixed-") as place, running(Path(place), UNIT_S) as site:
            rounds = asyncio.run(compare(site, options.rounds, options.requests, options.busy))
    except FAULTS as fault:
        print(f"make mixed: {type(fault).__name__}: {fault}", file=sys.stderr)
        return 2
    rows = [row(arm, number) for number, arms in enumerate(rounds, 1) for arm in arms]
    head = ("round", "spread by", "p50 ms", "p95 ms", "p99 ms", *(f"p99 {kind.name}" for kind in KINDS), "failed")
    print(table.plain(head, rows))
    if options.picture is not None:
        draw(rounds, options.picture)
    shorter = median(1 - p99(work) / p99(count) for work, count in rounds)
    holds = shorter >= LESS and not any(arm.failed for arms in rounds for arm in arms)
    word = "holds" if holds else "FAILS"
    print(f"mixed: p99 is {shorter:.0%} lower by leased work (median of {len(rounds)}), at least {LESS:.0%}: {word}")
    return 0 if holds else 1


async def compare(site: Site, rounds: int, count: int, busy: float) -> list[tuple[Arm, Arm]]:
    """Both arms play the same trace, one after the other, round by round."""
    limits = httpx.Limits(max_connections=None, keepalive_expiry=1.0)
    async with httpx.AsyncClient(trust_env=False, timeout=SECONDS, limits=limits) as http:
        ours, counts = ByWork(site, http), ByCount(site, http)
        await play(Arm("warm"), ours.send, trace(0, WARM, WORKERS, UNIT_S, busy / 4))
        found = []
        for seed in range(1, rounds + 1):
            arrivals = trace(seed, count, WORKERS, UNIT_S, busy)
            arms = Arm("leased work"), Arm("request counts")
            for arm, send in zip(arms, (ours.send, counts.send), strict=True):
                await play(arm, send, arrivals)
            found.append(arms)
    return found


def row(arm: Arm, number: int) -> list[str]:
    every = [took for took, _ in arm.took]
    by_kind = [[took for took, kind in arm.took if kind is one] for one in KINDS]
    figures = [*(quantile(every, share) for share in (0.5, 0.95, 0.99)), *(quantile(one, 0.99) for one in by_kind)]
    return [str(number), arm.name, *(f"{1000 * one:.0f}" for one in figures), str(arm.failed)]


def p99(arm: Arm) -> float:
    return quantile((took for took, _ in arm.took), 0.99)


def quantile(values: Iterable[float], share: float) -> float:
    found = sorted(values)
    return found[min(len(found) - 1, math.ceil(share * len(found)) - 1)] if found else math.nan


if __name__ == "__main__":
    sys.exit(main())
