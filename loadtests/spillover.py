"""`make load`: ramps a demo past its capacity and down again, and shows what stays local and what is bought.

Locust sends a fixed plan of arrivals from a process of its own; this one looks on once a second and judges at the end.
Exit code 0 for PASS, 1 for FAIL and VOID, 2 where something is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from types import FrameType
from typing import Any

import msgspec

from gateway.errors import PolicyFault, StartupFault
from loadtests import lengths, picture, report, tally
from loadtests.feed import DRAIN_SECONDS, LEAD_SECONDS, Tail
from loadtests.phases import DEFAULT_SECONDS, timeline
from loadtests.plan import FLAGGED_SHARE, Plan, build, sample, save
from loadtests.progress import Progress
from loadtests.sampler import Sampler
from loadtests.simfleet.harness import SimFault
from loadtests.stack import DEMO_POLICIES, ROOT, StackFault, die_with_parent
from loadtests.story import Story
from loadtests.target import Facts, Target, TargetFault, facts, running

OUT = ROOT / "loadtests" / "out"
USERS = ROOT / "loadtests" / "users.py"
CPU_LIMIT = 1.2
"""Cores that everything together may take at the peak."""
SPREAD_SECONDS = 10.0
START_SECONDS = 30.0
"""How long Locust may take to begin."""
SLACK_SECONDS = 15.0
STOP_SECONDS = 5.0
Draw = Callable[[Random], lengths.Lengths]


class LoadFault(Exception):
    """The load could not be offered."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        story = run(arguments)
    except (TargetFault, StartupFault, StackFault, SimFault, PolicyFault, lengths.TraceFault, LoadFault) as fault:
        print(f"make load: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("make load: stopped; what it started has ended", file=sys.stderr)
        return 2
    tell(story, arguments.out)
    return 0 if story.verdict.word == "PASS" else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    env = os.environ.get
    made = argparse.ArgumentParser(prog="python -m loadtests.spillover", description=__doc__)
    made.add_argument(
        "--url", default=env("GATEWAY_URL"), help="load this gateway (GATEWAY_URL); default: its own demo"
    )
    made.add_argument("--policies", type=Path, default=DEMO_POLICIES, help="the policy folder that gateway runs with")
    made.add_argument("--model", default="llama-3.3-70b")
    made.add_argument("--trace", type=Path, default=env("TRACE"), help="lengths from this trace (TRACE)")
    made.add_argument("--seconds", type=float, default=DEFAULT_SECONDS, help="length of the plan (default %(default)g)")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--out", type=Path, default=OUT)
    return made


def run(arguments: argparse.Namespace) -> Story:
    """The whole run. Raises what `main` catches."""
    known = facts(arguments.policies, arguments.model)
    source: Draw = lengths.from_trace(lengths.read_trace(arguments.trace)) if arguments.trace else lengths.builtin
    drawn = sample(source, arguments.seed)
    mean = lengths.Lengths(round(fmean(d.prompt for d in drawn)), round(fmean(d.output for d in drawn)))
    capacity = known.capacity(mean)
    plan = build(source, model=arguments.model, seed=arguments.seed, seconds=arguments.seconds, capacity=capacity)
    spread = stdev(d.output for d in drawn) / mean.output / math.sqrt(capacity * SPREAD_SECONDS)
    key = os.environ.get("GATEWAY_KEY", "demo")
    with running(arguments.url, key) as target:
        print(f"loading {target.note}: {len(plan.jobs)} requests in {plan.seconds:.0f} s, prompts of {mean.prompt} and")
        print(f"answers of {mean.output} tokens on average; the fleet carries {capacity:.1f} such requests a second")
        tail, sampler = offer(target, known, plan)
        bought = target.simulator.bought() if target.simulator else None
        honesty = target.simulator.honesty() if target.simulator else None
    found = tally.evidence(tail.results, len(plan.jobs), bought, honesty)
    settings = {"fleet": fleet_words(known, target), **describe(arguments, target, mean)}
    return assemble(plan, known, spread, settings, tail, sampler, found)


def offer(target: Target, known: Facts, plan: Plan) -> tuple[Tail, Sampler]:
    """Send the plan and watch. Raises LoadFault where Locust ends before its time."""
    seats = sum(worker.seats for worker in known.workers)
    with tempfile.TemporaryDirectory(prefix="spillover-") as name:
        folder = Path(name)
        save(plan, folder / "plan.json")
        if target.simulator:
            target.simulator.reset()
        with locust(target.url, folder) as process:
            pids = {**target.pids, "locust": process.pid, "this observer": os.getpid()}
            tail, sampler = Tail(folder / "results"), Sampler(target.url, seats, pids)
            watch(process, tail, sampler, plan)
        if process.returncode != 0 or tail.origin is None:
            said = (folder / "locust.log").read_text().strip().splitlines()[-1:]
            raise LoadFault(" ".join([f"locust ended with code {process.returncode}:", *said]))
        tail.read()
    return tail, sampler


@contextlib.contextmanager
def locust(url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Locust, headless, as a child that ends with this block."""
    command = [sys.executable, "-m", "locust", "-f", str(USERS), "--headless", "--only-summary", "--host", url]
    command += ["--exit-code-on-error", "0", "--loglevel", "WARNING"]
    paths = {"LOAD_PLAN": str(folder / "plan.json"), "LOAD_RESULTS": str(folder / "results")}
    with (folder / "locust.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **paths},
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
            start_new_session=True,  # Ctrl-C is ours to hear
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def watch(process: subprocess.Popen[bytes], tail: Tail, sampler: Sampler, plan: Plan) -> None:
    """One look a second until Locust has ended. Raises LoadFault where it hangs."""
    begun = time.monotonic()
    progress = Progress(timeline(plan.seconds), plan)
    while process.poll() is None:
        tail.read()
        origin = tail.origin if tail.origin is not None else time.monotonic() + LEAD_SECONDS
        seen = sampler.look(origin)
        if tail.origin is not None:
            progress.show(seen, tail.results)
        elif time.monotonic() > begun + START_SECONDS:
            raise LoadFault(f"locust did not begin within {START_SECONDS:g} s")
        if seen.at > plan.seconds + DRAIN_SECONDS + SLACK_SECONDS:
            raise LoadFault("locust did not end in time")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0 - seen.at % 1.0)


def fleet_words(known: Facts, target: Target) -> str:
    seats = sorted({worker.seats for worker in known.workers})
    what = "simulated workers" if target.simulator else "workers"
    return f"{len(known.workers)} {what} with {' or '.join(map(str, seats))} seats each"


def describe(arguments: argparse.Namespace, target: Target, mean: lengths.Lengths) -> dict[str, Any]:
    """What a reader needs to judge the run, or to repeat it."""
    return {
        "target": target.note,
        "model": arguments.model,
        "lengths": f"trace {arguments.trace.name}"
        if arguments.trace
        else "built-in mixture (Azure conversation trace)",
        "mean prompt, answer (tokens)": f"{mean.prompt}, {mean.output}",
        "scaled": f"answers x {lengths.OUTPUT_SCALE:g}, at most {lengths.LONGEST_OUTPUT} tokens",
        "flagged": f"{FLAGGED_SHARE:.0%} of the requests carry X-Data-Residency: local",
        "load": "open loop: Poisson arrivals fixed beforehand; TTFT counts from when a request was due",
        "seed": arguments.seed,
        "seconds": arguments.seconds,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "machine": f"{os.cpu_count()} x {platform.machine()}, {platform.system()} {platform.release()}",
        "versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in ("hybrid-router-gateway", "locust"))]
        ),
    }


def assemble(
    plan: Plan,
    known: Facts,
    spread: float,
    settings: Mapping[str, Any],
    tail: Tail,
    sampler: Sampler,
    found: tally.Evidence,
) -> Story:
    phases = timeline(plan.seconds)
    rows = tuple(tally.row(phase, tail.results, sampler.samples, known.price) for phase in phases)
    peak = next(phase for phase in phases if phase.name == tally.PEAK)
    return Story(
        phases=phases,
        capacity=plan.capacity,
        spread=spread,
        slo_ttft=known.ttft,
        price=known.price,
        settings=settings,
        rows=rows,
        evidence=found,
        verdict=tally.judge(rows, found),
        reasons=tally.reasons(tail.results),
        cpu=tally.cores_by_process(sampler.samples, peak.start, peak.end),
        samples=tuple(sampler.samples),
        results=tuple(sorted(tail.results, key=lambda r: r.due)),
    )


def tell(story: Story, out: Path) -> None:
    """Picture, report and JSON into `out`; the table and the verdict, last, to stdout."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "spillover.json").write_bytes(msgspec.json.encode(story))
    picture.draw(story, out / "spillover.png")
    report.write(story, notes(story), out / "spillover.png", out / "spillover.html")
    head, cells = tally.table(story.rows)
    rows = [head, *cells]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    print()
    for row in rows:
        print(
            "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths)))
        )
    print()
    for line in notes(story):
        print(line)
    print(f"picture: {out / 'spillover.png'}; report: {out / 'spillover.html'}")
    print(story.verdict, flush=True)


def notes(story: Story) -> list[str]:
    """What else a reader should know, in sentences."""
    found, total = story.evidence, sum(story.cpu.values())
    lines = [f"flagged X-Data-Residency: local: {found.flagged} requests, {found.flagged_left} left the fleet"]
    if found.bought is not None:
        lines.append(f"the simulated API's own journal: {found.bought} requests received")
    if story.reasons:
        lines.append("why spilled: " + ", ".join(f"{reason} {count}" for reason, count in story.reasons.items()))
    if story.cpu:
        each = ", ".join(f"{name} {cores:.2f}" for name, cores in story.cpu.items())
        over = f"; OVER the limit of {CPU_LIMIT}" if total > CPU_LIMIT else f" of {CPU_LIMIT} allowed"
        lines.append(f"CPU at the peak: {total:.2f} cores{over} ({each})")
    if found.honesty is not None:
        kept = "VOID" if found.honesty["void"] else "honest"
        lines.append(f"simulator: {kept} (steps late at p99 by {found.honesty['step_late_p99_ratio']:.2f} of a step)")
    lines.append(f"load generator: requests started {1000 * found.late_p99:.0f} ms late at p99")
    return lines


if __name__ == "__main__":
    sys.exit(main())
