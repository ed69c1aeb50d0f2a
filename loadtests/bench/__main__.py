"""`make bench`: every case on every peer, in turn; a table, a verdict; exit 0 held, 1 not, 2 could not be measured."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from loadtests.bench import machine, proc, table
from loadtests.bench.cases import CASES, Sample, measure
from loadtests.bench.peers import PEERS, MissingProgram, Running, launch
from loadtests.bench.table import Process, Results
from loadtests.options import names
from loadtests.stack import ROOT, StackFault, free_port

ROUNDS, SECONDS = 5, 3.0
TIMED_SECONDS = 120.0
NOTE = (
    "CPU is that of the peer's own processes from /proc/PID/stat, the store's beside it; medians of the rounds, "
    "with the least and the greatest. Ratios pair the samples of one round. The client and the upstream, both on "
    "uvloop, share the machine with the peer: answers a second say nothing about a peer that is faster than they are."
)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    about = machine.describe()
    try:
        results = run(options.peers, options.rounds, options.seconds)
    except (MissingProgram, StackFault) as fault:
        print(f"make bench: {fault}", file=sys.stderr)
        return 2
    report(results, options.peers, about, options.out)
    return verdict(results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each case on each peer ({ROUNDS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of one round ({SECONDS:g})")
    every = ",".join(PEERS)
    parser.add_argument("--peers", type=names(PEERS), default=every, help=f"comma-separated ({every})")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="a markdown page; FILE.json beside it has every sample"
    )
    return parser


def run(chosen: Sequence[str], rounds: int, seconds: float) -> Results:
    """All peers stand all the time, and only one of them has work. Raises MissingProgram or StackFault."""
    decide = timed("deciding")
    tell = timed("telling")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        upstream = start_upstream(folder)
        stack.callback(upstream.stop)
        running = {}
        for name in chosen:
            place = folder / name
            place.mkdir(mode=0o700)
            running[name] = PEERS[name].start(place, upstream.port)
            stack.callback(running[name].stop)
        samples = measure_all(running, rounds, seconds)
        processes = {name: process(one) for name, one in running.items() if one.process is not None}
    return Results(tuple(samples), processes, decide, tell)


def start_upstream(folder: Path) -> Running:
    port = free_port()
    return launch([sys.executable, "-m", "loadtests.bench.upstream", str(port)], folder, port, cwd=ROOT)


def measure_all(running: dict[str, Running], rounds: int, seconds: float) -> list[Sample]:
    made = []
    for case in CASES:
        for number in range(rounds):
            print(f"{case.title}: round {number + 1} of {rounds}", file=sys.stderr)
            made += [measure(case, name, one, seconds) for name, one in running.items()]
    return made


def process(running: Running) -> Process:
    own, stores = running.pids()
    return Process(running.startup, proc.pss_bytes(own), proc.pss_bytes(stores))


def timed(module: str) -> Any:
    """What a module of ours prints, in a process of its own: this one's heap would slow it. Raises StackFault."""
    command = [sys.executable, "-m", f"loadtests.bench.{module}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMED_SECONDS, check=False)
    if done.returncode:
        raise StackFault(f"{module} could not be timed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)


def report(results: Results, chosen: Sequence[str], about: dict[str, str], out: Path | None) -> None:
    rows, said = table.rows(results, chosen), table.more(results)
    print(table.plain(table.HEADINGS, rows), *said, sep="\n")
    if out is None:
        return
    lines = table.judge(results)
    parts = [
        "# What the gateway costs",
        "Written by `make bench`. " + NOTE,
        "\n".join(f"- {key}: {value}" for key, value in about.items()),
        table.markdown(table.HEADINGS, rows),
        "\n".join(f"- {sentence}" for sentence in said),
        "## Against what is promised",
        "\n".join(f"- {line.text()}" for line in lines),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n\n".join(parts) + "\n")
    numbers = json.dumps(table.as_json(results, lines, about), indent=1)
    out.with_suffix(".json").write_text(numbers + "\n")
    print(f"written: {out} and {out.with_suffix('.json')}")


def verdict(results: Results) -> int:
    lines, wrong = table.judge(results), table.faults(results)
    print(*[f"bad answers   {fault}" for fault in wrong], *[line.text() for line in lines], sep="\n")
    code = table.exit_code(lines, wrong)
    words = {0: "every line holds", 1: "not every line holds", 2: "not every line could be measured"}
    print(f"bench: {words[code]}")
    return code


if __name__ == "__main__":
    sys.exit(main())
