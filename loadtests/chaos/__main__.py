"""`make chaos`: every scenario, with its promise and its figures; exit 0 all held, 1 not, 2 something is missing."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import httpx
import redis

from loadtests.bench import machine, table
from loadtests.chaos import scenarios
from loadtests.chaos.scenario import SCENARIOS, NotHere, Scenario
from loadtests.chaos.score import Figures, broken, figures, refusals
from loadtests.chaos.site import API, Bench
from loadtests.simfleet.harness import SimFault
from loadtests.stack import StackFault

FAULTS = (TimeoutError, StackFault, SimFault, httpx.HTTPError, redis.RedisError, subprocess.CalledProcessError, OSError)
"""What may go wrong in a scenario because what it promises does not hold; it is told as broken."""
ALWAYS = frozenset({"requests", "lost", "duplicated", "mis_sent", "over_admitted", "recovery"})
HEADINGS = ("scenario", "", *(field.name.replace("_", "-") for field in fields(Figures)), "s", "notes")


NOTE = """Written by `make chaos OUT=docs/chaos.md`. Gateways, store and each worker are real processes; a client whose
connection ends without a byte asks the next gateway. What the columns count:

- `told`: broke off after the first byte, with an error event; `cut`: without one
- `refused`: 429 or 503 with Retry-After; `lost`: any other end before the first byte
- `duplicated`: taken twice by a bought API; `repeated`: done twice by workers of ours; `mis-sent`: flagged, and
  delivered to the API (all three by the servers' own journals)
- `over-admitted`: requests above the seats of a worker at its worst instant, by its journal
- `leaked`: leases and counts that stay when nothing is asked any more
- `recovery`: seconds from the fault (from its end, where nothing could be served before) to the last request sent
  that was not served, or not within 2 s
"""


@dataclass(frozen=True, slots=True)
class Result:
    """`verdict`: held, broken, not run here. `said`: what does not hold."""

    scenario: Scenario
    verdict: str
    seconds: float
    seen: Figures | None = None
    said: tuple[str, ...] = ()

    def row(self) -> tuple[str, ...]:
        told = (
            [f"{value:.1f}" if isinstance(value, float) else str(value) for value in astuple(self.seen)]
            if self.seen
            else [""] * len(fields(Figures))
        )
        return (self.scenario.name, self.verdict, *told, f"{self.seconds:.0f}", "; ".join(self.said))

    def words(self) -> str:
        """In one line; what is zero is left out, but for what is promised always."""
        shown = [
            f"{getattr(self.seen, field.name):g} {field.name.replace('_', '-')}"
            for field in fields(Figures)
            if self.seen is not None and (getattr(self.seen, field.name) or field.name in ALWAYS)
        ]
        return f"{self.verdict} in {self.seconds:.0f} s: " + "; ".join([", ".join(shown), *self.said])


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    assert scenarios.__all__
    chosen = [
        one
        for one in SCENARIOS.values()
        if (not options.only or one.name in options.only) and (one.fast or not options.fast)
    ]
    unknown = set(options.only) - SCENARIOS.keys()
    if unknown or not chosen:
        print(
            f"make chaos: no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}", file=sys.stderr
        )
        return 2
    signal.signal(signal.SIGTERM, interrupt)  # so that every process and namespace is ended in order
    results = []
    for one in chosen:
        print(f"{one.name}: {one.says}", flush=True)
        results.append(run(one))
        print(f"  {results[-1].words()}", flush=True)
    print("", table.plain(HEADINGS, [one.row() for one in results]), "", sep="\n")
    report(results, options.out)
    failed = [one.scenario.name for one in results if one.verdict == "broken"]
    skipped = [one.scenario.name for one in results if one.verdict == "not run here"]
    held = len(results) - len(failed) - len(skipped)
    print(
        f"chaos: {held} of {len(results)} scenarios held"
        + (f"; broken: {', '.join(failed)}" if failed else "")
        + (f"; not run here: {', '.join(skipped)}" if skipped else "")
    )
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.chaos", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these scenarios")
    parser.add_argument("--fast", action="store_true", help="the subset that continuous integration runs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a markdown page")
    return parser


def run(scenario: Scenario) -> Result:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gateway-chaos-") as place, closing(Bench(Path(place))) as bench:
        try:
            scenario.run(bench)
        except NotHere as why:
            return Result(scenario, "not run here", time.monotonic() - began, said=(str(why),))
        except FAULTS as fault:
            bench.failed.append(f"{type(fault).__name__}: {fault}")
        site = bench.site
        if site is None:
            return Result(scenario, "broken", time.monotonic() - began, said=tuple(bench.failed))
        seats = {name: site.layout.seats for name in site.ports if name != API}
        seen = figures(site.traffic.asked, bench.seen, seats, bench.leaked, bench.mark)
        said = [*broken(scenario.promise, seen), *bench.failed]
        told = (*said, *refusals(site.traffic.asked), *bench.notes)
        return Result(scenario, "broken" if said else "held", time.monotonic() - began, seen, told)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def report(results: Sequence[Result], out: Path | None) -> None:
    if out is None:
        return
    rows = [one.row() for one in results]
    promises = [f"- **{one.scenario.name}**: {one.scenario.says}" for one in results]
    parts = [
        "# What fails, and what is promised while it does",
        NOTE.strip(),
        "\n".join(f"- {key}: {value}" for key, value in machine.describe().items()),
        table.markdown(HEADINGS, rows),
        "## The promises",
        "\n".join(promises),
    ]
    out.write_text("\n\n".join(parts) + "\n")
    print(f"written: {out}")


if __name__ == "__main__":
    sys.exit(main())
