"""`python -m loadtests.affinity [--trace FILE] [--workers N] [--seeds N]`: the figures of docs/affinity.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from loadtests.affinity.site import REPLICAS, Figures, Gateways, Placer, RoundRobin, endless, policy_of, run
from loadtests.affinity.trace import Row, TraceFault, generate, lines, read

LEAST_HITS, MOST_LOAD = 0.90, 1.25
TALKS_PER_SECOND, SECONDS, SEED = 4.0, 500.0, 20_261_122
MOST_ROWS = 20_000
AFFINE, LOADED = {"prefix": 2.0, "load": 1.0}, {"load": 1.0}


def placers(workers: int) -> Iterator[tuple[str, Placer]]:
    yield "round robin", RoundRobin()
    yield "least load", Gateways(policy_of(workers, LOADED), Random(1), remembers=False)
    yield "ring of the first 1,024 bytes", Gateways(policy_of(workers, AFFINE), Random(1), remembers=False)
    yield "prefix, replicas apart", Gateways(policy_of(workers, AFFINE), Random(1), tells=False)
    yield "prefix", Gateways(policy_of(workers, AFFINE), Random(1))


def good(figures: Figures, most: int) -> bool:
    return figures.hits >= LEAST_HITS * most and figures.busiest <= MOST_LOAD


def report(rows: list[Row], workers: int) -> bool:
    """Prints one table; whether its last row, the gateway's own, is good enough."""
    most, tokens = endless(rows), sum(row.prompt for row in rows)
    print(f"\n{len(rows)} requests of {tokens / len(rows):.0f} tokens, {workers} workers, {REPLICAS} replicas")
    print(f"one endless worker finds {most / tokens:.1%} of the tokens in its cache\n")
    print("| placed by | hits, of the endless worker's | busiest worker, of the mean load | of the requests | waited |")
    print("|---|---|---|---|---|")
    for name, placer in placers(workers):
        made = run(rows, workers, placer)
        said = f"{made.hits / most:.1%} | {made.busiest:.2f} | {made.most_asked:.2f} | {made.waited}"
        print(f"| {name} | {said} |", flush=True)
    return good(made, most)


def main() -> int:
    """0: the figures hold; 1: they do not; 2: the trace cannot be read."""
    asked = arguments()
    if asked.trace is None:
        traces = [generate(TALKS_PER_SECOND, SECONDS, SEED + number) for number in range(asked.seeds)]
    else:
        try:
            traces = [read(asked.trace, MOST_ROWS)]
        except TraceFault as fault:
            print(fault, file=sys.stderr)
            return 2
    if asked.write:
        asked.write.write_text("\n".join(lines(traces[0])) + "\n")
    verdicts = [report(rows, asked.workers) for rows in traces]
    held = all(verdicts)
    print(f"\nat least {LEAST_HITS:.0%} and at most {MOST_LOAD:g}: {'held' if held else 'NOT held'}")
    return 0 if held else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.affinity", description="Judges prefix affinity.")
    parser.add_argument("--trace", type=Path, help="a file in the Mooncake format")
    parser.add_argument("--write", type=Path, help="write the generated trace here")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
