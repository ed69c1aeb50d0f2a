"""`make upload-bench`: uploads of 2 GB, made on the fly, through a real gateway to a worker; what they take of its
memory. A first, small upload of each order is not counted: it brings in what any request does."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

from loadtests.uploads.client import Order, upload
from loadtests.uploads.memory import watched
from loadtests.uploads.site import KEY, Lane, serve

MOST_GROWTH = 8 << 20
WARM_UP = 8 << 20
MIB = 1 << 20
MODEL = "ears"


class Result(NamedTuple):
    """Of one upload. `arrived`: bytes that the worker had."""

    order: Order
    size: int
    seconds: float
    arrived: int
    growth: int
    status: int

    @property
    def passed(self) -> bool:
        return self.status == 200 and self.arrived >= self.size and self.growth < MOST_GROWTH


def measure(size: int, place: Path, runs: int = 1) -> Iterator[Result]:
    """Each order `runs` times, in turns."""
    with serve(place, [Lane(MODEL)]) as site:
        site.play.keep = 0
        for order in get_args(Order):
            upload(site.gateway.url, KEY, MODEL, WARM_UP, order)
        for _ in range(runs):
            for order in get_args(Order):
                began = time.monotonic()
                with watched(site.gateway.pid) as growth:
                    answer = upload(site.gateway.url, KEY, MODEL, size, order)
                seconds = time.monotonic() - began
                yield Result(order, size, seconds, site.play.heard[-1].size, growth.bytes, answer.status)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.uploads", description=__doc__)
    parser.add_argument("--mib", type=int, default=2048, help="size of each upload")
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    print("| order | MiB | seconds | MiB/s | RSS grew by | |\n|---|---|---|---|---|---|")
    passed = True
    with tempfile.TemporaryDirectory() as place:
        for one in measure(given.mib * MIB, Path(place), given.runs):
            how = "streamed through" if one.order == "model first" else "by way of the disk"
            grown, rate = one.growth / MIB, one.size / MIB / one.seconds
            verdict = "passed" if one.passed else f"FAILED (status {one.status}, {one.arrived} bytes arrived)"
            cells = (
                f"{one.order}: {how}",
                one.size // MIB,
                f"{one.seconds:.1f}",
                f"{rate:.0f}",
                f"{grown:.1f} MiB",
                verdict,
            )
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
            passed = passed and one.passed
    print(f"verdict: {'passed' if passed else 'FAILED'}: RSS may grow by less than {MOST_GROWTH // MIB} MiB")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
