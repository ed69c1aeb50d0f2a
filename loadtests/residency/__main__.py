"""`make prove-residency`: exit 0 where nothing went where it may not, 1 where anything did, a job did not end or too
little was tried, 2 where it could not be run: a server or a gateway did not start, or a file could not be had."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from loadtests.bench import machine
from loadtests.residency.http import prove_http
from loadtests.residency.media_http import prove_media
from loadtests.residency.page import LEAST, MEDIA_PARTS, TEXT_PART, missing, page, verdict
from loadtests.residency.run import Tally, prove
from loadtests.simfleet.harness import SimFault
from loadtests.stack import StackFault

COUNT, HTTP, PROCESSES, SEED = 1_000_000, 10_000, 2, 1
CHUNK = 25_000
"""Requests for each process of the pool: with a store of its own, so that a run of a million ends where one began."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    about, began = machine.describe(), time.monotonic()
    inside = Tally()
    parts = {"in one process": inside}
    lacking: list[str] = []
    try:
        _inside(inside, options.count, options.seed, options.processes, began)
        if options.http:
            with tempfile.TemporaryDirectory(prefix="gateway-proof-") as place:
                parts |= _over_http(Path(place), options.seed, options.http)
    except* (SimFault, StackFault, OSError) as faults:
        lacking = [f"make prove-residency: {type(one).__name__}: {one}" for one in _leaves(faults)]
    if lacking:
        print(*lacking, sep="\n", file=sys.stderr)
        return 2
    if options.out is not None:
        about["seed"] = str(options.seed)
        about["took"] = f"{(time.monotonic() - began) / 60:.1f} minutes on {options.processes} processes"
        options.out.write_text(page(parts, about))
        print(f"written: {options.out}")
    for name, tally in parts.items():
        too_few = missing(tally, LEAST[name])
        print(*[f"{name}: forbidden: {told}" for told in tally.forbidden[:10]], *too_few, sep="\n", end="")
    print(verdict(parts))
    return 0 if verdict(parts).endswith("holds") else 1


def _leaves(faults: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for one in faults.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


def _over_http(place: Path, seed: int, count: int) -> dict[str, Tally]:
    """Half of them text, half media; a part for each medium."""
    for name in ("text", "media"):
        (place / name).mkdir()
    parts = {TEXT_PART: prove_http(place / "text", seed, count - count // 2)}
    parts |= {MEDIA_PARTS[name]: one for name, one in prove_media(place / "media", seed, count // 2).judged().items()}
    for name, tally in parts.items():
        print(f"{name}: {tally.counts['requests']} requests, {tally.counts['forbidden']} forbidden", flush=True)
    return parts


def _inside(tally: Tally, count: int, seed: int, processes: int, began: float) -> None:
    chunks = [min(CHUNK, count - first) for first in range(0, count, CHUNK)]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(prove, seed * 1_000_000 + number, size) for number, size in enumerate(chunks)]
        for done in as_completed(running):
            tally.add(done.result())
            took = time.monotonic() - began
            counts = tally.counts
            print(
                f"{counts['requests']:>9,} requests, {counts['deliveries']:,} deliveries, "
                f"{counts['forbidden']} forbidden, {took:.0f} s",
                flush=True,
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.residency", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help=f"requests in one process ({COUNT:,})")
    parser.add_argument("--http", type=int, default=HTTP, help=f"requests over HTTP ({HTTP:,})")
    parser.add_argument("--processes", type=int, default=PROCESSES, help=f"at a time ({PROCESSES})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what everything is drawn from ({SEED})")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a markdown page")
    return parser


if __name__ == "__main__":
    sys.exit(main())
